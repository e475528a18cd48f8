"""Inbound HTTP: the server, the public API's table of paths, and how answers are written."""

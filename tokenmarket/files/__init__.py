"""Bytes that outlive memory: spools of running uploads, stored results."""

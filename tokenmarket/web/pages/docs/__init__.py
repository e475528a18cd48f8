"""Pages: docs."""

"""Pages: console."""

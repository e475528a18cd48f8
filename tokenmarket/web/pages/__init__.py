"""Pages by area; each module exports ``PAGES`` and has a row in ``web/site/table.py``."""

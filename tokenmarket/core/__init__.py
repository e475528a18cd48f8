"""Pure rules: parsing, routing, usage, prices, errors. No clock, no randomness, no I/O in here."""

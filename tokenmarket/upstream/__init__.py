"""OUTBOUND: sockets to providers, how they are doing, and the keys we show them."""

"""Money is recorded here: accounts, transfers, grants, refunds, and the proof that all adds up."""

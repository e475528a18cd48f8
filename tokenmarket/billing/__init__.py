"""Money is decided here: leases, holds, captures, the journal, and posting it to SQL once."""

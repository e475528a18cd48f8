"""SQL lives here only: tables, two kinds of connection, one function per question."""

"""What happened, told to people: requests, usage, how routes do. Reads; moves no money."""

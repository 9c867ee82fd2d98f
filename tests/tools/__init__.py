"""What the tests need around them: the order of a run, a PostgreSQL to throw away."""

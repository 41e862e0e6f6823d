"""The only place where results are written and read."""

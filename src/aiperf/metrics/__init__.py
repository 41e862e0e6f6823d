"""Records to numbers: definitions, statistics, goodput, validity; pure functions on columns."""

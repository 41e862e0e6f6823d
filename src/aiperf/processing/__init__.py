"""Spool to records: parse events, classify, count tokens, derive columns, write Parquet; in other processes than the load."""

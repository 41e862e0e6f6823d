"""Where generators and processors live."""

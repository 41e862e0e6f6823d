"""A server whose timing is a model."""

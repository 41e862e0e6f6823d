"""Sends when due, stamps, keeps the pulse."""

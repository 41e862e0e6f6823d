"""Verbs, one file each: reads argv, exits; with ui the only place that prints."""

"""The composition root: turns a checked experiment into parts and runs them."""

GENERATOR = "generator-0"
GENERATE = "aiperf.app.jobs:generate"
"""The load generator's name and what it runs; here, so that it can be started before anything else is imported."""

"""The registry: everything that has a name in YAML is declared in a file, and imported at first use."""

"""What the YAML of the registry may say."""

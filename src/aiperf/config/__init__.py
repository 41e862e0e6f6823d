"""The shape of an experiment (frozen pydantic models) and its composition; the only importer of hydra."""

"""The one way to read a file that a user named."""

from aiperf.paths import safe_read_template_path

__all__ = ["safe_read_template_path"]

"""What endpoints log with."""

from aiperf.endpoints.base_endpoint import AIPerfLoggerMixin

__all__ = ["AIPerfLoggerMixin"]

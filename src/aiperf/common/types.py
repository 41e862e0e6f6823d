"""Names of types."""

from aiperf.endpoints.models import JsonObject, RequestOutputT

__all__ = ["JsonObject", "RequestOutputT"]

"""What plugins declare about themselves."""

from aiperf.plugin.schema.schemas import EndpointMetadata, TransportMetadata

__all__ = ["EndpointMetadata", "TransportMetadata"]

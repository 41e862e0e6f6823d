"""What plugins must have."""

from aiperf.endpoints.protocols import EndpointProtocol, InferenceServerResponse, RequestOutputT

__all__ = ["EndpointProtocol", "InferenceServerResponse", "RequestOutputT"]

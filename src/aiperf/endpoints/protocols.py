"""What an endpoint written for the incumbent's interface must have; what our own must is `aiperf.seams.Endpoint`."""

from typing import Protocol, runtime_checkable

from aiperf.endpoints.models import InferenceServerResponse, ParsedResponse, RequestInfo, RequestOutputT


@runtime_checkable
class EndpointProtocol(Protocol):
    """Writes requests and reads answers. Made as `cls(model_endpoint=)`; may say headers and query besides, as BaseEndpoint does."""

    def format_payload(self, request_info: RequestInfo) -> RequestOutputT:
        """The body of a request."""

    def parse_response(self, response: InferenceServerResponse) -> ParsedResponse | None:
        """What an event of a stream, or a whole answer, says; None if it says nothing."""

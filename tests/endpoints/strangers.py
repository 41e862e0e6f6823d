"""Endpoints as others write them for the incumbent's documented interface."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from aiperf.common.decorators import implements_protocol
from aiperf.common.models import (
    InferenceServerResponse,
    ParsedResponse,
    ReasoningResponseData,
    RequestInfo,
    TextResponseData,
    ToolCallResponseData,
)
from aiperf.common.models.metadata import EndpointMetadata
from aiperf.common.protocols import EndpointProtocol
from aiperf.common.types import RequestOutputT
from aiperf.endpoints.base_endpoint import BaseEndpoint


class EchoEndpoint(BaseEndpoint):
    """The documented minimal endpoint."""

    def format_payload(self, request_info: RequestInfo) -> dict[str, Any]:
        turn = request_info.turns[0]
        return {
            "text": turn.texts[0].contents[0] if turn.texts else "",
            "model": turn.model or self.model_endpoint.primary_model_name,
            "max_tokens": turn.max_tokens,
            "stream": self.model_endpoint.endpoint.streaming,
        }

    def parse_response(self, response: InferenceServerResponse) -> ParsedResponse | None:
        if json_obj := response.get_json():
            if text := json_obj.get("echo"):
                return ParsedResponse(perf_ns=response.perf_ns, data=TextResponseData(text=text))
            if data := self.auto_detect_and_extract(json_obj):
                return ParsedResponse(perf_ns=response.perf_ns, data=data)
        if text := response.get_text():
            return ParsedResponse(perf_ns=response.perf_ns, data=TextResponseData(text=text))
        return None


@implements_protocol(EndpointProtocol)
class OlderEchoEndpoint(BaseEndpoint):
    """The older spelling."""

    @classmethod
    def metadata(cls) -> EndpointMetadata:
        return EndpointMetadata(
            endpoint_path="/echo", supports_streaming=True, produces_tokens=True, tokenizes_input=True, metrics_title="Echo Metrics"
        )

    def format_payload(self, request_info: RequestInfo) -> RequestOutputT:
        return {"text": request_info.turns[-1].texts[0].contents[0], "model": request_info.model_endpoint.primary_model_name}

    def parse_response(self, response: InferenceServerResponse) -> ParsedResponse | None:
        if not (said := response.get_json()):
            return None
        data = self.make_text_response_data(said.get("echo"))
        return ParsedResponse(perf_ns=response.perf_ns, data=data) if data else None


class RagEndpoint(BaseEndpoint):
    """A chain of retrieval and generation: its answers say what was found, and how long that took."""

    def format_payload(self, request_info: RequestInfo) -> dict[str, Any]:
        turn, endpoint = request_info.turns[-1], request_info.model_endpoint.endpoint
        messages = self.build_messages(request_info.turns)
        if request_info.system_message:
            messages.insert(0, {"role": "system", "content": request_info.system_message})
        payload = {"messages": messages, "model": turn.model or self.model_endpoint.primary_model_name, "stream": endpoint.streaming}
        if endpoint.extra:
            payload.update(dict(endpoint.extra))
        tools = self._latest_turn_attr(request_info, "raw_tools")
        self.trace(lambda: f"formatted {payload}")
        return payload if tools is None else {**payload, "tools": tools}

    def parse_response(self, response: InferenceServerResponse) -> ParsedResponse | None:
        said = response.get_json()
        if not said:
            self.debug(lambda: f"no JSON in {response.get_raw()}")
            return None
        delta = said["choices"][0]["delta"] if said.get("choices") else {}
        found = said.get("citations")
        metadata = {"citations": {"count": len(found), "scores": [one["score"] for one in found]}} if found else {}
        metadata |= {"timing": said["timing"]} if "timing" in said else {}
        if not (content := delta.get("content")) and not metadata and not said.get("usage"):
            return None
        return ParsedResponse(
            perf_ns=response.perf_ns, data=self.make_text_response_data(content), usage=said.get("usage"), metadata=metadata
        )


class EveryKindEndpoint(BaseEndpoint):
    """Says what kind of event each was."""

    def format_payload(self, request_info: RequestInfo) -> RequestOutputT:
        return [request_info.turns[-1].texts[0].contents]

    def parse_response(self, response: InferenceServerResponse) -> ParsedResponse | None:
        said = response.get_json() or {}
        kinds = {
            "think": ReasoningResponseData(reasoning="hm"),
            "both": ReasoningResponseData("a", "b"),
            "call": ToolCallResponseData("f()"),
        }
        data = kinds.get(said.get("kind")) or self.auto_detect_and_extract(said)
        return ParsedResponse(response.perf_ns, data, usage=said.get("usage")) if data or said.get("usage") else None


class KnobsEndpoint(EchoEndpoint):
    """Has options of its own."""

    class Options(BaseModel):
        greeting: str = "hello"
        times: int = Field(1, ge=1)

    def format_payload(self, request_info: RequestInfo) -> dict[str, Any]:
        return {"text": self.options.greeting * self.options.times}

    def get_endpoint_headers(self, request_info: RequestInfo) -> dict[str, str]:
        return {**super().get_endpoint_headers(request_info), "X-Greeting": self.options.greeting}

    def get_endpoint_params(self, request_info: RequestInfo) -> dict[str, Any]:
        return {"version": 2}


class BareEndpoint:
    """Fits by its methods alone."""

    def __init__(self, model_endpoint: Any, **kwargs: Any) -> None:
        self.model = model_endpoint.primary_model_name

    def format_payload(self, request_info: Any) -> str:
        return f"{self.model}: {request_info.turns[-1].texts[0].contents[0]}"

    def parse_response(self, response: Any) -> Any:
        return ParsedResponse(response.perf_ns, TextResponseData(response.get_text()))

"""What an endpoint written for the incumbent's interface is handed, and what it hands back; the names are that interface's.

Models take fields that they do not know, since plugins set their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import msgspec
from pydantic import Field, RootModel

from aiperf.plugin.schema.schemas import AIPerfBaseModel as AIPerfBaseModel

JsonObject: TypeAlias = dict[str, Any]
RequestOutputT: TypeAlias = Any
"""What `format_payload` may return: a dict or list, or a body that is written already (str, bytes)."""


class Media(AIPerfBaseModel):
    """Contents of one kind; `name` tells those of one turn apart."""

    name: str = ""
    contents: list[str] = Field([])


class Text(Media):
    """Prompts."""


class Image(Media):
    """URLs, or data in base64; `uuids` are what a server may know them by."""

    uuids: list[str] = Field([])


class Audio(Media):
    """`format,base64`, or data URIs."""


class Video(Media):
    """URLs, or data in base64."""


class Turn(AIPerfBaseModel):
    """One thing to say. `raw_*` are sent as they stand; times are in milliseconds."""

    model: str | None = None
    role: str | None = None
    timestamp: float | None = None
    delay: float | None = None
    max_tokens: int | None = None
    texts: list[Text] = Field([])
    images: list[Image] = Field([])
    audios: list[Audio] = Field([])
    videos: list[Video] = Field([])
    extra_body: dict[str, Any] | None = None
    raw_messages: list[Any] | None = None
    raw_tools: list[Any] | None = None
    raw_payload: dict[str, Any] | None = None
    reset_context: bool = False


class ModelInfo(AIPerfBaseModel):
    """A model."""

    name: str
    version: str | None = None


class ModelListInfo(AIPerfBaseModel):
    """The models of a run."""

    models: list[ModelInfo] = Field(min_length=1)
    model_selection_strategy: str = "round_robin"


class EndpointInfo(AIPerfBaseModel):
    """The server and how it is spoken to. `extra` and `headers` are pairs; `exact` asks for answers of just the wanted length."""

    type: str = "chat"
    base_urls: list[str] = Field([])
    custom_endpoint: str | None = None
    url_params: dict[str, Any] | None = None
    streaming: bool = False
    headers: list[tuple[str, str]] = Field([], repr=False)
    api_key: str | None = Field(None, repr=False, exclude=True)
    timeout: float = 900.0
    extra: list[tuple[str, Any]] = Field([])
    exact: bool = False
    use_legacy_max_tokens: bool = True
    use_server_token_count: bool = False
    template: Any = None

    @property
    def base_url(self) -> str:
        """The first address."""
        return next(iter(self.base_urls), "")


class ModelEndpointInfo(AIPerfBaseModel):
    """The server and its models."""

    models: ModelListInfo
    endpoint: EndpointInfo
    transport: str | None = None

    @property
    def primary_model_name(self) -> str:
        """The model that is asked for where a turn names none."""
        return self.models.models[0].name


class RequestInfo(AIPerfBaseModel):
    """A request that is to be written; the last of the turns is the one to be said."""

    model_endpoint: ModelEndpointInfo
    turns: list[Turn] = Field([])
    system_message: str | None = None
    user_context_message: str | None = None
    credit_num: int = 0
    credit_phase: str = "profiling"
    conversation_id: str = ""
    turn_index: int = 0
    x_request_id: str = ""
    x_correlation_id: str = ""


@runtime_checkable
class InferenceServerResponse(Protocol):
    """An event of a stream or a whole answer; `perf_ns` is when it came."""

    perf_ns: int

    def get_raw(self) -> Any | None:
        """What came, as it is kept."""
        return getattr(self, "raw_bytes", None) or self.get_text()

    def get_text(self) -> str | None:
        """Its text; None if it has none."""
        return getattr(self, "text", None)

    def get_json(self) -> Any | None:
        """What the text says as JSON; None if it is none."""
        try:
            return msgspec.json.decode(self.get_text() or "")
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None


@dataclass(slots=True)
class TextResponse(InferenceServerResponse):
    """A whole answer that is text."""

    perf_ns: int
    text: str
    content_type: str | None = None


@dataclass(slots=True)
class BinaryResponse(InferenceServerResponse):
    """A whole answer that is no text."""

    perf_ns: int
    raw_bytes: bytes
    content_type: str | None = None


@dataclass(slots=True)
class SSEField:
    """A line of an event."""

    name: str
    value: str | None = None


@dataclass(slots=True)
class SSEMessage(InferenceServerResponse):
    """An event of a stream; its text is its data."""

    perf_ns: int
    packets: list[SSEField] = field(default_factory=list)

    @classmethod
    def parse(cls, raw_message: str | bytes, perf_ns: int) -> "SSEMessage":
        """An event from its lines."""
        text = raw_message.decode("utf-8", "replace") if isinstance(raw_message, bytes) else raw_message
        lines = [line.partition(":") for line in text.replace("\r", "\n").split("\n") if line.strip()]
        return cls(perf_ns, [SSEField(name.strip() or "comment", value.strip() if colon else None) for name, colon, value in lines])

    def get_raw(self) -> Any | None:
        """Its lines."""
        return self.packets

    def get_text(self) -> str | None:
        """Its data."""
        return "\n".join([line.value for line in self.packets if line.name == "data" and line.value]) or None


class RequestRecord(AIPerfBaseModel):
    """A request and what came of it."""

    request_info: RequestInfo | None = None
    status: int | None = None
    responses: list[Any] = Field([])
    error: Any = None


@dataclass(slots=True)
class BaseResponseData:
    """What a plugin read in an answer; a plugin may derive its own."""

    def get_text(self) -> str:
        """What was generated, in its order."""
        return "".join(getattr(self, name, None) or "" for name in ("text", "reasoning", "content", "tool_call_text"))


@dataclass(slots=True)
class TextResponseData(BaseResponseData):
    """Text."""

    text: str


@dataclass(slots=True)
class ReasoningResponseData(BaseResponseData):
    """Reasoning, and the text beside it."""

    content: str | None = None
    reasoning: str | None = None


@dataclass(slots=True)
class ToolCallResponseData(BaseResponseData):
    """Names and arguments of tool calls, and the text beside them."""

    tool_call_text: str
    content: str | None = None


@dataclass(slots=True)
class EmbeddingResponseData(BaseResponseData):
    """Vectors."""

    embeddings: list[list[float]]


@dataclass(slots=True)
class RankingsResponseData(BaseResponseData):
    """Passages with their ranks."""

    rankings: list[dict[str, Any]]


def _loose(name: str, fields: str, doc: str) -> type[Any]:
    """A class of response data with these fields, each None unless it is given."""
    said = {"__module__": __name__, "__doc__": doc}
    return make_dataclass(name, [(one, Any, None) for one in fields.split()], bases=(BaseResponseData,), namespace=said, slots=True)


ImageRetrievalResponseData = _loose("ImageRetrievalResponseData", "data", "What was found in images.")
ImageDataItem = _loose("ImageDataItem", "url b64_json revised_prompt partial_image_index", "An image, or where it is.")
ImageResponseData = _loose("ImageResponseData", "images size quality output_format background", "Images.")
_VIDEO = "id object status progress url size seconds quality model created_at completed_at expires_at inference_time_s peak_memory_mb error"
VideoResponseData = _loose("VideoResponseData", f"video_{_VIDEO}", "A video, or how far it is.")


class RAGSources(RootModel[dict[str, Any] | list[Any]]):
    """The documents that an answer rests on."""


@dataclass(slots=True)
class ParsedResponse:
    """What a plugin read in one event or answer: `usage` counts tokens, `metadata` go into the records."""

    perf_ns: int
    data: BaseResponseData | None = None
    usage: Mapping[str, Any] | None = None
    sources: Any = None
    metadata: dict[str, Any] = field(default_factory=dict)
    spec_decode_stats: dict[str, Any] | None = None

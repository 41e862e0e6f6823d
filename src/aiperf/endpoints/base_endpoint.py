"""The base class of endpoints written for the incumbent's interface, with the helpers that it documents."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partialmethod
from typing import Any

from aiperf.endpoints import models
from aiperf.endpoints.models import BaseResponseData, JsonObject, Media, ParsedResponse, RequestInfo, TextResponseData, Turn

_TEXTS = ("text", "content", "response", "output", "result")


class AIPerfLoggerMixin(ABC):  # noqa: B024 - what derives from it may have abstract methods
    """Methods that log below `aiperf.plugins`. Levels that Python has not are those next to them."""

    def __init__(self, logger_name: str | None = None, **kwargs: Any) -> None:
        self.logger = logging.getLogger(f"aiperf.plugins.{logger_name or f'{type(self).__module__}.{type(self).__qualname__}'}")
        super().__init__(**kwargs)

    def _log(self, level: int, message: str | Callable[..., str], *args: Any, **kwargs: Any) -> None:
        """Log a text with its arguments, or what a function makes of them if it is to be shown."""
        if self.logger.isEnabledFor(level):
            self.logger.log(level, *(("%s", message(*args)) if callable(message) else (message, *args)), **kwargs)

    trace = debug = partialmethod(_log, logging.DEBUG)
    info = notice = success = partialmethod(_log, logging.INFO)
    warning = partialmethod(_log, logging.WARNING)
    error = partialmethod(_log, logging.ERROR)
    exception = partialmethod(_log, logging.ERROR, exc_info=True)


class BaseEndpoint(AIPerfLoggerMixin):
    """Write `format_payload` and `parse_response`; the rest may be changed."""

    DEFAULT_TURN_ROLE = "user"

    def __init__(self, model_endpoint: models.ModelEndpointInfo, *, options: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_endpoint = model_endpoint
        if options is not None:
            self.options = options

    @abstractmethod
    def format_payload(self, request_info: RequestInfo) -> models.RequestOutputT:
        """The body of a request."""

    @abstractmethod
    def parse_response(self, response: models.InferenceServerResponse) -> ParsedResponse | None:
        """What an event of a stream, or a whole answer, says; None if it says nothing."""

    def get_endpoint_headers(self, request_info: RequestInfo) -> dict[str, str]:  # noqa: ARG002 - for those that override it
        """The headers of requests: the user's and the key."""
        endpoint = self.model_endpoint.endpoint
        return dict(endpoint.headers) | ({"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {})

    def get_endpoint_params(self, request_info: RequestInfo) -> dict[str, str]:  # noqa: ARG002 - for those that override it
        """The query of requests."""
        return dict(self.model_endpoint.endpoint.url_params or {})

    def extract_response_data(self, record: models.RequestRecord) -> list[ParsedResponse]:
        """What all events of a record say."""
        return [parsed for response in record.responses if (parsed := self.parse_response(response))]

    @staticmethod
    def _latest_turn_attr(of: RequestInfo | Sequence[Turn], name: str) -> Any:
        """What the latest turn that says anything says there; of a request or of its turns."""
        said = [getattr(turn, name, None) for turn in (of.turns if isinstance(of, RequestInfo) else of)]
        return next((value for value in reversed(said) if value is not None), None)

    def build_messages(self, turns: Sequence[Turn]) -> list[JsonObject]:
        """The turns as messages; those that are written already as they stand."""
        messages: list[JsonObject] = []
        for turn in turns:
            if turn.raw_messages is None:
                messages.append({"role": turn.role or self.DEFAULT_TURN_ROLE, "content": _content(turn)})
            else:
                messages = [*([] if turn.reset_context else messages), *turn.raw_messages]
        return messages

    def extract_named_contents(self, content_items: Iterable[Media]) -> tuple[list[str], dict[str, list[str]]]:
        """All contents, and by name those that have one."""
        found, named = list[str](), dict[str, list[str]]()
        for item in content_items:
            found += item.contents
            if item.name and item.contents:
                named.setdefault(item.name, []).extend(item.contents)
        return found, named

    @staticmethod
    def make_text_response_data(text: str | None) -> TextResponseData | None:
        """A text; None if there is none."""
        return TextResponseData(text) if text else None

    def auto_detect_and_extract(self, json_obj: Any) -> BaseResponseData | None:
        """Embeddings, rankings or text, in whichever usual place they are; None if in none."""
        if not isinstance(json_obj, dict):
            return self.convert_to_response_data(json_obj)
        return self.try_extract_embeddings(json_obj) or self.try_extract_rankings(json_obj) or self.try_extract_text(json_obj)

    def try_extract_embeddings(self, json_obj: JsonObject) -> BaseResponseData | None:
        """Vectors of `data` as OpenAI's, of `embeddings` or of `embedding`."""
        data = json_obj.get("data")
        items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
        if items and items[0].get("object") == "embedding":
            return models.EmbeddingResponseData([item["embedding"] for item in items if "embedding" in item])
        found = map(self.convert_to_response_data, map(json_obj.get, ("embeddings", "embedding")))
        return next((one for one in found if isinstance(one, models.EmbeddingResponseData)), None)

    def try_extract_rankings(self, json_obj: JsonObject) -> BaseResponseData | None:
        """The list of `rankings` or of `results`."""
        value = next((value for value in map(json_obj.get, ("rankings", "results")) if isinstance(value, list)), None)
        return None if value is None else models.RankingsResponseData(value)

    def try_extract_text(self, json_obj: JsonObject) -> TextResponseData | None:
        """The text of a usual key, or of the first choice as OpenAI's, streamed or not."""
        for value in map(json_obj.get, _TEXTS):
            texts: list[Any] = value if isinstance(value, list) else [value]
            if texts and all(isinstance(text, str) for text in texts):
                return self.make_text_response_data("".join(texts))
        choices = json_obj.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        places = (first, first.get("message"), first.get("delta")) if isinstance(first, dict) else ()
        said = [place.get(name) for place in places if isinstance(place, dict) for name in ("text", "content")]
        return self.make_text_response_data(next((text for text in said if text and isinstance(text, str)), None))

    def convert_to_response_data(self, value: Any) -> BaseResponseData | None:
        """A text, vectors (or one) or rankings, by what they are made of; None for anything else."""
        if isinstance(value, str):
            return self.make_text_response_data(value)
        first = value[0] if isinstance(value, list) and value else None
        if isinstance(first, dict):
            return models.RankingsResponseData(value)
        vectors = value if isinstance(first, list) else [value]
        is_vector = isinstance(vectors[0], list) and vectors[0] and isinstance(vectors[0][0], int | float)
        return models.EmbeddingResponseData(vectors) if is_vector else None


def _content(turn: Turn) -> str | list[JsonObject]:
    """A single text as itself, anything else in parts."""
    kinds = ("text", "image", "audio", "video")
    parts = [_part(kind, content) for kind in kinds for one in getattr(turn, f"{kind}s") for content in one.contents if content]
    contents = [content for text in turn.texts for content in text.contents]
    return contents[0] if len(contents) == len(parts) == 1 else parts or ""


def _part(kind: str, content: str) -> JsonObject:
    if kind == "text":
        return {"type": "text", "text": content}
    if kind != "audio":
        return {"type": f"{kind}_url", f"{kind}_url": {"url": content}}
    head, comma, data = content.partition(",")
    if not comma:
        raise ValueError(f"an audio is `format,base64` or a data URI, not {content[:40]!r}")
    form = head.removeprefix("data:audio/").partition(";")[0] or "wav"
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}}

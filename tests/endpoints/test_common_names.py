"""The places where plugins that were written for the incumbent look for things."""

import importlib
import math

import pytest

from aiperf.common.enums import EndpointType
from aiperf.common.finite import scrub_non_finite
from aiperf.common.models import ModelEndpointInfo, Turn, VideoResponseData
from aiperf.common.models.dataset_models import Turn as Same
from aiperf.common.path_safety import safe_read_template_path
from aiperf.endpoints.base_endpoint import BaseEndpoint
from aiperf.endpoints.protocols import EndpointProtocol

NAMES = {
    "models": "Audio BaseResponseData BinaryResponse EmbeddingResponseData EndpointInfo Image ImageDataItem ImageResponseData "
    "InferenceServerResponse Media ModelEndpointInfo ModelInfo ModelListInfo ParsedResponse RAGSources RankingsResponseData "
    "ReasoningResponseData RequestInfo RequestRecord SSEField SSEMessage Text TextResponse TextResponseData ToolCallResponseData Turn "
    "Video VideoResponseData AIPerfBaseModel",
    "models.record_models": "RequestInfo ParsedResponse ReasoningResponseData EmbeddingResponseData",
    "models.dataset_models": "Turn Text Media",
    "models.model_endpoint_info": "ModelEndpointInfo EndpointInfo ModelInfo ModelListInfo",
    "models.metadata": "EndpointMetadata TransportMetadata",
    "finite": "FiniteFloat is_finite_value nan_safe_mean nan_safe_std scrub_non_finite",
    "path_safety": "safe_read_template_path",
    "decorators": "implements_protocol",
    "protocols": "EndpointProtocol InferenceServerResponse RequestOutputT",
    "types": "JsonObject RequestOutputT",
    "enums": "EndpointType TransportType",
    "mixins": "AIPerfLoggerMixin",
}


@pytest.mark.parametrize("place", NAMES)
def test_everything_is_where_it_is_looked_for(place):
    module = importlib.import_module(f"aiperf.common.{place}")
    assert [name for name in NAMES[place].split() if not hasattr(module, name)] == []


def test_they_are_the_same_things():
    assert Turn is Same
    assert EndpointType("chat") == "chat"
    assert scrub_non_finite([math.nan]) == [None]
    assert safe_read_template_path("no such file") is None
    with pytest.raises(AttributeError, match="Nothing"):
        importlib.import_module("aiperf.common.enums").Nothing  # noqa: B018 - it is looked up here


def test_a_template_is_read_from_a_plain_file_alone(tmp_path):
    plain, link = tmp_path / "t.txt", tmp_path / "l.txt"
    plain.write_text("{{ text }}")
    link.symlink_to(plain)
    binary = tmp_path / "b"
    binary.write_bytes(b"\xff\xfe")
    assert safe_read_template_path(str(plain)) == "{{ text }}"
    assert [safe_read_template_path(one) for one in (str(link), str(binary), str(tmp_path), None, "~nobody-at-all/x", 5)] == [None] * 6


def test_models_are_made_and_dumped_as_pydantics():
    turn = Turn(texts=[{"contents": ["a"]}], mine=3)
    assert turn.model_dump()["mine"] == turn.mine == 3
    about = ModelEndpointInfo(models={"models": [{"name": "m"}]}, endpoint={"base_urls": ["http://a", "http://b"], "api_key": "secret"})
    assert (about.primary_model_name, about.endpoint.base_url) == ("m", "http://a")
    assert "secret" not in f"{about!r}{about.model_dump()}"
    assert VideoResponseData(video_id="v", status="queued").get_text() == ""
    assert VideoResponseData(video_id="v").progress is None


def test_a_class_fits_by_its_methods():
    class Fits:
        def format_payload(self, request_info): ...
        def parse_response(self, response): ...

    assert isinstance(Fits(), EndpointProtocol)
    assert issubclass(BaseEndpoint, EndpointProtocol)
    with pytest.raises(TypeError, match="abstract"):
        BaseEndpoint(model_endpoint=None)

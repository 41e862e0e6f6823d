"""The names of plugins as enums: members come and go with the registry."""

import enum
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.plugin import enums, plugins
from aiperf.plugin.enums import EndpointType, NamedEnum, PluginType, identifier

DOCUMENTED = [
    "EndpointType", "TimingMode", "ArrivalPattern", "RampType", "DatasetSamplingStrategy", "ComposerType", "CustomDatasetType",
    "PublicDatasetType", "TransportType", "URLSelectionStrategy", "UIType", "PlotType", "DataExporterType", "ConsoleExporterType",
    "RecordProcessorType", "ResultsProcessorType", "GPUTelemetryProcessorType", "ServerMetricsProcessorType",
    "AccuracyBenchmarkType", "AccuracyGraderType", "SearchRecipeType", "SearchRecipePostProcessType", "ConvergenceCriterionType",
    "SearchPlannerType", "GPUTelemetryCollectorType", "APIRouterType", "ServiceType", "ServiceRunType", "DatasetBackingStoreType",
    "DatasetClientStoreType", "CommunicationBackend", "CommClientType", "ZMQProxyType",
]  # fmt: skip

EVERY = [(kind.enum, [entry.name for entry in plugins.iter_entries(kind.name)]) for kind in plugins.categories().values()]


class Echo:
    """Says what it was told."""

    def __init__(self, *args, **kwargs):
        pass

    token_hint = b"x"

    def body(self, turn):
        return b""

    def answer(self, exchange):
        return None


@pytest.fixture
def registry():
    yield plugins
    plugins.reset_registry()


@pytest.mark.parametrize(("name", "plugin_names"), [("PluginType", list(plugins.categories())), *EVERY])
class TestEveryEnum:
    def test_has_the_names_of_the_registry_in_its_order(self, name, plugin_names):
        found = getattr(enums, name)
        assert [member.value for member in found] == [str(member) for member in found] == list(found) == plugin_names
        assert list(found.__members__) == [identifier(one) for one in plugin_names]
        assert len(found) == len(plugin_names)

    def test_is_found_where_it_says(self, name, plugin_names):
        found = getattr(enums, name)
        assert (found.__module__, found.__qualname__) == ("aiperf.plugin.enums", name)
        assert pickle.loads(pickle.dumps(found)) is found  # noqa: S301 - our own
        assert all(pickle.loads(pickle.dumps(member)) is member for member in found)  # noqa: S301 - our own

    def test_members_are_their_names(self, name, plugin_names):
        found = getattr(enums, name)
        for member, one in zip(found, plugin_names):
            assert member == one
            assert hash(member) == hash(one)
            assert f"{member}" == one
            assert member in found
            assert one in found
            assert getattr(found, identifier(one)) is found[identifier(one)] is found(one) is found(member) is member
            assert found(one.upper().replace("_", "-")) is member
        assert "nope" not in found
        assert 1 not in found

    def test_is_listed(self, name, plugin_names):
        assert name in dir(enums)
        assert name in enums.__all__


def test_the_documented_ones_are_there():
    assert {*DOCUMENTED} <= {name for name, _ in EVERY}
    assert len(DOCUMENTED) == 33


def test_documented_members():
    assert EndpointType.CHAT == "chat"
    assert isinstance(EndpointType.CHAT, str)
    assert isinstance(EndpointType.CHAT, EndpointType)
    assert repr(EndpointType.CHAT) == "<EndpointType.CHAT: 'chat'>"
    assert (EndpointType.CHAT.name, EndpointType.CHAT.value) == ("CHAT", "chat")
    assert {"chat": 1}[EndpointType.CHAT] == 1
    assert PluginType.ENDPOINT == "endpoint"
    assert plugins.get_class(PluginType.ENDPOINT, EndpointType.CHAT) is plugins.get_class("endpoint", "chat")


def test_a_name_that_is_not_there():
    with pytest.raises(ValueError, match="'nope' is not a valid EndpointType"):
        EndpointType("nope")
    with pytest.raises(AttributeError):
        EndpointType.NOPE  # noqa: B018 - looking is the test
    with pytest.raises(AttributeError, match=r"aiperf\.plugin\.enums.*'NopeType'"):
        enums.NopeType  # noqa: B018 - looking is the test


def test_what_is_registered_becomes_a_member_and_goes_again(registry):
    chat, before = EndpointType.CHAT, list(EndpointType)
    registry.register("endpoint", "my-echo.v2", Echo)
    assert list(EndpointType) == [*before, "my-echo.v2"]
    assert EndpointType.MY_ECHO_V2 is EndpointType("MY_ECHO.V2") is EndpointType["MY_ECHO_V2"]
    assert EndpointType.CHAT is chat
    registry.reset_registry()
    assert list(EndpointType) == before
    assert not hasattr(EndpointType, "MY_ECHO_V2")
    assert "my-echo.v2" not in EndpointType
    assert EndpointType.CHAT is chat


def test_an_override_keeps_its_place(registry):
    registry.register("endpoint", "Chat", Echo, priority=9)
    assert next(iter(EndpointType)) == "Chat"
    assert EndpointType.CHAT.value == "Chat"
    assert len(EndpointType) == len({*EndpointType.__members__.values()})


def test_enums_of_others_are_alive_too(registry):
    mine = registry.create_enum(PluginType.ENDPOINT, "MyEndpoints", module=__name__)
    assert issubclass(mine, enum.StrEnum)
    assert (mine.__module__, mine.__name__) == (__name__, "MyEndpoints")
    registry.register("endpoint", "echo", Echo)
    assert mine.ECHO == "echo"
    with pytest.raises(plugins.PluginError, match="'nope'"):
        registry.create_enum("nope", "X", module=__name__)


def test_a_member_of_today_is_read_by_another_process():
    code = "import pickle, sys; found = pickle.load(sys.stdin.buffer); print(type(found).__name__, found.name, found)"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(EndpointType.CHAT), capture_output=True, check=True)
    assert done.stdout == b"EndpointType CHAT chat\n"


def test_a_launch_does_not_make_them():
    code = (
        "import sys; from aiperf.plugin import plugins; plugins.get_class('endpoint', 'chat'); print('aiperf.plugin.enums' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@given(st.lists(st.text(min_size=1, max_size=5), unique_by=plugins.folded, max_size=6))
def test_any_names_make_members(names):
    found = NamedEnum("Any", (), module=__name__)
    enums._renew(found, names)
    enums._renew(found, names[::-1])
    assert list(found) == names[::-1]
    assert all(found(name) == name for name in names)
    enums._renew(found, names[:1])
    assert list(found) == names[:1] == list(found.__members__.values())


@pytest.mark.parametrize(("name", "expected"), [("mmlu-pro", "MMLU_PRO"), ("a.b", "A_B"), ("2d", "_2D"), ("aime24", "AIME24")])
def test_identifiers(name, expected):
    assert identifier(name) == expected
    assert identifier(name, {expected}).startswith(expected)
    assert identifier(name, {expected}) != expected


SNIPPET = """
from collections.abc import Iterator
from typing import Any, assert_type

from aiperf import seams
from aiperf.plugin import plugins
from aiperf.plugin.enums import EndpointType, PluginType, RampType, UIType, create_enum
from aiperf.plugin.types import PluginEntry

assert_type(plugins.get_class("endpoint", "chat"), type[seams.Endpoint])
assert_type(plugins.get_class("endpoint", EndpointType.CHAT), type[seams.Endpoint])
assert_type(plugins.get_class(PluginType.UI, UIType.NONE), type[seams.Screen])
assert_type(plugins.get_class("record_processor", "request_latency"), seams.Metric)
assert_type(plugins.get_class("results_processor", "goodput"), seams.RunMetric)
assert_type(plugins.get_class("data_exporter", "csv"), seams.Exporter)
assert_type(plugins.get_class("ramp", "linear"), type[Any])
assert_type(plugins.iter_all("dataset_sampler"), Iterator[tuple[PluginEntry, type[seams.Sampler]]])
assert_type(plugins.make("arrival_pattern", "poisson", 3.0, seed=1), seams.Arrivals)
assert_type(plugins.make(PluginType.CLUSTER, "local", True, options={"a": 1}), seams.Cluster)
plugins.get_class("of_a_stranger", "x")
word: str = EndpointType.CHAT
mine = create_enum("endpoint", "Mine", __name__)
names: list[str] = list(RampType)
EndpointType.NOPE  # type: ignore[attr-defined]  # a typo is told
plugins.make("arrival_pattern", 3)  # type: ignore[call-overload]  # and so is a number for a name
"""


def mypy(root, tmp_path, file):
    words = ["--config-file", str(root / "pyproject.toml"), "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache"), str(file)]
    done = subprocess.run([sys.executable, "-m", "mypy", *words], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_types_by_category(tmp_path, root):
    (tmp_path / "snippet.py").write_text(SNIPPET)
    assert mypy(root, tmp_path, tmp_path / "snippet.py").startswith("Success")


@pytest.mark.timeout(600)
def test_the_module_behind_the_stub_is_typed_too(tmp_path, root):
    assert mypy(root, tmp_path, root / "src" / "aiperf" / "plugin" / "enums.py").startswith("Success")

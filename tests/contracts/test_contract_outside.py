"""The suites as other packages use them: they pass for plugins that keep their contract, and fail for those that do not."""

import subprocess
import sys

import pytest

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.speaking import spoken
from aiperf.plugin import plugins
from aiperf.testing import EndpointContract, LoaderContract, MetricContract, RunMetricContract, SamplerContract

ENDPOINT = """
from aiperf.common.models import ParsedResponse
from aiperf.endpoints.base_endpoint import BaseEndpoint


class Echo(BaseEndpoint):
    def format_payload(self, request_info):
        turn = request_info.turns[-1]
        return {"prompt": turn.texts[0].contents[0], "max_tokens": turn.max_tokens}

    def parse_response(self, response):
        said = response.get_json()
        if not isinstance(said, dict) or not isinstance(said.get("text"), str):
            return None
        return ParsedResponse(perf_ns=response.perf_ns, data=self.make_text_response_data(said["text"]), usage=None)
"""
SAMPLER = """
class Mine:
    def __init__(self, count, *, seed):
        self.count, self.seen = count, 0

    def rows(self, conversations):
        self.seen += len(conversations)
        return {rows}
"""
METRIC = """
import pyarrow.compute as pc

def mine(records):
    return {value}

def one(view):
    return {value}
"""
ABOUT = "metadata: {endpoint_path: /echo, supports_streaming: true, produces_tokens: true, tokenizes_input: true, metrics_title: Echo}"
UNIT = "metadata: {unit: ms, better: lower, population: p, needs: []}"
MANIFEST = f"""
endpoint: {{echo: {{class: "mine.echo:Echo", description: It is said again., {ABOUT}}}}}
dataset_sampler: {{mine: {{class: "mine.sampler:Mine", description: A row.}}}}
record_processor: {{mine: {{class: "mine.metric:mine", description: A number., {UNIT}}}}}
results_processor: {{one: {{class: "mine.metric:one", description: A number., {UNIT}}}}}
custom_dataset_loader: {{own: {{class: "aiperf.dataset.custom:SingleTurn", description: Rows.}}}}
"""


@pytest.fixture
def mine(installed):
    """A package of all of them; what is given takes the place of what is right."""

    def install(rows="conversations % self.count", value="pc.add(records['status'], 1)", endpoint=ENDPOINT):
        metric, sampler = METRIC.format(value=value), SAMPLER.format(rows=rows)
        installed({"mine/plugins.yaml": MANIFEST, "mine/echo.py": endpoint, "mine/sampler.py": sampler, "mine/metric.py": metric})
        assert plugins.problems() == ()

    return install


class TestEndpointOfTheOtherKind(EndpointContract):
    name = "echo"
    answers = (("application/json", b'{"text": "hello"}'), ("text/event-stream", b'data: {"text": "h\xc3\xa9"}\n\ndata: {"text": "o"}\n\n'))

    @pytest.fixture
    def entry(self, mine):
        mine()
        return plugins.get_entry(self.category, self.name)


class TestSampler(SamplerContract):
    @pytest.fixture
    def entry(self, mine):
        mine()
        return plugins.get_entry(self.category, "mine")


class TestMetric(MetricContract):
    @pytest.fixture
    def entry(self, mine):
        mine()
        return plugins.get_entry(self.category, "mine")


class TestRunMetric(RunMetricContract):
    @pytest.fixture
    def entry(self, mine):
        mine(value="view.window.seconds")
        return plugins.get_entry(self.category, "one")


class TestLoader(LoaderContract):
    rows = tuple({"text": f"{number} bottles"} for number in range(12))

    @pytest.fixture
    def entry(self, mine):
        mine()
        return plugins.get_entry(self.category, "own")


@pytest.mark.parametrize("rows", ["conversations", "conversations * 0.5", "(conversations + self.seen) % self.count", "1 / 0"])
def test_a_sampler_that_breaks_its_contract_fails(mine, rows):
    mine(rows=rows)
    with pytest.raises((AssertionError, plugins.PluginError)):
        SamplerContract().test_any_conversations_row_is_had_without_those_before_it(plugins.get_entry("dataset_sampler", "mine"), 7, 1)


@pytest.mark.parametrize("value", ["records['status'][1:]", "records['error']", "[len(records)] * len(records)", "1 / 0"])
def test_a_metric_that_breaks_its_contract_fails(mine, value):
    mine(value=value)
    with pytest.raises(AssertionError):
        MetricContract().test_a_row_has_its_finite_value_wherever_it_lies(plugins.get_entry("record_processor", "mine"))


@pytest.mark.parametrize("value", ["'much'", "view.records['end_ns']", "1 / 0"])
def test_a_metric_of_a_run_that_breaks_its_contract_fails(mine, value):
    mine(value=value)
    with pytest.raises(AssertionError):
        RunMetricContract().test_it_is_a_finite_number_or_nothing(plugins.get_entry("results_processor", "one"), 9)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("if not isinstance(said, dict) or", "if"),
        ("return None", "return said"),
        ('make_text_response_data(said["text"])', "make_text_response_data(str(id(object())))"),
        ("text_response", "no_response"),
    ],
)
def test_an_endpoint_that_breaks_its_contract_fails(mine, line, instead):
    assert line in ENDPOINT
    mine(endpoint=ENDPOINT.replace(line, instead))
    case, endpoint = TestEndpointOfTheOtherKind(), spoken(Endpoint(type="echo", url="http://h"), model="m", exact=False)

    def check():
        case.test_an_answer_of_its_own_is_understood_wherever_it_is_cut(endpoint)
        case.test_no_bytes_make_it_raise(endpoint)

    with pytest.raises(AssertionError):
        check()


def test_without_pytest_one_line_says_that_it_is_needed():
    program = "import sys; sys.modules['pytest'] = None; import aiperf.testing"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ImportError: aiperf.testing needs pytest, which is not installed"

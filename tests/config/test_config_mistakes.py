import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiperf.config import roots
from aiperf.config.compose import load
from aiperf.config.experiment import Experiment
from aiperf.config.keys import walk
from aiperf.errors import ConfigError

RATE = ("timing=request_rate",)
PRECISE = ("timing.stop.precision=0.05",)
PATHS = [key.dotted for key in walk(Experiment)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["timing.concurency=3"], ["argument 'timing.concurency=3'", "timing.concurency", "no such key", "timing.concurrency"]),
        (["rate=3"], ["no such key", "did you mean timing.rate?"]),
        (["endpont.url=http://h"], ["endpont.url", "did you mean endpoint.url?"]),
        (["hydra.run.dir=x"], ["hydra.run.dir", "no such key"]),
        (["endpoint._target_=os.system"], ["endpoint._target_", "no such key"]),
        (["timing.concurrency.x=3"], ["one value", "a whole number"]),
        (["timing=poison"], ["no timing 'poison'", "Known: concurrency, fixed_schedule, request_rate"]),
        (["endpoint=vlm"], ["did you mean vllm?"]),
        (["endpont=vllm"], ["endpont", "did you mean endpoint?"]),
        (["experiment=quikstart"], ["no experiment 'quikstart'", "did you mean quickstart?"]),
        (["++timing=concurrency"], ["++ is not for a group"]),
        (["timing=[a,b]"], ["takes one choice"]),
        (["quickstart"], ["is no key=value"]),
        (["=3"], ["is no key=value"]),
        (["endpoint/x=3"], ["separated by dots"]),
        (["timing.concurrency=abc"], ["expected a whole number from 1", "not 'abc'"]),
        (["timing.concurrency=2.5"], ["expected a whole number", "not 2.5"]),
        (["timing.concurrency=true"], ["expected a whole number", "not true"]),
        (["timing.concurrency=0"], ["from 1 to", "not 0"]),
        (["timing.concurrency=1,2"], ["takes one value"]),
        (["timing.concurrency=range(1,3)"], ["takes one value"]),
        (["timing.concurrency=[1"], ["cannot be read", "quotes"]),
        (["timing.stop.duration_s=-3"], ["above 0", "not -3"]),
        (["timing.stop.duration_s=5parsecs"], ["as in 30, 500ms or 2m", "'5parsecs'"]),
        (["timing.stop.duration_s=.nan"], ["timing.stop.duration_s"]),
        (["timing.stop.duration_s=inf"], ["timing.stop.duration_s", "finite"]),
        (["endpoint.streaming=perhaps"], ["true or false"]),
        (["endpoint.connection=sticky"], ["one of pooled, new"]),
        (["verdict.max_error_rate=2"], ["from 0 to 1"]),
        (["seed=1.5"], ["whole number"]),
        (["dataset.output_tokens.stddev=3"], ["output_tokens.stddev needs output_tokens.mean"]),
        (["dataset.output_tokens=0"], ["argument 'dataset.output_tokens=0'", "from 1 to", "not 0"]),
        (["tokenizer.apply_chat_template=true"], ["needs tokenizer.name, whose template it is"]),
        (["tokenizer.revision=v2"], ["tokenizer.revision", "needs tokenizer.name, whose revision it is"]),
        (["tokenizer.trust_remote_code=true"], ["needs tokenizer.name, whose code it is"]),
        (["name=../x"], ["beginning with a letter"]),
        (["endpoint=vllm", "endpoint.url=localhost:8000"], ["scheme and a host", "http://127.0.0.1:8000"]),
        (["endpoint=vllm", "endpoint.url=http://"], ["scheme and a host"]),
        (["endpoint=vllm", "endpoint.url=http://h:99999"], ["endpoint.url", "no URL"]),
        (["endpoint=vllm", "endpoint.url=http://h:0"], ["endpoint.url", "port 0"]),
        (["endpoint=vllm", "endpoint.url='http://h#a'"], ["endpoint.url", "a fragment", "base address"]),
        (["endpoint=vllm", "endpoint.url=http://h?a=b"], ["endpoint.url", "a query", "base address"]),
        (["endpoint=vllm", "endpoint.url='http://a b'"], ["endpoint.url", "a space"]),
        (["endpoint=vllm", "endpoint.url=http://h/v1/chat/completions/"], ["endpoint.url", "the path of an API", "base address"]),
        (["endpoint.path=v1/chat"], ["endpoint.path", "begins with /"]),
        (["endpoint.path=/v1 chat"], ["endpoint.path", "no space"]),
        (["endpoint.path='/v1\tchat'"], ["endpoint.path", "no control character"]),
        (["endpoint.headers.X-Kind=ж"], ["endpoint.headers", "'X-Kind'", "latin-1"]),
        (["endpoint.headers.content-length=5"], ["endpoint.headers", "'content-length' cannot be set here", "every request has its own"]),
        (["endpoint.headers.X-Request-ID=mine"], ["endpoint.headers", "'X-Request-ID' cannot be set here"]),
        (["endpoint=vllm", "endpoint.ca_path=ca.pem"], ["ca_path is for https", "leave ca_path out"]),
        (["endpoint.headers.X-Kind=***"], ["endpoint.headers", "'X-Kind'", "given again"]),
        (["endpoint.api_key=жhush"], ["endpoint.api_key", "latin-1"]),
        (["endpoint.extra.stream=false"], ["endpoint.extra", "endpoint.streaming"]),
        (["endpoint.extra.temperature=nan"], ["endpoint.extra", "temperature", "finite"]),
        (["endpoint.extra.a={b:[inf]}"], ["endpoint.extra", "a cannot", "finite"]),
        (["output.dir="], ["output.dir", "not empty"]),
        (["timing=null"], ["timing: is missing", "as in timing=concurrency"]),
        (["endpoint=null"], ["endpoint: is missing", "vllm"]),
        (["timing.warmup=null"], ["or none of them, as in timing.warmup.requests=10"]),
        (["experiment=poisson", "experiment=quickstart"], ["'experiment=quickstart'", "chosen already", "'experiment=poisson'"]),
        (["timing=request_rate", "timing=concurrency"], ["'timing=concurrency'", "chosen already"]),
        ([*RATE, "timing.rate=1e6", "timing.stop.duration_s=100"], ["100,000,000 planned arrivals", "50,000,000"]),
        ([*RATE, "timing.stop.requests=1000000000"], ["1,000,000,000 planned arrivals", "50,000,000"]),
        ([*RATE, "timing.rate=1e6", "timing.warmup.duration_s=86400"], ["86,430,000,000 planned arrivals", "50,000,000"]),
        (["endpoint=openai"], ["conf/endpoint/openai.yaml:3", "endpoint.url", "is missing", "endpoint.url=http://127.0.0.1:8000"]),
        (["dataset=mooncake_trace"], ["dataset.path", "is missing", "dataset.path=FILE"]),
        (["endpoint.url=http://h"], ["exclude each other"]),
        (["timing.stop.duration_s=null"], ["no stop rule"]),
        (["timing.stop={duration_s:null,precision:0.05}"], ["no stop rule", "as well", "stop.precision", "may never be reached"]),
        (["timing.stop.precision=5"], ["timing.stop.precision", "from 0.01 to 0.5", "5"]),
        (["timing.stop.precision_of=request_latency.p99"], ["precision_of is not used without stop.precision"]),
        ([*PRECISE, "timing.stop.precision_of=request_latncy.p99"], ["did you mean request_latency?", "time_to_first_token"]),
        ([*PRECISE, "timing.stop.precision_of=inter_token_latency.p50"], ["no metric of the pulse 'inter_token_latency'"]),
        ([*PRECISE, "timing.stop.precision_of=[request_latency.p50,request_latency.p98]"], ["no percentile 'p98'", "did you mean p9"]),
        ([*PRECISE, "timing.stop.precision_of=request_latency"], ["no percentile ''", "p99.9"]),
        ([*PRECISE, "endpoint.streaming=false", "timing.stop.precision_of=time_to_first_token.p50"], ["needs a streamed answer"]),
        ([*RATE, "timing.stop={requests:100000,duration_s:1}"], ["contradict each other"]),
        (["timing.warmup={requests:1,duration_s:1}"], ["contradict each other"]),
        ([*RATE, "verdict.window.start_s=500"], ["argument 'verdict.window.start_s=500': verdict.window: is outside the run", "lasts"]),
        ([*RATE, "verdict.window.end_s=30.5"], ["argument 'verdict.window.end_s=30.5': verdict.window: is outside the run"]),
        (["timing=fixed_schedule", "timing.start_s=4", "timing.end_s=3"], ["is not after"]),
        (["timing.rate=3"], ["timing.rate is not used by timing.type=concurrency"]),
        ([*RATE, "timing.speedup=2"], ["timing.speedup is not used by timing.type=request_rate"]),
        (["timing.type=closed"], ["'closed' not found", "timing_strategy"]),
        ([*RATE, "timing.arrival=poison"], ["Did you mean 'poisson'"]),
        (["endpoint.type=caht"], ["Did you mean 'chat'"]),
        (["endpoint.transport=carrier_pigeon"], ["Known: memory, wire"]),
        (["dataset.type=synthetics"], ["Did you mean 'synthetic'"]),
        (["cluster.type=ray"], ["cluster", "Known: inline, local"]),
        (["cluster.generators=0"], ["cluster.generators", "from 1 to 256", "not 0"]),
        (["cluster.generators=3", "timing.concurrency=2"], ["cluster.generators", "3 cannot share timing.concurrency=2"]),
        (["cluster.generators=2", "cluster.type=inline"], ["cluster.generators", "cluster=inline", "has one process"]),
        (
            ["cluster.generators=2", "endpoint=simulator", "endpoint.simulator.clock=virtual"],
            ["cluster.generators", "a virtual clock takes"],
        ),
        (["ui.type=dashboard"], ["ui.type"]),
        (["verdict.ignore=late"], ["no reason 'late'", "late_generator"]),
        (
            ["goodput.slos.time_to_first_tokn=3"],
            ["no metric 'time_to_first_tokn'", "did you mean time_to_first_token?"],
        ),
        (["goodput.slos.goodput=3"], ["one number for the whole run"]),
        (["goodput.slos.request_latency={p98:3}"], ["no statistic 'p98'", "p99"]),
        (["goodput.slos.request_latency=soon"], ["at least 0 in ms", "'soon'"]),
        (["goodput.slos.request_latency=-1"], ["at least 0"]),
        (["goodput.slos.request_latency={}"], ["holds no limit"]),
        (["endpoint.streaming=false", "goodput.slos.time_to_first_token=3"], ["needs a streamed answer"]),
        (["endpoint.api_key=${oc.env:SURELY_NOT_SET}"], ["leads nowhere", "SURELY_NOT_SET"]),
        (["endpoint.model=${"], ["endpoint.model", "leads nowhere"]),
        (["endpoint.model=${nowhere}"], ["leads nowhere"]),
        (["endpoint=vllm", "endpoint.url=['${nowhere}','http://h']"], ["endpoint.url", "'${nowhere}' leads nowhere"]),
        (["~timing.rate"], ["nothing to take away"]),
        (["~timing.concurrency=3"], ["another one"]),
        (["~endpoint"], ["endpoint", "missing"]),
    ],
)
def test_bad_arguments(arguments, words, problems):
    found = problems(*arguments)
    assert len(found) == 1
    assert [word for word in words if word not in found[0]] == []
    assert "pydantic" not in found[0].lower()
    assert "Value error" not in found[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("timing:\n  concurency: 3\n", ["experiments/mine.yaml:2", "timing.concurency", "timing.concurrency"]),
        ("timing: {concurrency: [1}\n", ["experiments/mine.yaml:1:", "is no YAML"]),
        ("timing:\n  stop: {}\n  stop: {}\n", ["experiments/mine.yaml:3:3", "duplicate key stop"]),
        ("- 1\n", ["experiments/mine.yaml", "holds no keys"]),
        ("choose: [a]\n", ["experiments/mine.yaml", "choose"]),
        ("choose: {timming: concurrency}\n", ["experiments/mine.yaml:1", "no group 'timming'", "did you mean timing?"]),
        ("choose:\n  timing: concurency\n", ["experiments/mine.yaml:2", "choose.timing", "did you mean concurrency?"]),
        ("endpoint: vllm\n", ["endpoint", "expected keys"]),
        ("defaults: {a: b}\n", ["experiments/mine.yaml", "defaults"]),
        ("defaults: [nowhere]\n", ["nowhere"]),
        ("defaults: [{override /timing: nowhere}]\n", ["nowhere"]),
        ("seed: &a [*a]\n", ["experiments/mine.yaml", "refers to itself"]),
        ("a: &x {b: *x}\n", ["experiments/mine.yaml", "refers to itself"]),
        ("seed: !!python/object/apply:os.getcwd []\n", ["experiments/mine.yaml:1", "is no YAML"]),
        ("endpoint: {model: 7}\n", ["endpoint.model", "expected text", "not 7"]),
        ("endpoint: {api_key: [hush]}\n", ["endpoint.api_key", "***"]),
        ("endpoint: {headers: {a b: c}}\n", ["endpoint.headers", "no header"]),
        ("1: 2\n", ["1", "no such key"]),
    ],
)
def test_bad_files(text, words, write, problems):
    write("experiments/mine.yaml", text)
    found = problems("experiment=mine")
    assert len(found) == 1
    assert [word for word in words if word not in found[0]] == []
    assert "hush" not in found[0]


def test_a_file_that_is_no_text(write, problems, tmp_path):
    write("experiments/mine.yaml", "")
    (tmp_path / "experiments" / "mine.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in problems("experiment=mine")[0]


def test_all_mistakes_at_once(write, problems):
    write("experiments/mine.yaml", "timing: {stop: {requests: none}, warmup: {requets: 3}}\nseed: -1\nui: {type: fancy}\n")
    found = problems(
        "experiment=mine", "timing.rat=4", "endpoint.url=foo", "timing.concurrency=0", "verdict.max_error_rate=2", "dataset.entries=[",
        "goodput.slos.ttft=3", "verdict.ignore=[late]", "endpoint.simulator.ttft=2",
    )  # fmt: skip
    for path in (
        "timing.stop.requests", "timing.warmup.requets", "seed", "ui.type", "timing.rat", "endpoint.url", "timing.concurrency",
        "verdict.max_error_rate", "dataset.entries", "goodput.slos.ttft", "verdict.ignore", "endpoint.simulator.ttft",
    ):  # fmt: skip
        assert sum(path in line for line in found) >= 1, (path, found)
    assert not any("no stop rule" in line for line in found), "a rule was given; it is wrong, and said to be"


def test_a_broken_rule_hides_no_other_mistake(problems):
    found = problems("endpoint=openai", "endpoint.type=caht", "dataset.sampling=random", "ui.type=fancy", "goodput.slos.ttft=3")
    for words in ("endpoint.url: is missing", "'chat'", "sampling=random needs entries", "ui.type", "no metric 'ttft'"):
        assert sum(words in line for line in found) == 1, (words, found)
    assert len(found) == 5


def test_every_reference_of_a_list_that_leads_nowhere_is_told(problems):
    found = problems("endpoint=vllm", "endpoint.url=['${nowhere}','${gone}']")
    assert [name for name in ("nowhere", "gone") if sum(f"'${{{name}}}' leads nowhere" in line for line in found) != 1] == []


def test_hydras_own_override_is_told_like_a_choice(write, problems):
    write("experiments/mine.yaml", "defaults:\n  - override /timing: poison\n")
    (found,) = problems("experiment=mine")
    assert found.startswith("experiments/mine.yaml: choose.timing: there is no timing 'poison'. Known: concurrency,")


def test_a_secret_is_shown_by_no_message(problems):
    found = problems("endpoint.api_key=[hush]", "endpoint.headers.authorization={a:hush}", "endpoint.apikey=hush", "endpoint.headers=hush")
    found += problems("endpoint.headers.X-Kind=huшsh", "endpoint.api_key=huшsh")
    for url in ("http://me:hush@h", "http://me:huxx@hush@h", "http://me:hush@h:x", "http://me:hush/x@h", "[http://i,http://me:hush@h]"):
        found += problems("endpoint=vllm", f"endpoint.url={url}")
    assert "hush" not in "\n".join(found)
    assert "huшsh" not in "\n".join(found)
    assert "***" in "\n".join(found)


def test_the_nearest_key_is_found_for_every_key_with_a_letter_missing(problems):
    for path in PATHS:
        if len(path.rpartition(".")[2]) > 5 and not path[-1].isdigit():  # http_00 is as near to http_400 as to http_500
            assert f"did you mean {path}?" in problems(f"{path[:-3]}{path[-2:]}=1")[0]


def refusals(arguments: list[str]) -> tuple[str, ...]:
    try:
        load(arguments)
    except ConfigError as exc:
        return exc.problems or ("",)
    return ()


words = st.one_of(
    st.text(max_size=40),
    st.builds(lambda key, value: f"{key}={value}", st.sampled_from(PATHS), st.text(max_size=20)),
    st.builds(lambda key, value: f"{key}={value}", st.sampled_from(roots.groups()), st.text(max_size=10)),
    st.builds(lambda sign, key: f"{sign}{key}", st.sampled_from(["~", "+", "++", ""]), st.sampled_from(PATHS)),
    st.builds(
        lambda key, value: f"{key}={value}",
        st.sampled_from(PATHS),
        st.text(alphabet="[]{}(),:=$.\\'\"~+-0129eEaxt _", max_size=12),
    ),
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(words, max_size=3))
def test_any_argument_is_taken_or_refused_in_words(arguments):
    assert all(problem.strip() for problem in refusals(arguments))

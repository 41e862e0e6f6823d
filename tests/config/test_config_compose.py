import pytest
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

from aiperf.config import roots
from aiperf.config.compose import load
from aiperf.errors import ConfigError


def test_nothing_said_is_the_simulator_in_closed_loop(compose):
    composed = compose()
    assert composed.experiment.endpoint.simulator is not None
    assert composed.experiment.timing.type == "concurrency"
    assert composed.experiment.timing.stop.duration_s == 30
    assert composed.experiment.name == "experiment"
    assert composed.notes == ()


@pytest.mark.parametrize("name", sorted(roots.choices("experiment", [roots.packaged()])))
def test_packaged_experiments_are_valid_and_begin_with_their_question(name, compose):
    composed = compose(f"experiment={name}")
    file = roots.packaged() / "experiments" / f"{name}.yaml"
    assert composed.experiment.name == name
    assert file.read_text().startswith("# ")
    assert "?" in roots.first_comment(file)


@pytest.mark.parametrize("group", [group for group in roots.groups() if group != "experiment"])
def test_packaged_choices_say_what_they_are(group):
    files = roots.choices(group, [roots.packaged()]).values()
    assert files
    assert all(roots.first_comment(file).endswith(".") for file in files)


def test_layers_in_order(write, compose):
    write("experiments/mine.yaml", "timing: {concurrency: 3}\nseed: 1\n")
    assert compose().experiment.timing.concurrency == 8
    assert compose("experiment=mine").experiment.timing.concurrency == 3
    composed = compose("experiment=mine", "timing.concurrency=5")
    assert (composed.experiment.timing.concurrency, composed.experiment.seed) == (5, 1)


def test_an_experiment_chooses_and_says_so(write, compose):
    write("experiments/mine.yaml", "choose: {timing: request_rate}\ntiming: {rate: 3}\n")
    composed = compose("experiment=mine")
    assert composed.experiment.timing.type == "request_rate"
    assert composed.choices["timing"] == "request_rate"
    assert "experiments/mine.yaml chooses timing=request_rate" in composed.notes


def test_a_group_of_the_command_line_drops_what_the_experiment_says_below_it(write, compose):
    write("experiments/mine.yaml", "choose: {endpoint: simulator, timing: concurrency}\nendpoint: {simulator: {ttft_ms: 7}, model: abc}\n")
    composed = compose("experiment=mine", "endpoint=vllm", "endpoint.url=http://10.0.0.1:9")
    assert composed.experiment.endpoint.url == ("http://10.0.0.1:9",)
    assert composed.experiment.endpoint.simulator is None
    assert composed.experiment.endpoint.model is None
    assert [note for note in composed.notes if note.startswith("dropped")] == [
        "dropped endpoint.simulator.ttft_ms=7 of experiments/mine.yaml: endpoint was chosen on the command line",
        "dropped endpoint.model=abc of experiments/mine.yaml: endpoint was chosen on the command line",
    ]


def test_a_dropped_secret_is_not_shown(write, compose):
    write("experiments/mine.yaml", "endpoint: {api_key: sk-hush, headers: {X-Api-Key: hush}}\n")
    assert "hush" not in " ".join(compose("experiment=mine", "endpoint=vllm").notes)


def test_hydras_own_defaults_list_works(write, compose):
    write("experiments/lower.yaml", "timing: {concurrency: 3}\nseed: 1\n")
    write("experiments/upper.yaml", "defaults: [lower, {override /endpoint: vllm}, _self_]\nseed: 2\n")
    composed = compose("experiment=upper")
    assert (composed.experiment.seed, composed.experiment.timing.concurrency) == (2, 3)
    assert composed.experiment.endpoint.url == ("http://127.0.0.1:8000",)
    assert compose("experiment=upper", "endpoint=simulator").experiment.endpoint.url == ()


def test_the_working_folder_goes_before_config_dir_and_both_before_the_package(write, tmp_path):
    write("conf/timing/concurrency.yaml", "{type: concurrency, concurrency: 2, stop: {requests: 1}}")
    write("other/conf/timing/concurrency.yaml", "{type: concurrency, concurrency: 3, stop: {requests: 1}}")
    write("other/conf/timing/mine.yaml", "{type: concurrency, concurrency: 4, stop: {requests: 1}}")
    folders = [tmp_path / "other"]
    assert load([], config_dirs=folders).experiment.timing.concurrency == 2
    assert load(["timing=mine"], config_dirs=folders).experiment.timing.concurrency == 4


def test_a_strangers_conf_does_no_harm(write, compose):
    write("conf/base.yaml", "defaults: [nonsense]")
    write("conf/db/mysql.yaml", "port: 3306")
    assert compose().choices["timing"] == "concurrency"


def test_a_folder_named_like_a_file_is_no_choice(tmp_path, problems):
    (tmp_path / "experiments" / "dir.yaml").mkdir(parents=True)
    assert "there is no experiment 'dir'. Known: concurrency," in problems("experiment=dir")[0]


def test_a_base_address_may_have_a_path(compose):
    for path in ("", "/v1", "/prefix", "/v1/"):
        assert compose("endpoint=vllm", f"endpoint.url=http://h:1{path}").experiment.endpoint.url == (f"http://h:1{path.rstrip('/')}",)
    assert compose("endpoint.path=/v1/other?version=1").experiment.endpoint.path == "/v1/other?version=1"


def test_the_most_arrivals_can_be_planned_and_closed_loop_plans_none(compose):
    composed = compose("timing=request_rate", "timing.rate=1e6", "timing.stop.duration_s=50")
    assert composed.experiment.timing.rate == 1e6
    assert compose("timing.stop.requests=1000000000").experiment.timing.stop.requests == 10**9


def test_a_config_dir_without_files_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="holds neither"):
        load([], config_dirs=[tmp_path / "nowhere"])


class TestStopRules:
    def test_the_experiments_rule_replaces_the_groups(self, write, compose):
        write("experiments/mine.yaml", "timing: {stop: {requests: 9}}\n")
        composed = compose("experiment=mine")
        assert (composed.experiment.timing.stop.requests, composed.experiment.timing.stop.duration_s) == (9, None)
        assert any("mine.yaml: timing.stop.requests=9 replaces timing.stop.duration_s=30 of" in note for note in composed.notes)

    def test_the_command_lines_rule_replaces_the_files(self, compose):
        composed = compose("experiment=quickstart", "timing.stop.requests=9")
        assert (composed.experiment.timing.stop.requests, composed.experiment.timing.stop.duration_s) == (9, None)
        assert any("timing.stop.requests=9 replaces timing.stop.duration_s=10 of" in note for note in composed.notes)

    @pytest.mark.parametrize("arguments", ["timing.stop.requests=9 timing.stop.duration_s=4", "timing.stop={requests:9,duration_s:4}"])
    def test_both_of_one_layer_hold(self, arguments, compose):
        composed = compose("experiment=quickstart", *arguments.split())
        assert (composed.experiment.timing.stop.requests, composed.experiment.timing.stop.duration_s) == (9, 4)

    def test_warm_up_has_the_same_rule(self, compose):
        warmup = compose("experiment=mooncake_replay", "timing.warmup.requests=3").experiment.timing.warmup
        assert (warmup.requests, warmup.duration_s) == (3, None)

    def test_the_same_rule_again_replaces_nothing(self, compose):
        composed = compose("experiment=quickstart", "timing.stop.duration_s=4")
        assert composed.experiment.timing.stop.duration_s == 4
        assert not any("replaces timing.stop.requests" in note for note in composed.notes)


class TestCommandLine:
    def test_values_that_the_grammar_cannot_read_are_taken_as_they_are(self, compose):
        endpoint = compose("endpoint=vllm", "endpoint.url=http://h/v1=a", "endpoint.model=<m>,x=[").experiment.endpoint
        assert endpoint.url == ("http://h/v1=a",)
        assert endpoint.model == "<m>,x=["

    @pytest.mark.parametrize("typed", ["7", "true", "1e3", "a,b", "010"])
    def test_text_stays_text(self, typed, compose):
        assert compose("endpoint=vllm", f"endpoint.model={typed}").experiment.endpoint.model == typed

    def test_headers_are_text_and_extra_is_what_it_looks_like(self, compose):
        endpoint = compose("endpoint.headers.X-Run=7", "endpoint.extra.temperature=0", "endpoint.extra.stop=[a,b]").experiment.endpoint
        assert endpoint.headers == {"X-Run": "7"}
        assert endpoint.extra == {"temperature": 0, "stop": ["a", "b"]}

    def test_several_urls_are_a_list(self, compose):
        assert len(compose("endpoint=vllm", "endpoint.url=[http://a:1,http://b:2]").experiment.endpoint.url) == 2

    @pytest.mark.parametrize("sign", ["+", "++"])
    def test_plus_signs_are_allowed_on_values(self, sign, compose):
        assert compose(f"{sign}timing.concurrency=3").experiment.timing.concurrency == 3

    def test_a_value_and_a_choice_can_be_taken_away(self, write, compose):
        write("experiments/mine.yaml", "choose: {goodput: chat}\nendpoint: {model: abc}\n")
        composed = compose("experiment=mine", "~endpoint.model", "~goodput")
        assert composed.experiment.endpoint.model is None
        assert composed.experiment.goodput.slos == {}

    def test_a_promise_can_be_taken_back(self, compose):
        assert "inter_token_latency" not in compose("goodput=chat", "goodput.slos.inter_token_latency=null").experiment.goodput.slos

    def test_a_statistic_with_a_point(self, compose):
        assert compose("goodput.slos.request_latency.p99.9=2s").experiment.goodput.slos == {"request_latency": {"p99.9": "2s"}}

    @pytest.mark.parametrize(("typed", "seconds"), [("250ms", 0.25), ("2s", 2), ("2m", 120), ("3", 3)])
    def test_units(self, typed, seconds, compose):
        assert compose(f"timing.stop.duration_s={typed}").experiment.timing.stop.duration_s == seconds


class TestReferences:
    def test_the_environment_is_read_and_kept_as_written(self, compose, monkeypatch):
        monkeypatch.setenv("MY_TOKEN", "sk-very-secret")
        composed = compose("endpoint=vllm", "endpoint.api_key=${oc.env:MY_TOKEN}", "endpoint.headers.X-Copy=${endpoint.api_key}")
        assert composed.experiment.endpoint.api_key == "sk-very-secret"
        assert composed.experiment.endpoint.headers == {"X-Copy": "sk-very-secret"}
        assert "sk-very-secret" not in composed.text
        assert yaml.safe_load(composed.text)["endpoint"]["api_key"] == "${oc.env:MY_TOKEN}"

    def test_one_in_a_list(self, compose, monkeypatch):
        monkeypatch.setenv("HOST", "http://h:1")
        composed = compose("endpoint=vllm", "endpoint.url=['${oc.env:HOST}','http://i:2']")
        assert composed.experiment.endpoint.url == ("http://h:1", "http://i:2")
        assert yaml.safe_load(composed.text)["endpoint"]["url"] == ["${oc.env:HOST}", "http://i:2"]

    def test_a_short_form(self, compose, monkeypatch):
        monkeypatch.setenv("LENGTH", "12")
        composed = compose("dataset.input_tokens=${oc.decode:${oc.env:LENGTH}}")
        assert composed.experiment.dataset.input_tokens.mean == 12


class TestAValueInPlaceOfAGroup:
    def test_holds_beside_another_key_of_the_group(self, compose):
        lengths = ("dataset.output_tokens=6", "dataset.output_tokens.exact=true")
        experiment = compose("endpoint=vllm", *lengths, "endpoint.timeout_s=5s", "endpoint.timeout_s.idle=2").experiment
        assert (experiment.dataset.output_tokens.mean, experiment.dataset.output_tokens.exact) == (6, True)
        assert (experiment.endpoint.timeout_s.total, experiment.endpoint.timeout_s.idle) == (5, 2)

    def test_is_one_key_of_several_over_an_experiment_and_under_the_command_line(self, compose, write):
        values = "endpoint: {timeout_s: 7}\ndataset: {output_tokens: {mean: 128, exact: true}}\n"
        write("experiments/mine.yaml", "choose: {endpoint: vllm, timing: concurrency}\n" + values)
        experiment = compose("experiment=mine", "dataset.output_tokens=8", "endpoint.timeout_s.idle=3").experiment
        assert (experiment.dataset.output_tokens.mean, experiment.dataset.output_tokens.exact) == (8, True)
        assert (experiment.endpoint.timeout_s.total, experiment.endpoint.timeout_s.idle) == (7, 3)

    def test_of_a_groups_file_holds_beside_the_experiments_key(self, compose, write):
        write("conf/endpoint/slow.yaml", "url: http://h:1\ntimeout_s: 7\n")
        experiment = compose("endpoint=slow", "endpoint.timeout_s.idle=3").experiment
        assert (experiment.endpoint.timeout_s.total, experiment.endpoint.timeout_s.idle) == (7, 3)


class TestText:
    def test_it_is_complete_and_means_the_same(self, compose, write):
        composed = compose("experiment=mooncake_replay")
        text = yaml.safe_load(composed.text)
        assert set(text.pop("choose").values()) == {None}
        assert text == composed.experiment.model_dump(mode="json")

    def test_it_can_be_composed_again(self, compose, write):
        first = compose("experiment=poisson", "timing.rate=7")
        write("experiments/again.yaml", first.text)
        again = compose("experiment=again")
        assert again.experiment == first.experiment
        assert again.choices == {"experiment": "again"}, "no file was read but this one"
        assert again.notes == ()

    def test_what_was_taken_back_stays_away_when_it_is_composed_again(self, compose, write):
        first = compose("goodput=chat", "goodput.slos.inter_token_latency=null", "endpoint=vllm")
        write("experiments/again.yaml", first.text)
        write("conf/goodput/none.yaml", "slos: {request_latency: 1s}\n")
        again = compose("experiment=again")
        assert again.experiment.model_copy(update={"name": first.experiment.name}) == first.experiment
        assert compose("experiment=again", "endpoint=simulator").experiment.endpoint.simulator is not None

    def test_no_literal_secret(self, compose):
        secrets = ["endpoint.api_key=sk-1hush", "endpoint.headers.X-Api-Key=2hush", "endpoint.headers.authorization=Bearer 3hush"]
        composed = compose("endpoint=vllm", "endpoint.path=/v1?api_key=5hush", "endpoint.extra.access_token=6hush", *secrets)
        assert composed.experiment.endpoint.api_key == "sk-1hush"
        assert "hush" not in composed.text
        assert yaml.safe_load(composed.text)["endpoint"]["headers"] == {"X-Api-Key": "***", "authorization": "***"}
        assert "hush" not in repr(composed.experiment.endpoint).replace("5hush", "").replace("6hush", "")

    def test_hydra_and_its_choices_do_not_leak(self, compose):
        composed = compose("experiment=quickstart")
        assert "hydra" not in composed.text
        assert not any("hydra" in group for group in composed.choices)


def test_hydras_globals_are_left_as_they_were(compose):
    store = ConfigStore.instance().repo["hydra"]["config.yaml"]
    compose()
    assert ConfigStore.instance().repo["hydra"]["config.yaml"] is store
    assert GlobalHydra.instance().hydra is None


def test_names_that_are_no_names_for_a_folder(write, compose):
    write("experiments/sub/a b.yaml", "seed: 3\n")
    composed = compose("experiment='sub/a b'")
    assert (composed.experiment.name, composed.experiment.seed) == ("a-b", 3)


def test_a_type_with_a_file_of_its_name_chooses_the_file():
    """Or what the default file says for another type, eight slots say, would hold for this one."""
    made = load(["endpoint=simulator", "timing.type=request_rate", "timing.rate=1000"])
    assert (made.experiment.timing.type, made.experiment.timing.concurrency) == ("request_rate", None)
    assert made.choices["timing"] == "request_rate"
    chosen = load(["endpoint=simulator", "timing=concurrency", "timing.type=request_rate", "timing.rate=1000"])
    assert chosen.experiment.timing.concurrency == 8

"""The registry: what has a name, how it is asked for, and what happens to a name that nobody has."""

import shutil
import subprocess
import sys
import threading
from collections import Counter
from importlib import import_module
from importlib.resources import files

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiperf.errors import ConfigError
from aiperf.plugin import plugins
from aiperf.plugin.types import PluginAttributeError, PluginError, PluginImportError, TypeNotFoundError

EVERY = [entry for entry in plugins.iter_entries() if entry.is_builtin]
KNOWN = plugins.categories()
DECLARED = ("plugins.yaml", "metrics.yaml")


class Every:
    """A sampler for tests: each of the rows in turn."""

    def __init__(self, count, *, seed):
        self.count, self.seed = count, seed

    def rows(self, conversations):
        return conversations % self.count


@pytest.fixture(autouse=True)
def as_installed():
    yield
    plugins.reset_registry()


def declared(name):
    return yaml.safe_load(files("aiperf.plugin").joinpath(name).read_text(encoding="utf-8"))


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: f"{entry.category}:{entry.name}")
class TestEveryPlugin:
    """What every built-in must keep; one that is declared is here by that alone."""

    def test_is_there_and_imported_once(self, entry):
        found = plugins.get_class(entry.category, entry.name)
        assert callable(found)
        assert plugins.get_class(entry.category, entry.name) is found

    def test_says_what_it_is(self, entry):
        assert entry.description.endswith(".")
        assert entry.name == plugins.folded(entry.name)
        assert entry.package == "aiperf"
        assert entry.label == f"{entry.category}:{entry.name}"

    def test_is_known_by_its_class(self, entry):
        assert plugins.find_registered_name(entry.category, plugins.get_class(entry.category, entry.name)) == entry.name
        assert plugins.get_entry(entry.category, entry.class_path) == entry


@pytest.mark.parametrize("category", KNOWN.values(), ids=lambda category: category.name)
class TestEveryCategory:
    def test_what_it_names_is_there(self, category):
        for path in (category.protocol, category.metadata_class, *category.accepts):
            if path is not None:
                module, _, name = path.partition(":")
                assert hasattr(import_module(module), name), path

    def test_it_has_plugins_where_it_has_a_protocol(self, category):
        assert (category.protocol is not None) == bool(list(plugins.iter_entries(category.name)))

    def test_an_internal_one_says_what_took_its_place_and_takes_nobody(self, category):
        assert category.internal == (category.replaced_by is not None)
        if category.internal:
            with pytest.raises(PluginError, match=f"the category {category.name} is not open: "):
                plugins.register(category.name, "mine", Every)


def test_no_two_plugins_of_a_category_have_the_same_name():
    said = [(category, name) for file in DECLARED for category, entries in declared(file).items() if category in KNOWN for name in entries]
    names = Counter((category, plugins.folded(name)) for category, name in said)
    assert [name for name, times in names.items() if times > 1] == []
    assert len(EVERY) == sum(names.values())


def test_all_that_is_declared_is_right():
    assert plugins.validate_all() == {}
    assert plugins.validate_all(check_class=True) == {}
    assert (plugins.problems(), plugins.notes()) == ((), ())


def test_the_documented_classes_have_their_names():
    names = {entry.class_path.partition(":")[2] for entry in EVERY}
    assert names >= {
        "ChatEndpoint", "CompletionsEndpoint", "FixedScheduleStrategy", "RequestRateStrategy", "ConstantIntervalGenerator",
        "PoissonIntervalGenerator", "SyntheticDatasetComposer", "CustomDatasetComposer", "TQDMProgressUI", "NoUI",
    }  # fmt: skip


def test_all_documented_categories_are_there_with_their_enums():
    enums = {category.enum for category in plugins.categories().values()}
    assert enums >= {
        "EndpointType", "TimingMode", "ArrivalPattern", "RampType", "DatasetSamplingStrategy", "ComposerType", "CustomDatasetType",
        "PublicDatasetType", "TransportType", "URLSelectionStrategy", "UIType", "PlotType", "DataExporterType", "ConsoleExporterType",
        "RecordProcessorType", "ResultsProcessorType", "GPUTelemetryProcessorType", "ServerMetricsProcessorType", "AccuracyBenchmarkType",
        "AccuracyGraderType", "SearchRecipeType", "SearchRecipePostProcessType", "ConvergenceCriterionType", "SearchPlannerType",
        "GPUTelemetryCollectorType", "APIRouterType", "ServiceType", "ServiceRunType", "DatasetBackingStoreType", "DatasetClientStoreType",
        "CommunicationBackend", "CommClientType", "ZMQProxyType",
    }  # fmt: skip
    assert len(enums) == len(list(plugins.categories()))


def test_every_metric_says_how_it_is_to_be_read():
    for category in ("record_processor", "results_processor"):
        for entry in plugins.iter_entries(category):
            assert entry.metadata["better"] in ("lower", "higher", "neither"), entry.name
            assert entry.metadata["unit"], entry.name
            assert entry.metadata["population"], entry.name
            assert set(entry.metadata["needs"]) <= {"streaming", "slos"}, entry.name


def test_reading_what_is_declared_imports_none_of_it():
    seen = run("""
import sys
from aiperf.plugin import plugins
for entry in plugins.iter_entries():
    plugins.get_metadata(entry.category, entry.name)
plugins.list_packages(), plugins.problems(), plugins.shadowed("endpoint", "chat")
print(*{name.split(".")[1] for name in sys.modules if name.startswith("aiperf.")}, *{"pydantic", "numpy", "pyarrow"} & set(sys.modules))
""")
    assert set(seen) <= {"plugin", "errors", "clock"}


def test_validating_without_classes_imports_none_of_them():
    seen = run("""
import sys
from aiperf.plugin import plugins
assert plugins.validate_all() == {}
print(*{name.split(".")[1] for name in sys.modules if name.startswith("aiperf.")}, *{"numpy", "pyarrow"} & set(sys.modules))
""")
    assert set(seen) <= {"plugin", "errors", "clock"}


@given(st.sampled_from(EVERY), st.randoms())
def test_case_and_dashes_do_not_matter(entry, chance):
    typed = "".join(chance.choice((letter.upper(), letter.replace("_", "-"))) for letter in entry.name)
    assert plugins.get_entry(entry.category, f" {typed} ") == entry
    assert plugins.get_class(entry.category.upper(), typed) is plugins.get_class(entry.category, entry.name)


def test_an_enum_member_is_a_name():
    patterns = plugins.create_enum("arrival_pattern", "Patterns", module=__name__)
    assert [member.value for member in patterns] == [entry.name for entry in plugins.iter_entries("arrival_pattern")]
    assert plugins.get_class("arrival_pattern", patterns.POISSON) is plugins.get_class("arrival_pattern", "poisson")


class TestUnknownNames:
    def test_one_is_answered_with_the_nearest_and_all(self):
        with pytest.raises(TypeNotFoundError) as caught:
            plugins.get_entry("arrival_pattern", "poison")
        first, _, rest = str(caught.value).partition("\n")
        assert first == "Type 'poison' not found for category 'arrival_pattern'."
        assert "Did you mean 'poisson'?" in rest
        assert "Known: constant, poisson" in rest
        assert "aiperf" in rest
        assert (caught.value.category, caught.value.name, caught.value.available) == ("arrival_pattern", "poison", ["constant", "poisson"])
        assert isinstance(caught.value, ConfigError)

    def test_one_like_no_other_is_answered_without_a_guess(self):
        with pytest.raises(TypeNotFoundError, match="Known: constant, poisson") as caught:
            plugins.get_class("arrival_pattern", "xxxxxxx")
        assert "Did you mean" not in str(caught.value)

    def test_of_a_category_that_has_none_yet(self):
        with pytest.raises(TypeNotFoundError, match="none yet"):
            plugins.get_class("accuracy_grader", "exact_match")

    @pytest.mark.parametrize("call", [plugins.get_entry, plugins.get_class, plugins.get_metadata, plugins.make, plugins.shadowed])
    def test_an_unknown_category_is_answered_with_all(self, call):
        with pytest.raises(TypeNotFoundError, match=r"'endpoints'.*Did you mean 'endpoint'\? Known: accuracy_benchmark, .*zmq_proxy"):
            call("endpoints", "chat")


class TestClassPaths:
    def test_one_that_nobody_declares_is_had_from_python_if_it_fits(self):
        assert plugins.get_class("dataset_sampler", f"{__name__}:Every").__name__ == "Every"

    @pytest.mark.parametrize("path", ["os:system", "subprocess:Popen", "builtins:eval", "aiperf.endpoints.chat:ChatEndpoint"])
    def test_one_that_does_not_fit_is_refused(self, path):
        with pytest.raises(PluginError, match=path):
            plugins.get_class("dataset_sampler", path)

    def test_an_experiment_cannot_name_one_that_nobody_declares(self):
        for path in ("os:system", f"{__name__}:Every"):
            with pytest.raises(TypeNotFoundError, match="No installed package declares this class"):
                plugins.get_entry("dataset_sampler", path)
            with pytest.raises(TypeNotFoundError):
                plugins.make("dataset_sampler", path, 3, seed=1)

    def test_a_module_that_is_not_there_is_an_import_error(self):
        with pytest.raises(PluginImportError) as caught:
            plugins.get_class("endpoint", "aiperf_no_such_module:Mine")
        assert str(caught.value).partition("\n")[0] == "Failed to import module for endpoint:Mine"
        assert "aiperf_no_such_module" in str(caught.value).partition("\n")[2]
        assert isinstance(caught.value, ImportError)
        assert isinstance(caught.value, PluginError)
        assert caught.value.exit_code == 2

    def test_a_class_that_is_not_there_is_an_attribute_error(self):
        with pytest.raises(PluginAttributeError) as caught:
            plugins.get_class("endpoint", "aiperf.errors:Mine")
        assert str(caught.value).partition("\n")[0] == "Class 'Mine' not found"
        assert "aiperf.errors" in str(caught.value)
        assert isinstance(caught.value, AttributeError)
        assert isinstance(caught.value, PluginError)


class TestRegister:
    def test_what_is_registered_is_used_until_the_registry_is_reset(self):
        plugins.register("dataset_sampler", "every-one", Every, metadata={"a": 1})
        entry = plugins.get_entry("dataset_sampler", "EVERY_ONE")
        assert plugins.get_class("dataset_sampler", "every_one") is Every
        assert entry.description == "A sampler for tests: each of the rows in turn."
        assert (entry.priority, entry.metadata) == (0, {"a": 1})
        assert (entry, Every) in list(plugins.iter_all("dataset_sampler"))
        assert plugins.find_registered_name("dataset_sampler", Every) == "every-one"
        plugins.reset_registry()
        with pytest.raises(TypeNotFoundError):
            plugins.get_class("dataset_sampler", "every-one")
        assert plugins.find_registered_name("dataset_sampler", Every) is None

    def test_it_takes_the_place_of_a_built_in_that_stays_in_reach(self):
        ours = plugins.get_entry("dataset_sampler", "random")
        plugins.register("dataset_sampler", "random", Every)
        assert plugins.get_class("dataset_sampler", "random") is Every
        assert plugins.shadowed("dataset_sampler", "random") == (ours,)
        assert plugins.get_class("dataset_sampler", ours.class_path).__name__ == "RandomSampler"

    def test_with_a_lower_priority_it_does_not(self):
        ours = plugins.get_class("dataset_sampler", "random")
        plugins.register("dataset_sampler", "random", Every, priority=-1)
        assert plugins.get_class("dataset_sampler", "random") is ours
        assert plugins.shadowed("dataset_sampler", "random")[0].class_path == f"{__name__}:Every"

    def test_a_category_that_is_not_there_is_refused(self):
        with pytest.raises(TypeNotFoundError):
            plugins.register("samplers", "mine", Every)

    @pytest.mark.parametrize("name", ["end_ns", "goodput", "Request-Throughput", "plugin"])
    def test_a_metric_cannot_have_a_name_that_is_taken(self, name):
        with pytest.raises(PluginError, match=f"{name} is "):
            plugins.register("record_processor", name, lambda records: records["end_ns"])


def test_make_calls_the_class():
    sampler = plugins.make("dataset_sampler", "sequential", 3, seed=1)
    assert type(sampler).__name__ == "SequentialSampler"
    assert (sampler.count, sampler.seed) == (3, 1)


def test_metadata_come_as_they_are_and_checked():
    assert plugins.get_metadata("endpoint", "chat")["endpoint_path"] == "/v1/chat/completions"
    assert plugins.get_endpoint_metadata("chat").supports_streaming is True
    assert plugins.get_transport_metadata("wire").url_schemes == ["http", "https"]
    for call in (plugins.get_plot_metadata, plugins.get_service_metadata, plugins.get_gpu_telemetry_collector_metadata):
        with pytest.raises(TypeNotFoundError):
            call("mine")


def test_the_project_is_a_package_of_plugins_itself():
    assert plugins.list_packages()[0] == "aiperf"
    about = plugins.get_package_metadata("aiperf")
    assert about.is_builtin
    assert about.version.startswith("1.")
    assert "unknown" not in (about.description, about.license)
    with pytest.raises(PluginError, match="nobody"):
        plugins.get_package_metadata("nobody")


def test_a_class_that_eight_threads_ask_for_at_once_is_imported_once(installed):
    """And the registry, of which there was none, is made once."""
    counting = "import sys, time\nsys.counted = getattr(sys, 'counted', 0) + 1\ntime.sleep(0.05)\n"
    counting += "from aiperf.dataset.samplers import RandomSampler as Mine\n"
    installed({"slow_one/plugins.yaml": "dataset_sampler: {slow: {class: 'slow_one.slow:Mine'}}", "slow_one/slow.py": counting})
    start, found = threading.Barrier(8), []

    def ask():
        start.wait()
        found.append((plugins.get_class("dataset_sampler", "slow"), plugins.categories()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert [len({id(thing) for thing in things}) for things in zip(*found)] == [1, 1]
    assert sys.counted == 1
    del sys.counted


def test_removing_the_lines_of_a_built_in_removes_it(tmp_path):
    """There is no other table of names."""
    copy = tmp_path / "aiperf"
    shutil.copytree(files("aiperf").joinpath(), copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in DECLARED:
        path = copy / "plugin" / name
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        for category in set(said) - {"schema_version"}:
            said[category].popitem()
        path.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import aiperf; assert aiperf.__file__.startswith(sys.path[0])\n"
    left = run(f"{program}from aiperf.plugin import plugins\nfor e in plugins.iter_entries(): print(f'{{e.category}}:{{e.name}}')")
    last = {}
    for entry in EVERY:
        last[entry.category] = entry.name
    assert set(left) == {f"{entry.category}:{entry.name}" for entry in EVERY} - {f"{category}:{name}" for category, name in last.items()}

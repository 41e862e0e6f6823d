"""Plugins of other packages: found without importing anything, ranked, and refused whole where something is wrong with them."""

import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiperf.errors import ClientError
from aiperf.plugin import plugins
from aiperf.plugin.schema.schemas import decoded, read
from aiperf.plugin.types import PluginError, PluginImportError, TypeNotFoundError

SAMPLER = """
class Mine:
    \"\"\"Every row is the first.\"\"\"

    def __init__(self, count, *, seed):
        self.count = count

    def rows(self, conversations):
        return conversations * 0
"""
MANIFEST = "dataset_sampler:\n  first: {class: 'mine.sampler:Mine', description: The first row.}\n"
GOOD = {"mine/plugins.yaml": MANIFEST, "mine/sampler.py": SAMPLER}
OTHER = {"other/plugins.yaml": "dataset_sampler: {other: {class: 'other.sampler:Mine'}}", "other/sampler.py": SAMPLER}


def samplers():
    return [entry.name for entry in plugins.iter_entries("dataset_sampler")]


def of_one(category="dataset_sampler", name="random", path="mine.sampler:Mine", **more):
    return yaml.safe_dump({category: {name: {"class": path, **more}}})


class TestDiscovery:
    def test_a_package_is_found_used_and_gone_with_its_package(self, installed):
        installed(GOOD, version="0.3.0")
        entry = plugins.get_entry("dataset_sampler", "first")
        assert (entry.package, entry.is_builtin, entry.label) == ("my-plugins", False, "dataset_sampler:first of my-plugins")
        assert plugins.get_class("dataset_sampler", "first").__name__ == "Mine"
        assert plugins.make("dataset_sampler", "first", 3, seed=1).rows(np.array([7])).tolist() == [0]
        assert plugins.list_packages() == ["aiperf", "my-plugins"]
        about = plugins.get_package_metadata("my-plugins")
        assert (about.version, about.description, about.license, about.is_builtin) == ("0.3.0", "What it is for.", "unknown", False)
        assert (plugins.problems(), plugins.notes()) == ((), ())
        assert plugins.validate_all() == plugins.validate_all(check_class=True) == {}
        assert plugins.find_registered_name("dataset_sampler", plugins.get_class("dataset_sampler", "first")) == "first"

    def test_after_it_nothing_is_left(self):
        assert "first" not in samplers()
        assert plugins.list_packages() == ["aiperf"]

    def test_it_imports_nothing_of_the_package(self, installed):
        site = installed({**GOOD, "mine/__init__.py": "raise SystemExit('imported')", "mine/sampler.py": "raise SystemExit('imported')"})
        program = f"""
import sys
sys.path.insert(0, {str(site)!r})
from aiperf.plugin import plugins
names = [entry.name for entry in plugins.iter_entries("dataset_sampler")]
plugins.get_metadata("dataset_sampler", "first"), plugins.get_package_metadata("my-plugins"), plugins.validate_all(), plugins.problems()
plugins.create_enum("dataset_sampler", "Samplers", module="mine")
assert not [name for name in sys.modules if name.split(".")[0] in ("mine", "numpy", "pyarrow")], sorted(sys.modules)
print(*names)
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert (done.stderr, done.stdout.split()) == ("", [*(name for name in samplers() if name != "first"), "first"])

    def test_a_package_may_have_several_manifests(self, installed):
        more = {"mine/more/plugins.yaml": of_one("arrival_pattern", "odd"), "mine/deep/er/all.yaml": of_one(name="deep")}
        points = {"a": "mine:plugins.yaml", "b": "mine.more:plugins.yaml", "c": "mine:deep/er/all.yaml"}
        installed({**GOOD, **more}, entry_points=points)
        assert {"first", "deep"} <= set(samplers())
        assert plugins.get_entry("arrival_pattern", "odd").package == "my-plugins"
        assert plugins.list_packages() == ["aiperf", "my-plugins"]

    def test_folders_without_an_init_may_belong_to_several_packages(self, installed):
        for inner in ("a", "b"):
            text = of_one(name=inner, path=f"outer.{inner}.sampler:Mine")
            points = {inner: f"outer.{inner}:plugins.yaml"}
            site = installed({f"outer/{inner}/plugins.yaml": text, f"outer/{inner}/sampler.py": SAMPLER}, name=inner, entry_points=points)
            (site / "outer" / "__init__.py").unlink()
        plugins.reset_registry()
        assert plugins.problems() == ()
        assert plugins.validate_all() == plugins.validate_all(check_class=True) == {}
        assert {"a", "b"} <= set(samplers())

    def test_what_a_caller_does_to_metadata_stays_with_the_caller(self):
        plugins.get_metadata("endpoint", "chat")["endpoint_path"] = "/elsewhere"
        assert plugins.get_metadata("endpoint", "chat")["endpoint_path"] == "/v1/chat/completions"

    def test_a_manifest_may_say_more(self, installed):
        text = f"schema_version: '1.0'\nplugin: {{name: anything, nested: {{a: 1}}}}\n{MANIFEST}"
        installed({**GOOD, "mine/plugins.yaml": text})
        assert "first" in samplers()
        assert plugins.problems() == ()

    def test_a_package_may_bring_a_category(self, installed):
        text = "categories: {cooling: {enum: CoolingType, description: How it is cooled., protocol: 'aiperf.seams:Sampler'}}\n"
        installed({**GOOD, "mine/plugins.yaml": text + of_one("cooling", "water")})
        assert plugins.categories()["cooling"].enum == "CoolingType"
        assert plugins.get_class("cooling", "water").__name__ == "Mine"

    def test_names_from_outside_are_matched_alike(self, installed):
        installed({**GOOD, "mine/plugins.yaml": of_one(name="My-First")})
        assert plugins.get_entry("dataset_sampler", "my_first").name == "My-First"


class TestConflicts:
    def test_one_from_outside_beats_a_built_in_that_stays_in_reach(self, installed):
        ours = plugins.get_entry("dataset_sampler", "random")
        installed({**GOOD, "mine/plugins.yaml": of_one()})
        assert plugins.get_entry("dataset_sampler", "random").package == "my-plugins"
        assert plugins.shadowed("dataset_sampler", "RANDOM") == (ours,)
        assert plugins.get_entry("dataset_sampler", ours.class_path) == ours
        assert plugins.make("dataset_sampler", ours.class_path, 5, seed=1).count == 5
        assert plugins.notes() == ()

    def test_one_of_a_lower_priority_does_not(self, installed):
        installed({**GOOD, "mine/plugins.yaml": of_one(priority=-1)})
        assert plugins.get_entry("dataset_sampler", "random").is_builtin
        assert [entry.package for entry in plugins.shadowed("dataset_sampler", "random")] == ["my-plugins"]
        assert plugins.get_class("dataset_sampler", "mine.sampler:Mine").__module__ == "mine.sampler"

    def test_the_highest_priority_wins(self, installed):
        installed({**GOOD, "mine/plugins.yaml": of_one(priority=1)})
        installed({**OTHER, "other/plugins.yaml": of_one(path="other.sampler:Mine", priority=2)}, name="z-plugins")
        assert plugins.get_entry("dataset_sampler", "random").package == "z-plugins"
        assert [entry.package for entry in plugins.shadowed("dataset_sampler", "random")] == ["my-plugins", "aiperf"]
        assert plugins.notes() == ()

    def test_of_equals_the_first_wins_and_a_word_is_said(self, installed):
        installed({**OTHER, "other/plugins.yaml": of_one(path="other.sampler:Mine")}, name="z-plugins")
        installed({**GOOD, "mine/plugins.yaml": of_one(name="RANDOM")})
        assert plugins.get_entry("dataset_sampler", "random").package == "my-plugins"
        (note,) = plugins.notes()
        assert all(word in note for word in ("random", "my-plugins", "z-plugins"))
        assert plugins.get_class("dataset_sampler", "other.sampler:Mine").__module__ == "other.sampler"


METRIC = "{class: 'a:b', metadata: {unit: ms, better: lower, population: p, needs: []}}"
REFUSED = {
    "broken YAML": ("dataset_sampler: {first: [}\n", 1, "YAML"),
    "a tab": ("dataset_sampler:\n\tfirst: 1\n", 2, "YAML"),
    "a tag that runs code": ("dataset_sampler: !!python/object/apply:os.system ['true']\n", 1, "python"),
    "a list": ("- first\n", 1, "a manifest says category, name and class"),
    "nothing": ("", 1, "a manifest says category, name and class"),
    "an unknown category": (MANIFEST + "dataset_samplr:\n  a: {class: 'a:B'}\n", 3, "did you mean dataset_sampler"),
    "an internal category": (MANIFEST + "zmq_proxy:\n  a: {class: 'a:B'}\n", 3, "not open: nothing; generators"),
    "a newer schema": (f"schema_version: '2.0'\n{MANIFEST}", 1, "newer"),
    "a schema that is none": (f"{MANIFEST}schema_version: new\n", 3, "schema_version"),
    "no class": ("dataset_sampler:\n  first:\n    description: The first.\n", 2, "class: is missing"),
    "a class that is no path": ("dataset_sampler:\n  first:\n    class: mine.sampler\n", 3, "class"),
    "a key that nobody knows": ("dataset_sampler:\n  first:\n    class: 'a:B'\n    prioriti: 3\n", 4, "did you mean priority"),
    "a priority that is no number": ("dataset_sampler:\n  first:\n    class: 'a:B'\n    priority: high\n", 4, "priority"),
    "a name twice": ("dataset_sampler:\n  first: {class: 'a:B'}\n  first: {class: 'a:B'}\n", 3, "a second time"),
    "a name twice in other letters": ("dataset_sampler:\n  a-b: {class: 'a:B'}\n  A_b: {class: 'a:B'}\n", 3, "same name"),
    "metadata without what is needed": ("endpoint:\n  e:\n    class: 'a:B'\n    metadata: {supports_streaming: true}\n", 4, "missing"),
    "metadata of another kind": ("arrival_pattern:\n  a:\n    class: 'a:B'\n    metadata: 3\n", 4, "metadata"),
    "a column of the records": (f"record_processor:\n  end_ns: {METRIC}\n", 2, "end_ns"),
    "a metric of a run": (f"record_processor:\n  goodput: {METRIC}\n", 2, "goodput"),
    "a category that is another one": ("categories:\n  endpoint: {enum: Mine, description: Mine.}\n", 2, "endpoint"),
    "bytes that are no text": (MANIFEST.encode() + b"# \xff\xfe\n", 3, "UTF-8"),
}


class TestRefused:
    @pytest.mark.parametrize("kind", REFUSED)
    def test_a_package_is_refused_whole_with_file_line_and_reason_and_the_rest_works(self, installed, kind):
        text, line, reason = REFUSED[kind]
        installed(OTHER, name="other-plugins")
        more = {"mine/good.yaml": of_one(name="good")}
        points = {"a": "mine:good.yaml", "b": "mine:plugins.yaml"}
        installed({**GOOD, **more, "mine/plugins.yaml": text}, entry_points=points)
        (problem,) = plugins.problems()
        assert re.match(rf"the plugins of my-plugins are not used: mine/plugins\.yaml:{line}:\d+: ", problem), problem
        assert reason in problem
        assert "\n" not in problem
        assert {"other", "random"} <= set(samplers())
        assert not {"good", "first"} & set(samplers())
        assert plugins.list_packages() == ["aiperf", "other-plugins"]
        with pytest.raises(TypeNotFoundError, match=re.escape("my-plugins is not used: mine/plugins.yaml:")):
            plugins.get_class("dataset_sampler", "first")
        with pytest.raises(PluginError, match="my-plugins"):
            plugins.get_package_metadata("my-plugins")

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("mine:missing.yaml", "missing.yaml"),
            ("no_such_package_of_ours:plugins.yaml", "no_such_package_of_ours"),
            ("mine", "names no file"),
            ("mine:/etc/passwd", "names no file"),
            ("mine:../plugins.yaml", "names no file"),
            ("mine:.", "mine"),
        ],
    )
    def test_an_entry_point_without_a_file_is_refused_and_named(self, installed, value, reason):
        installed(OTHER, name="other-plugins")
        installed(GOOD, entry_points={"mine": value, "too": "mine:plugins.yaml"})
        (problem,) = plugins.problems()
        assert problem.startswith("the plugins of my-plugins are not used: ")
        assert reason in problem
        assert "other" in samplers()
        assert "first" not in samplers()

    def test_metadata_that_cannot_be_read_cost_their_own_package_alone(self, installed):
        installed(OTHER, name="other-plugins")
        site = installed(GOOD)
        (site / "my_plugins-0.1.0.dist-info" / "METADATA").write_bytes(b"Name: \xff")
        plugins.reset_registry()
        (problem,) = plugins.problems()
        assert re.match(r"the plugins of my_plugins are not used: its metadata: .*0xff", problem), problem
        assert "other" in samplers()

    @pytest.mark.parametrize("name", ["aiperf", "AIPerf"])
    def test_nobody_else_is_aiperf(self, installed, name):
        installed(GOOD, name=name)
        (problem,) = plugins.problems()
        assert problem == f"the plugins of {name} are not used: mine/plugins.yaml: the name of its package is that of aiperf itself"
        assert "first" not in samplers()

    def test_two_packages_with_different_categories_of_one_name(self, installed):
        def text(description):
            return f"categories: {{cooling: {{enum: CoolingType, description: {description}}}}}\n"

        installed({**GOOD, "mine/plugins.yaml": text("By air.") + MANIFEST}, name="a-plugins")
        installed({**OTHER, "other/plugins.yaml": text("By water.") + OTHER["other/plugins.yaml"]}, name="b-plugins")
        (problem,) = plugins.problems()
        assert re.match(r"the plugins of b-plugins are not used: other/plugins\.yaml:1:\d+: .*cooling", problem), problem
        assert plugins.categories()["cooling"].description == "By air."
        assert "first" in samplers()
        assert "other" not in samplers()

    def test_two_packages_with_the_same_category(self, installed):
        text = "categories: {cooling: {enum: CoolingType, description: By air.}}\n"
        installed({**GOOD, "mine/plugins.yaml": text + MANIFEST}, name="a-plugins")
        installed({**OTHER, "other/plugins.yaml": text + OTHER["other/plugins.yaml"]}, name="b-plugins")
        assert plugins.problems() == ()
        assert {"first", "other"} <= set(samplers())

    def test_a_category_may_share_its_names_with_one_that_is_not_there(self, installed):
        text = "categories: {cooling: {enum: CoolingType, description: By air., shares: nothing}}\ncooling: {X: {class: 'X.y:Z'}}\n"
        installed({"mine/plugins.yaml": text.replace("X", "mine")}, name="a-plugins")
        installed({"other/plugins.yaml": text.replace("X", "other")}, name="b-plugins")
        assert [entry.name for entry in plugins.iter_entries("cooling")] == ["mine", "other"]


class TestStrangersCode:
    """What a plugin does when it is used becomes one error that names it."""

    def test_a_module_that_is_not_there_or_raises(self, installed):
        text = "dataset_sampler: {gone: {class: 'mine.gone:Mine'}, wild: {class: 'mine.wild:Mine'}, quits: {class: 'mine.quits:Mine'}}"
        installed({"mine/plugins.yaml": text, "mine/wild.py": "\n1 / 0\nclass Mine: ...", "mine/quits.py": "raise SystemExit(3)\nMine = 1"})
        for name, said in (
            ("gone", "mine.gone"),
            ("wild", "ZeroDivisionError: division by zero (mine/wild.py:2)"),
            ("quits", "SystemExit"),
        ):
            with pytest.raises(PluginImportError) as caught:
                plugins.get_class("dataset_sampler", name)
            first, _, rest = str(caught.value).partition("\n")
            assert first == f"Failed to import module for dataset_sampler:{name}"
            assert said in rest
            assert "my-plugins" in rest
        assert {name for name, _ in plugins.validate_all(check_class=True)["dataset_sampler"]} == {"gone", "wild", "quits"}
        assert [name for name, _ in plugins.validate_all()["dataset_sampler"]] == ["gone", "quits"]  # its class stands behind a raise

    def test_a_class_that_does_not_fit_is_refused(self, installed):
        installed({**GOOD, "mine/sampler.py": "class Mine:\n    def row(self, number): ...\n"})
        with pytest.raises(PluginError, match=r"dataset_sampler:first of my-plugins: mine\.sampler:Mine has no rows"):
            plugins.make("dataset_sampler", "first", 3, seed=1)
        assert plugins.validate_all() == {}
        assert [name for name, _ in plugins.validate_all(check_class=True)["dataset_sampler"]] == ["first"]

    def test_a_class_that_is_not_there_is_seen_without_importing_it(self, installed):
        installed({**GOOD, "mine/sampler.py": "class Other: ...\n"})
        ((name, why),) = plugins.validate_all()["dataset_sampler"]
        assert (name, "Mine" in why) == ("first", True)
        assert "mine.sampler" not in sys.modules

    def test_whatever_its_methods_raise_names_it(self, installed):
        installed(
            {**GOOD, "mine/sampler.py": SAMPLER.replace("return conversations * 0", "return conversations * (6 // len(conversations[1:]))")}
        )
        sampler = plugins.make("dataset_sampler", "first", 3, seed=1)
        assert sampler.rows(np.arange(4)).tolist() == [0, 2, 4, 6]
        with pytest.raises(PluginError, match=r"^dataset_sampler:first of my-plugins: ZeroDivisionError: .* \(mine/sampler\.py:\d+\)$"):
            sampler.rows(np.arange(1))

    def test_what_is_expected_to_go_wrong_stays_as_it_is(self, installed):
        raising = SAMPLER.replace("return conversations * 0", "from aiperf.errors import ClientError; raise ClientError('as said')")
        installed({**GOOD, "mine/sampler.py": raising})
        with pytest.raises(ClientError, match=r"^as said$"):
            plugins.make("dataset_sampler", "first", 3, seed=1).rows(3)

    def test_an_import_that_takes_long_is_told(self, installed):
        installed({**GOOD, "mine/sampler.py": f"import time\ntime.sleep(1.1)\n{SAMPLER}"})
        plugins.get_class("dataset_sampler", "first")
        (note,) = plugins.notes()
        assert "dataset_sampler:first of my-plugins" in note
        assert " s to import" in note


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
TEXTS, WORDS = LEAVES.map(str), st.text("abcdefgh_", min_size=1, max_size=8)
SPEC = {"class": "a:B", "description": "It is.", "priority": 3, "metadata": {"a": 1}}
KNOWN = plugins.categories()
INTERNAL = sorted(category.name for category in KNOWN.values() if category.internal)
NO_NAMES = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "-", "a b", "a/b", "é"])
NO_CATEGORIES = [{}, {"enum": "Mine"}, {"enum": "mine", "description": ""}, {"enum": "UIType", "description": ""}]


def within(values):
    return values.map(lambda value: {"dataset_sampler": value})


def changed(key, values):
    return within(values.map(lambda value: {"x": SPEC | {key: value}}))


BAD = st.one_of(
    LEAVES,
    within(LEAVES),
    within(LEAVES.map(lambda value: {"x": value})),
    within(st.sampled_from(sorted(SPEC)).map(lambda key: {"x": {k: v for k, v in SPEC.items() if k not in ("class", key)}})),
    within(NO_NAMES.map(lambda name: {name: SPEC})),
    changed("class", LEAVES | st.dictionaries(WORDS, LEAVES)),
    changed("priority", st.none() | TEXTS | st.lists(LEAVES) | st.floats()),
    changed("description", st.none() | st.integers() | st.lists(LEAVES)),
    changed("metadata", st.integers() | TEXTS | st.lists(LEAVES)),
    WORDS.filter(lambda word: word not in SPEC).flatmap(lambda word: changed(word, LEAVES)),
    WORDS.filter(lambda word: word not in KNOWN).map(lambda word: {word: {"x": SPEC}}),
    st.sampled_from(INTERNAL).map(lambda name: {name: {"x": SPEC}}),
    st.sampled_from(KNOWN["record_processor"].reserved).map(lambda name: {"record_processor": {name: {"class": "a:b"}}}),
    (st.integers(2) | st.booleans() | st.sampled_from(["1.1", "2.0", "x"])).map(lambda version: {"schema_version": version}),
    LEAVES.filter(lambda value: value is not None).map(lambda value: {"categories": value}),
    (LEAVES | st.sampled_from(NO_CATEGORIES)).map(lambda value: {"categories": {"mine": value}}),
)
WHOLE = MANIFEST.encode()


class TestDamaged:
    """Whatever is wrong with a manifest, its package is refused with file, line and reason, and nothing else is lost."""

    @pytest.fixture
    def beside(self, installed):
        installed(OTHER, name="other-plugins")
        return installed

    def is_refused(self, installed, content):
        installed({"mine/plugins.yaml": content})
        for problem in plugins.problems():
            assert re.match(r"the plugins of my-plugins are not used: mine/plugins\.yaml:\d+:\d+: \S", problem), problem
            assert "\n" not in problem
        assert {"other", "random", "sequential", "shuffle"} <= set(samplers())
        assert plugins.get_class("dataset_sampler", "other").__name__ == "Mine"
        assert plugins.list_packages() == ["aiperf", *([] if plugins.problems() else ["my-plugins"]), "other-plugins"]
        return len(plugins.problems()) == 1

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(said=BAD, right=st.booleans())
    def test_structure(self, beside, said, right):
        whole = {**yaml.safe_load(MANIFEST), **said} if right and isinstance(said, dict) else said
        assert self.is_refused(beside, yaml.safe_dump(whole, allow_unicode=True))

    @settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(start=st.integers(0, len(WHOLE)), length=st.integers(0, 9), put=st.binary(max_size=6))
    def test_bytes(self, beside, start, length, put):
        content = WHOLE[:start] + put + WHOLE[start + length :]
        if not self.is_refused(beside, content):
            assert set(read(decoded(content))) <= {*plugins.categories(), "schema_version", "plugin", "categories"}

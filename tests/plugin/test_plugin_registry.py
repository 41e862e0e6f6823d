"""The registry: what has a name, and what happens to a name that nobody has."""

import subprocess
import sys
from collections import Counter
from importlib import import_module
from importlib.resources import files

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aiperf.errors import ConfigError
from aiperf.plugin import plugins
from aiperf.plugin.types import PluginAttributeError, PluginEntry, PluginImportError, TypeNotFoundError

EVERY = [entry for category in plugins.categories() for entry in plugins.iter_entries(category)]


def declared(name):
    return yaml.safe_load(files("aiperf.plugin").joinpath(name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("entry", EVERY, ids=lambda entry: f"{entry.category}:{entry.name}")
class TestEveryPlugin:
    """What every built-in must keep; one that is declared is here by that alone."""

    def test_is_there(self, entry):
        assert callable(plugins.get_class(entry.category, entry.name))

    def test_is_imported_once(self, entry):
        assert plugins.get_class(entry.category, entry.name) is plugins.get_class(entry.category, entry.name)

    def test_says_what_it_is(self, entry):
        assert entry.description.endswith(".")
        assert entry.name == plugins.folded(entry.name)

    def test_belongs_to_a_category(self, entry):
        assert entry.category in plugins.categories()


@pytest.mark.parametrize("category", plugins.categories().values(), ids=lambda category: category.name)
class TestEveryCategory:
    def test_its_protocol_is_there(self, category):
        module, _, name = category.protocol.partition(":")
        assert hasattr(import_module(module), name)

    def test_it_has_plugins(self, category):
        assert list(plugins.iter_entries(category.name))


def test_no_two_plugins_of_a_category_have_the_same_name():
    said = {**declared("plugins.yaml"), "metric": declared("metrics.yaml")}
    names = Counter((category, plugins.folded(name)) for category, entries in said.items() for name in entries)
    assert [name for name, times in names.items() if times > 1] == []
    assert len(EVERY) == sum(names.values())


def test_every_metric_says_how_it_is_to_be_read():
    for entry in plugins.iter_entries("metric"):
        assert entry.metadata["kind"] in ("record", "run"), entry.name
        assert entry.metadata["better"] in ("lower", "higher", "neither"), entry.name
        assert entry.metadata["unit"], entry.name
        assert entry.metadata["population"], entry.name
        assert set(entry.metadata["needs"]) <= {"streaming", "slos"}, entry.name


def test_reading_what_is_declared_imports_none_of_it():
    program = """
import sys
from aiperf.plugin import plugins
for category in plugins.categories():
    for entry in plugins.iter_entries(category):
        plugins.get_metadata(category, entry.name)
print(*sorted({name.split(".")[1] for name in sys.modules if name.startswith("aiperf.")}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"plugin", "errors"}


@given(st.sampled_from(EVERY), st.randoms())
def test_case_and_dashes_do_not_matter(entry, chance):
    typed = "".join(chance.choice((letter.upper(), letter.replace("_", "-"))) for letter in entry.name)
    assert plugins.get_entry(entry.category, f" {typed} ") is entry


def test_an_unknown_name_is_answered_with_the_nearest_and_all():
    with pytest.raises(TypeNotFoundError) as caught:
        plugins.get_entry("arrival_pattern", "poison")
    message = str(caught.value)
    assert message.startswith("Type 'poison' not found for category 'arrival_pattern'.")
    assert "Did you mean 'poisson'?" in message
    assert message.endswith("Known: constant, poisson")


def test_a_name_like_no_other_is_answered_without_a_guess():
    with pytest.raises(TypeNotFoundError, match="Known: constant, poisson") as caught:
        plugins.get_entry("arrival_pattern", "xxxxxxx")
    assert "Did you mean" not in str(caught.value)


@pytest.mark.parametrize("call", [plugins.get_entry, plugins.get_class, plugins.get_metadata])
def test_an_unknown_category_is_answered_with_all(call):
    with pytest.raises(TypeNotFoundError, match="unknown category 'endpoints'; known: arrival_pattern, cluster"):
        call("endpoints", "chat")


def test_a_module_that_is_not_there_names_the_plugin():
    entry = PluginEntry("endpoint", "mine", "aiperf_no_such_module:Mine", "")
    with pytest.raises(PluginImportError, match="Failed to import module for endpoint:mine") as caught:
        plugins.load(entry)
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, ConfigError)
    assert caught.value.exit_code == 2


def test_a_class_that_is_not_there_names_the_plugin():
    entry = PluginEntry("endpoint", "mine", "aiperf.errors:Mine", "")
    with pytest.raises(PluginAttributeError, match=r"Class 'Mine' not found in aiperf\.errors for endpoint:mine") as caught:
        plugins.load(entry)
    assert isinstance(caught.value, AttributeError)
    assert isinstance(caught.value, ConfigError)

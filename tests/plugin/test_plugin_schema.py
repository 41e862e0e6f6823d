"""What a manifest may say, where it is wrong, and the files that editors read."""

import json
import subprocess
import sys
import time
from importlib.resources import files
from typing import get_args

import jsonschema
import pytest
import yaml
from generate import generated
from hypothesis import given
from hypothesis import strategies as st

from aiperf import seams
from aiperf.plugin.registry import BUILTIN_MANIFESTS, Registry
from aiperf.plugin.schema import schemas
from aiperf.plugin.schema.schemas import ManifestError, PluginsManifest, composed, decoded, located, mistakes, read
from aiperf.plugin.types import Category

REGISTRY = Registry(BUILTIN_MANIFESTS, ())
CATEGORIES = REGISTRY.categories
ENDPOINT = "{endpoint_path: /v1/echo, supports_streaming: true, produces_tokens: true, tokenizes_input: true}"
GOOD = f"""\
schema_version: "1.0"
plugin: {{name: my-plugins, team: ours}}
endpoint:
  echo:
    class: my_plugins.echo:EchoEndpoint
    description: Says what it was told.
    priority: 3
    metadata: {ENDPOINT}
data_exporter:
  2d-out.v1: {{class: "my_plugins:export"}}
"""


def ours(name):
    return files("aiperf.plugin").joinpath(name).read_text(encoding="utf-8")


def wrong(text):
    return mistakes(text, read(text), CATEGORIES, REGISTRY.closed)


def position(text, path):
    return located(composed(text), path)


def refused(text):
    with pytest.raises(ManifestError) as caught:
        read(text)
    return caught.value.line, caught.value.column, caught.value.what


names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", categories=["L", "N", "P"])),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(names, below, max_size=3),
    max_leaves=12,
)


class TestReading:
    @given(plain)
    def test_plain_values_are_what_the_safe_loader_makes_of_them(self, value):
        text = yaml.safe_dump(value, allow_unicode=True)
        assert read(text) == yaml.safe_load(text) == value

    def test_anchors_and_merges(self):
        text = "a: &a {x: 1, y: [2]}\nb: {<<: *a, x: 3}\nc: *a\n"
        found = read(text)
        assert found == yaml.safe_load(text)
        assert found["c"] is not found["a"]

    def test_a_date_is_a_text(self):
        assert read("a: 2024-01-01") == {"a": "2024-01-01"}

    @pytest.mark.parametrize(
        ("text", "line", "column", "said"),
        [
            ("a: 1\nb: 2\na: 3\n", 3, 1, "'a' is here a second time"),
            ("a:\n  b: {c: 1, c: 2}\n", 2, 13, "'c' is here a second time"),
            ("a: [1, 2\nb: 3\n", 2, 2, "YAML: "),
            ("a: 1\n  b: 2\n", 2, 4, "YAML: mapping values are not allowed"),
            ("a: 1\n---\nb: 2\n", 2, 1, "YAML: but found another document"),
            ("a: *b\n", 1, 4, "YAML: found undefined alias"),
            ("a: &a [*a]\n", 1, 4, "nested deeper than 32 levels"),
            ("a: 1\nb: x\x00y\n", 2, 5, "YAML: "),
            ("a: \ud800\n", 1, 1, "YAML: "),
            ("1: a\n", 1, 1, "the key is no text: put it into quotes"),
            ("a:\n  on: b\n", 2, 3, "the key is no text"),
            ("? [a, b]\n: c\n", 1, 3, "the key is no text"),
            ("a: !!python/object/apply:os.system [exit]\n", 1, 4, "python/object/apply:os.system that a manifest can hold"),
            ("a: !!python/name:os.system ''\n", 1, 4, "python/name:os.system"),
            ("a: !!set {b}\n", 1, 4, "set that a manifest can hold"),
            ("a: !!seq {b: 1}\n", 1, 4, "seq that a manifest can hold"),
            ("a: !!int one\n", 1, 4, "this is no int that"),
            (f"a: 1{'0' * 5000}\n", 1, 4, "is no int"),
        ],
    )
    def test_what_cannot_be_read_is_placed(self, text, line, column, said):
        found = refused(text)
        assert found[:2] == (line, column)
        assert said in found[2]

    @pytest.mark.parametrize("opener", ["[", "{a: ", "- ", "{? ", "[{"])
    @pytest.mark.parametrize("levels", [33, 900, 200_000])
    def test_no_depth_takes_the_process_along(self, opener, levels):
        assert refused(opener * levels)[2].startswith(("nested deeper", "more than", "YAML: "))
        closed = "".join({"[": "]", "{": "}"}.get(letter, "") for letter in opener[::-1])
        assert refused(f"{opener * levels}x{closed * levels}")[2].startswith(("nested deeper", "more than", "the key is"))

    def test_depth_by_lines(self):
        assert "nested deeper" in refused("".join(f"{' ' * level}a:\n" for level in range(1200)))[2]

    def test_aliases_count_as_what_they_stand_for(self):
        levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10) if n else '1'}]\n" for n in range(12))
        assert "more than 100,000 values" in refused(levels)[2]

    def test_bytes(self):
        assert decoded("\ufeffé: ü".encode()) == "é: ü"
        with pytest.raises(ManifestError, match=r"^2:4: the byte 0xff is no UTF-8"):
            decoded(b"a: b\nc: \xff")
        with pytest.raises(ManifestError, match="1,000,001 bytes"):
            decoded(b" " * 1_000_001)

    @given(st.binary(max_size=60) | st.text(st.sampled_from("ab:-?[]{}&*!|>'\"#%@, \n\t1"), max_size=60).map(str.encode))
    def test_any_bytes_are_read_or_refused(self, content):
        places = []
        try:
            places = [(mistake.line, mistake.column) for mistake in wrong(decoded(content))]
        except ManifestError as exc:
            places = [(exc.line, exc.column)]
        assert all(1 <= line <= content.count(b"\n") + 2 and 1 <= column <= len(content) + 1 for line, column in places)


class TestPlaces:
    @given(st.dictionaries(names, st.dictionaries(names, st.lists(names, max_size=3), max_size=4), min_size=1, max_size=4), st.data())
    def test_a_key_is_where_it_stands(self, value, data):
        outer = data.draw(st.sampled_from(sorted(value)))
        path = [outer, *([data.draw(st.sampled_from(sorted(value[outer])))] if value[outer] else [])]
        text = yaml.safe_dump(value)
        line, column = position(text, path)
        assert text.splitlines()[line - 1][column - 1 :].lstrip("'").startswith(path[-1])

    def test_items_and_what_is_missing(self):
        assert position("a:\n  - b\n  - c: 1\n", ["a", 1, "c"]) == (3, 5)
        assert position("a:\n  - b\n", ["a", 0]) == (2, 5)
        assert position("a: {b: 1}\n", ["a", "nope", "deeper"]) == (1, 1)
        assert position("", ["a"]) == (1, 1)


def told(old, new, text=GOOD):
    assert old in text
    return wrong(text.replace(old, new))


class TestMistakes:
    def test_a_good_one_has_none(self):
        assert wrong(GOOD) == []
        assert wrong("schema_version: 1.0\n") == []
        assert wrong("endpoint: {}\n") == []

    @pytest.mark.parametrize("name", BUILTIN_MANIFESTS)
    def test_ours_have_none(self, name):
        assert wrong(ours(name)) == []

    @pytest.mark.parametrize(
        ("old", "new", "line", "column", "said"),
        [
            (GOOD, "- a\n", 1, 1, "a manifest says category, name and class, this one is ['a']"),
            (GOOD, "", 1, 1, "this one is None"),
            ('"1.0"', '"1.1"', 1, 1, "schema_version '1.1' is newer than 1.0: update aiperf"),
            ('"1.0"', '"10.0"', 1, 1, "newer than 1.0"),
            ('"1.0"', '"0.9"', 1, 1, "schema_version '0.9' is not known; 1.0 is"),
            ('"1.0"', "[1]", 1, 1, "not known; 1.0 is"),
            ("endpoint:", "endpiont:", 3, 1, "there is no category 'endpiont', did you mean endpoint?; known: accuracy_benchmark,"),
            ("endpoint:", "service:", 3, 1, "the category service is not open: a run is made of generators and processors"),
            ("class: my_plugins.echo", "klass: my_plugins.echo", 4, 3, "endpoint.echo.class: is missing; expected module.path:Name"),
            ("class: my_plugins.echo", "clas: my_plugins.echo", 4, 3, "endpoint.echo.clas: is not known, did you mean class?"),
            ("echo:EchoEndpoint", "echo.EchoEndpoint", 5, 5, "'my_plugins.echo.EchoEndpoint' is not of the form module.path:Name"),
            ("my_plugins.echo:EchoEndpoint", "os:system; rm", 5, 5, "not of the form module.path:Name"),
            ("my_plugins.echo:EchoEndpoint", ".echo:Echo", 5, 5, "not of the form module.path:Name"),
            ("description: Says what it was told.", "description: [a]", 6, 5, "valid string, it is ['a']"),
            ("priority: 3", "priority: high", 7, 5, "valid integer, it is 'high'"),
            ("priority: 3", "priority: yes", 7, 5, "valid integer, it is True"),
            (ENDPOINT, "[a]", 8, 5, "valid dictionary, it is ['a']"),
            ("produces_tokens: true, ", "", 8, 5, "endpoint.echo.metadata.produces_tokens: is missing"),
            ("produces_tokens: true", "produces_tokens: 'no'", 8, 67, "valid boolean, it is 'no'"),
            ("tokenizes_input: true", "tokenizes_input: true, takes: [text]", 8, 121, "endpoint.echo.metadata.takes.0: "),
            ("  echo:\n", "  ' e':\n", 4, 3, "is not of the form letters, digits, - _ and ., with"),
            ("  echo:\n", "  '':\n", 4, 3, "is not of the form letters, digits, - _ and ., with"),
            ("  echo:\n", '  "a\\n\\e":\n', 4, 3, r"endpoint.a\n\x1b: "),
            ("  echo:\n", "  a/b:\n", 4, 3, "is not of the form letters, digits, - _ and ., with"),
            ("2d-out.v1: {", "a-b: {class: 'm:n'}\n  A_b: {", 11, 3, "data_exporter.A_b: a-b is the same name"),
            ('2d-out.v1: {class: "my_plugins:export"}', "x", 9, 1, "data_exporter: input should be a valid dictionary, it is 'x'"),
        ],
    )
    def test_are_placed_and_say_what_was_expected(self, old, new, line, column, said):
        found = told(old, new)
        assert (found[0].line, found[0].column) == (line, column)
        assert any(said in mistake.what for mistake in found), found

    def test_metrics(self):
        good = (
            "record_processor:\n  mine: {class: 'm:f', metadata: {unit: ms, better: lower, population: all, needs: [slos], list: true}}\n"
        )
        assert wrong(good) == []
        assert "is a column of the records already" in told("mine", "Sent-NS", good)[0].what
        twice = good + good.replace("record_processor", "results_processor").replace("mine", "Mine")
        assert [mistake.line for mistake in wrong(twice)] == [2, 4]
        assert "literal" not in told("lower", "down", good)[0].what
        assert "is not known" in told("unit", "unti: 1, unit", good)[0].what

    def test_categories_that_a_package_brings(self):
        kind = "{enum: SpiceType, description: Hot., metadata_class: 'stranger.models:Spice'}"
        good = f"categories:\n  spice: {kind}\nspice:\n  chili: {{class: 'm:C'}}\n"
        assert wrong(good) == []
        assert "stranger" not in sys.modules
        assert "EndpointType is taken" in told("SpiceType", "EndpointType", good)[0].what
        assert "the name plugin is taken" in told("spice:", "plugin:", good)[0].what
        assert "categories.spice.enum: is missing" in told("enum: SpiceType, ", "", good)[0].what
        assert "there is no model" in told("stranger.models:Spice", "aiperf.plugin.schema.schemas:re", good)[0].what
        assert "categories.spice: " in told("stranger.models:Spice", "aiperf.plugin.schema.schemas:Nope", good)[0].what

    def test_all_at_once_by_their_lines(self):
        found = told("priority: 3", "priority: x\n    more: 1", told_text := GOOD.replace("2d-out.v1", "-"))
        assert [mistake.line for mistake in found] == sorted(mistake.line for mistake in found)
        assert len(found) == 3
        assert told_text != GOOD

    @given(st.dictionaries(st.sampled_from([*CATEGORIES, "schema_version", "plugin", "categories", "nope"]) | names, plain, max_size=5))
    def test_any_shape_is_judged(self, value):
        text = yaml.safe_dump(value)
        found = wrong(text)
        assert found or {*value} <= {*CATEGORIES, "schema_version", "plugin", "categories"}
        assert all(1 <= mistake.line <= text.count("\n") + 1 and "\n" not in mistake.what for mistake in found)

    def test_what_is_said_to_be_taken_is_what_turns_may_hold(self):
        [takes, _] = get_args(schemas.EndpointMetadata.model_fields["takes"].annotation)
        assert get_args(get_args(takes)[0]) == seams.SAYS

    def test_a_good_manifest_is_checked_in_a_part_of_what_parsing_takes(self):
        plugins = "".join(f"  e{n}:\n    class: pkg.mod:E{n}\n    description: One.\n    metadata: {ENDPOINT}\n" for n in range(20))
        texts = [f"endpoint:\n{plugins}"] * 20
        loaded = [read(text) for text in texts]

        def span(work):
            began = time.thread_time()
            work()
            return time.thread_time() - began

        parsed, checked = [], []
        while len(checked) < 5 or (len(checked) < 50 and min(checked) >= 0.3 * min(parsed)):  # one of each in turn, and the least of each
            parsed.append(span(lambda: [yaml.load(text, Loader=yaml.CSafeLoader) for text in texts]))
            checked.append(span(lambda: [mistakes(text, one, CATEGORIES, REGISTRY.closed) for text, one in zip(texts, loaded)]))
        assert min(checked) < 0.3 * min(parsed)


class TestGenerated:
    @pytest.mark.parametrize(("path", "text"), generated().items(), ids=lambda value: getattr(value, "name", ""))
    def test_is_current(self, path, text):
        assert path.read_text(encoding="utf-8") == text, "run python tests/plugin/generate.py"

    @pytest.mark.parametrize(("name", "schema"), [("categories", "categories"), ("plugins", "plugins"), ("metrics", "plugins")])
    def test_our_files_are_of_their_schema(self, name, schema):
        text = ours(f"{name}.yaml")
        place = f"schema/{schema}.schema.json"
        assert text.startswith(f"# yaml-language-server: $schema={place}\n")
        form = json.loads(ours(place))
        jsonschema.Draft202012Validator.check_schema(form)
        jsonschema.validate(yaml.safe_load(text), form)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("class:", "klass:"),
            ("echo:EchoEndpoint", "echo.EchoEndpoint"),
            ("priority: 3", "priority: high"),
            ("produces_tokens: true, ", ""),
            ("  echo:\n", "  a/b:\n"),
            ("endpoint:", "service:"),
        ],
    )
    def test_an_editor_sees_what_we_refuse(self, old, new):
        form = json.loads(ours("schema/plugins.schema.json"))
        jsonschema.validate(yaml.safe_load(GOOD), form)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(yaml.safe_load(GOOD.replace(old, new)), form)

    def test_every_key_is_described(self):
        form = json.loads(ours("schema/plugins.schema.json"))
        bare = [
            (name, key) for name, model in form["$defs"].items() for key, said in model["properties"].items() if "description" not in said
        ]
        assert bare == []
        assert {*CATEGORIES} <= {*form["properties"]}

    def test_the_form_of_categories_is_that_of_the_registry(self):
        fields = {*schemas.CategorySpec.model_fields}
        assert fields == {*Category.__dataclass_fields__} - {"name"}


def test_the_models_are_made_when_they_are_used():
    code = "from aiperf.plugin.schema import schemas as s; print(s.EndpointMetadata.__pydantic_complete__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_manifest_as_a_model():
    found = PluginsManifest.model_validate(read(GOOD))
    assert found.endpoint["echo"].class_ == "my_plugins.echo:EchoEndpoint"
    assert found.endpoint["echo"].priority == 3


def test_older_endpoints_have_no_title_and_may_say_more():
    found = schemas.EndpointMetadata.model_validate({**yaml.safe_load(ENDPOINT), "their_own": 1})
    assert found.metrics_title is None
    assert found.service_kind == "openai"
    assert found.their_own == 1

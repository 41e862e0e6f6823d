"""summary.schema.json against the code: it names what is written, requires all of it, and lets the layout grow."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from stored import SUMMARY

from aiperf.finite import scrub_non_finite
from aiperf.results import Timeline, Verdict
from aiperf.store.summary import SCHEMA_VERSION, as_dict

SCHEMA: dict[str, Any] = json.loads(files("aiperf.store").joinpath("summary.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FULL = replace(SUMMARY, samples={"http_5xx": "x"}, facts={"a": None}, timeline=Timeline(0.1, (1, 2), {"http_5xx": (0, 1)}))


def written(summary=FULL) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(scrub_non_finite(as_dict(summary, name="trial"))))
    return found


def objects(value: Any, schema: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any], Mapping[str, Any]]]:
    """Every object with fixed keys in a document, with its part of the schema."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("anyOf", ()):
        yield from objects(value, choice, at)
    if isinstance(value, list):
        for item in value:
            yield from objects(item, schema.get("items", {}), f"{at}[]")
    if isinstance(value, dict) and schema.get("type") == "object":
        if "properties" in schema:
            yield at, value, schema
        for key, inner in value.items():
            yield from objects(inner, schema.get("properties", {}).get(key) or schema.get("additionalProperties", {}), f"{at}.{key}")


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert "additionalProperties" not in SCHEMA


@pytest.mark.parametrize(
    "summary",
    [
        FULL,
        replace(FULL, verdict=Verdict(), timeline=None, slos=()),
        replace(FULL, metrics=(replace(FULL.metrics[0], stats={"avg": float("nan")}, n=0),), whole=(), errors={}, counts={"planned": 0}),
    ],
    ids=["invalid", "valid", "nothing measured"],
)
def test_what_is_written_fits(summary):
    VALIDATOR.validate(written(summary))


def test_it_names_and_requires_every_key_that_is_written():
    found = list(objects(written(), SCHEMA))
    assert {at for at, _, _ in found} >= {
        "",
        ".verdict",
        ".verdict.reasons[]",
        ".window",
        ".metrics.request_latency",
        ".slos[]",
        ".timeline",
    }
    for at, value, schema in found:
        assert set(value) == set(schema["properties"]) == set(schema["required"]), at


def test_without_any_key_that_is_required_it_does_not_fit():
    for at, value, _ in objects(written(), SCHEMA):
        for key in value:
            lacking = json.loads(json.dumps(written()))
            inner = next(found for place, found, _ in objects(lacking, SCHEMA) if place == at)
            del inner[key]
            assert not VALIDATOR.is_valid(lacking), f"{at}.{key}"


def test_it_lets_the_layout_grow():
    grown = written()
    for _, value, _ in objects(copy.deepcopy(grown), SCHEMA):
        value["later"] = {"x": 1}
    grown["later"] = grown["verdict"]["later"] = grown["metrics"]["request_latency"]["later"] = [1]
    VALIDATOR.validate(grown)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), "2.0"), (("verdict", "word"), "MAYBE"), (("metrics", "request_latency", "n"), -1), (("gate_met",), None),
        (("metrics", "request_latency", "stats", "p50"), "fast"), (("counts", "good"), 1.5), (("timeline", "bin_s"), 0), (("slos",), {}),
    ],
)  # fmt: skip
def test_other_values_do_not_fit(path, value):
    broken = written()
    inner = broken
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    assert not VALIDATOR.is_valid(broken)


def test_its_version_is_the_code_s():
    assert jsonschema.Draft202012Validator(SCHEMA["properties"]["schema_version"]).is_valid(SCHEMA_VERSION)

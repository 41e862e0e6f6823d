from pathlib import Path

import describe
import yaml

from aiperf.config import roots
from aiperf.config.arguments import load_part
from aiperf.config.endpoint import Endpoint
from aiperf.config.experiment import Experiment
from aiperf.config.keys import fields, lookup, rows, sentences, walk
from aiperf.config.simulator import Simulator
from aiperf.plugin.plugins import of_requests, of_runs


def test_the_pages_are_current(tmp_path: Path):
    """`python tests/config/describe.py` writes them."""
    describe.write(tmp_path)
    for name in ("configuration.md", "metrics.md"):
        assert (roots.packaged() / "docs" / name).read_text() == (tmp_path / name).read_text(), (
            f"docs/{name} is old: run python tests/config/describe.py"
        )


def test_every_key_has_a_sentence():
    for key in walk(Experiment):
        assert sentences(key.owner).get(key.path[-1], "").endswith("."), key.dotted


def test_every_key_and_metric_is_on_its_page():
    page = describe.configuration()
    assert [key.dotted for key in rows(Experiment) if f"`{key.dotted}`" not in page] == []
    assert [entry.name for entry in (*of_requests(), *of_runs()) if f"`{entry.name}`" not in describe.metrics()] == []


def test_units_and_bounds_are_found_through_optional_fields():
    by_path = {key.dotted: key for key in rows(Experiment)}
    assert by_path["timing.stop.duration_s"].unit == "s"
    assert by_path["timing.stop.duration_s"].takes.startswith("a number above 0 and at most 31536000")
    assert by_path["endpoint.simulator.ttft_ms"].default_text == "20"
    assert by_path["endpoint.connection"].takes == "one of pooled, new"


def test_a_key_below_an_open_one_is_the_open_one():
    assert lookup(Experiment, ("endpoint", "headers", "X")) == lookup(Experiment, ("endpoint", "headers"))
    assert lookup(Experiment, ("endpoint", "model", "X")) is None
    assert fields(Endpoint)["simulator"].nested is Simulator


def test_conf_files_hold_what_differs_from_the_models():
    """Beside `type`, a level that is chosen by name, and what has to be given."""
    for group in roots.groups()[1:]:
        nested = fields(Experiment)[group].nested
        for name, file in roots.choices(group, [roots.packaged()]).items():
            said = yaml.safe_load(file.read_text())
            same = [key for key, value in said.items() if fields(nested)[key].default == value and key not in ("type", "level")]
            assert same == [], (group, name)


def test_a_part_is_loaded_with_the_same_care():
    options = load_part(Simulator, ["ttft_ms=5", "itl_ms=1s", "faults.truncated=0.05", "model=7"])
    assert (options.ttft_ms, options.itl_ms, options.faults.truncated, options.model) == (5, 1000, 0.05, "7")


def test_a_part_may_be_left_to_its_defaults():
    assert load_part(Simulator, []) == Simulator()

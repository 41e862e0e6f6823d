"""What the models cannot know: names that must be in the registry, keys that a strategy uses, promises that can be judged."""

from collections.abc import Mapping
from typing import Any

from aiperf.config import slos
from aiperf.config.endpoint import Endpoint
from aiperf.config.experiment import Experiment
from aiperf.config.keys import Path, fields, lookup
from aiperf.config.mistakes import Check, at
from aiperf.config.nearest import unknown
from aiperf.config.timing import Timing
from aiperf.config.tokenizer import Tokenizer
from aiperf.plugin import plugins
from aiperf.plugin.types import TypeNotFoundError

NAMES: Mapping[Path, str] = {
    ("endpoint", "type"): "endpoint",
    ("endpoint", "transport"): "transport",
    ("dataset", "type"): "dataset_composer",
    ("dataset", "format"): "custom_dataset_loader",
    ("dataset", "sampling"): "dataset_sampler",
    ("timing", "type"): "timing_strategy",
    ("timing", "arrival"): "arrival_pattern",
    ("cluster", "type"): "cluster",
    ("ui", "type"): "ui",
}
"""Keys whose value is a plugin's name, and the category that it must be in."""

_USED = ("concurrency", "rate", "arrival", "speedup", "start_s", "end_s", "offset")
_OF_A_TOKENIZER = {"apply_chat_template": "template", "revision": "revision", "trust_remote_code": "code"}
_SLOS = ("goodput", "slos")
_IGNORE = ("verdict", "ignore")


def names(check: Check[Experiment]) -> None:
    """Find names that are not in the registry, keys that nobody would use, and reasons that do not exist."""
    for path, category in NAMES.items():
        _name(check, path, category)
    _unused(check)
    _untaken(check)
    _unsampled(check)
    if ignored := at(check.values, _IGNORE):
        _reasons(check, [ignored] if isinstance(ignored, str) else ignored)


def _reasons(check: Check[Experiment], ignored: Any) -> None:
    from aiperf.results import REASONS  # noqa: PLC0415 - 5 ms of every start, for a key that few use

    for reason in ignored if isinstance(ignored, list) else []:
        if isinstance(reason, str) and reason not in REASONS:
            check.add(_IGNORE, unknown("reason", reason, REASONS))


def _name(check: Check[Experiment], path: Path, category: str) -> None:
    value = at(check.values, path)
    if not isinstance(value, str):
        return
    try:
        plugins.get_entry(category, value)
    except TypeNotFoundError as exc:
        check.refuse(path, str(exc))


def _unused(check: Check[Experiment]) -> None:
    strategy = at(check.values, ("timing", "type")) or fields(Timing)["type"].default
    if not isinstance(strategy, str) or any(mistake.path == ("timing", "type") for mistake in check.mistakes):
        return
    used = plugins.get_metadata("timing_strategy", strategy)["uses"]
    for name in _USED:
        path = ("timing", name)
        key, value = lookup(Experiment, path), at(check.values, path)
        if name not in used and value is not None and key is not None and value != key.default:
            check.add(path, f"timing.{name} is not used by timing.type={strategy}; it uses {', '.join(used)}")


def _untaken(check: Check[Experiment]) -> None:
    """Forms of a prompt that the endpoint does not take, and what needs a tokenizer without one."""
    endpoint = at(check.values, ("endpoint", "type")) or fields(Endpoint)["type"].default
    if any(mistake.path == ("endpoint", "type") for mistake in check.mistakes) or not isinstance(endpoint, str):
        return
    takes = plugins.get_metadata("endpoint", endpoint).get("takes", ())
    form, batch = at(check.values, ("endpoint", "prompt")), at(check.values, ("dataset", "batch_size"))
    named = at(check.values, ("tokenizer", "name")) is not None
    if form in ("list", "token_ids") and "token_ids" not in takes:
        check.add(
            ("endpoint", "prompt"),
            f"{form} is for endpoints whose prompt has several forms (completions), not for endpoint.type={endpoint}",
        )
    elif form == "token_ids" and not named:
        check.add(("endpoint", "prompt"), "token_ids needs tokenizer.name: ids are those of a vocabulary")
    if isinstance(batch, int) and batch > 1 and "batches" not in takes:
        check.add(("dataset", "batch_size"), f"endpoint.type={endpoint} takes one text a request")
    for name, why in _OF_A_TOKENIZER.items() if not named else ():
        if at(check.values, ("tokenizer", name)) not in (None, fields(Tokenizer)[name].default):
            check.add(("tokenizer", name), f"needs tokenizer.name, whose {why} it is")


def _unsampled(check: Check[Experiment]) -> None:
    """Rows at their recorded times are played in their order."""
    sampling = at(check.values, ("dataset", "sampling"))
    if at(check.values, ("timing", "type")) == "fixed_schedule" and sampling not in (None, "sequential"):
        check.add(("dataset", "sampling"), f"timing.type=fixed_schedule plays every row at its own time; {sampling} has no meaning there")


def promises(check: Check[Experiment]) -> None:
    """Find promises that cannot be judged; a null one is taken back."""
    said: Any = at(check.values, _SLOS)
    if not isinstance(said, dict):
        return
    for name in [name for name, value in said.items() if value is None]:
        del said[name]
    found, problems = slos.read(said)
    streaming = at(check.values, ("endpoint", "streaming"))
    for limit in found:
        if streaming is False and "streaming" in plugins.get_metadata("metric", limit.metric)["needs"]:
            check.add((*_SLOS, limit.metric), f"{limit.metric} needs a streamed answer, and endpoint.streaming is false")
    for path, text in problems:
        check.refuse((*_SLOS, *path), text)

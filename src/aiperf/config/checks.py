"""What the models cannot know: names that must be in the registry, keys that a strategy uses, promises that can be judged."""

from collections.abc import Mapping
from typing import Any

from aiperf.config import slos
from aiperf.config.declared import declared, taken
from aiperf.config.endpoint import Endpoint
from aiperf.config.experiment import Experiment
from aiperf.config.keys import Path, fields, lookup
from aiperf.config.mistakes import Check, at
from aiperf.config.nearest import unknown
from aiperf.config.timing import Timing
from aiperf.config.tokenizer import Tokenizer
from aiperf.plugin import options as own
from aiperf.plugin import plugins
from aiperf.plugin.border import told
from aiperf.plugin.metrics import metric
from aiperf.plugin.types import PluginEntry, PluginError

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
_FORMATS = ("output", "formats")
_OPTIONS = "options"
_SLOS = ("goodput", "slos")
_IGNORE = ("verdict", "ignore")


def names(check: Check[Experiment]) -> None:
    """Find names that are not in the registry, keys that nobody would use, and reasons that do not exist."""
    for path, category in NAMES.items():
        _name(check, path, category)
    formats = at(check.values, _FORMATS)
    for name in [formats] if isinstance(formats, str) else formats if isinstance(formats, list) else ():
        if (problem := _problem("data_exporter", name)) is not None:
            check.refuse(_FORMATS, problem)
    _unused(check)
    _untaken(check)
    _unsampled(check)
    _unstreamed(check)
    _own(check)
    if ignored := at(check.values, _IGNORE):
        _reasons(check, [ignored] if isinstance(ignored, str) else ignored)


def _reasons(check: Check[Experiment], ignored: Any) -> None:
    from aiperf.results import REASONS  # noqa: PLC0415 - 5 ms of every start, for a key that few use

    for reason in ignored if isinstance(ignored, list) else []:
        if isinstance(reason, str) and reason not in REASONS:
            check.add(_IGNORE, unknown("reason", reason, REASONS))


def _name(check: Check[Experiment], path: Path, category: str) -> None:
    if (problem := _problem(category, at(check.values, path))) is not None:
        check.refuse(path, problem)


def _problem(category: str, name: Any) -> str | None:
    """Why a name is nobody's, in one line."""
    try:
        if isinstance(name, str):
            plugins.get_entry(category, name)
    except PluginError as exc:
        return told(exc)
    return None


def _unused(check: Check[Experiment]) -> None:
    strategy = at(check.values, ("timing", "type")) or fields(Timing)["type"].default
    if not isinstance(strategy, str) or any(mistake.path == ("timing", "type") for mistake in check.mistakes):
        return
    used = declared("timing_strategy", strategy).get("uses", _USED)
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
    takes = taken(endpoint)
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
    sampling, strategy = at(check.values, ("dataset", "sampling")), at(check.values, ("timing", "type"))
    if declared("timing_strategy", strategy).get("recorded") and sampling not in (None, "sequential"):
        check.add(("dataset", "sampling"), f"timing.type={strategy} plays every row at its own time; {sampling} has no meaning there")


def _unstreamed(check: Check[Experiment]) -> None:
    """An endpoint that does not stream is not asked to."""
    endpoint, group = at(check.values, ("endpoint", "type")), check.values.get("endpoint")
    if declared("endpoint", endpoint).get("supports_streaming") is False and isinstance(group, dict):
        if group.get("streaming"):
            check.add(("endpoint", "streaming"), f"endpoint.type={endpoint} does not stream; leave it out")
        group["streaming"] = False


def _own(check: Check[Experiment]) -> None:
    """What is said below `options` of a group, against the models of the plugins that the group names; theirs are imported for it."""
    for group in dict.fromkeys(path[0] for path in NAMES):
        said = at(check.values, (group, _OPTIONS)) or {}
        entries = {path: entry for path, category in NAMES.items() if path[0] == group and (entry := _chosen(check, path, category))}
        if isinstance(said, dict) and (said or any(not entry.is_builtin for entry in entries.values())):
            _options(check, group, {str(key): value for key, value in said.items()}, entries)


def _chosen(check: Check[Experiment], path: Path, category: str) -> PluginEntry | None:
    key, name = lookup(Experiment, path), at(check.values, path)
    name = key.default if key is not None and name is None else name
    return plugins.get_entry(category, name) if isinstance(name, str) and _problem(category, name) is None else None


def _options(check: Check[Experiment], group: str, said: Mapping[str, Any], entries: Mapping[Path, PluginEntry]) -> None:
    known: dict[str, None] = {}
    for place, entry in entries.items():
        try:
            cls = plugins.get_class(entry.category, entry.class_path)
        except PluginError as exc:
            check.add(place, told(exc))
            return
        known |= dict.fromkeys(own.names(model) if (model := own.model(cls)) is not None else ())
        for path, what in own.checked(cls, said)[1]:
            check.add((group, _OPTIONS, *path), f"{what} ({entry.label})")
    for name in [name for name in said if name not in known]:
        owners = ", ".join(f"{entry.category} {entry.name}" for entry in entries.values())
        text = unknown("option", name, list(known)) if known else f"there is no such option: {owners} have none of their own"
        check.add((group, _OPTIONS, name), text)


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
        if streaming is False and "streaming" in metric(limit.metric).metadata.get("needs", ()):
            check.add((*_SLOS, limit.metric), f"{limit.metric} needs a streamed answer, and endpoint.streaming is false")
    for path, text in problems:
        check.refuse((*_SLOS, *path), text)

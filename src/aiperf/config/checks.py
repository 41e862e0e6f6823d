"""What the models cannot know: names that must be in the registry, keys that a strategy uses, promises that can be judged."""

from collections.abc import Collection, Iterator, Mapping
from operator import attrgetter
from typing import Any

from aiperf.config import slos
from aiperf.config.dataset import Tokenizer
from aiperf.config.endpoint import Endpoint
from aiperf.config.experiment import IN_MEMORY, Experiment
from aiperf.config.keys import Path, fields
from aiperf.config.mistakes import Mistake
from aiperf.config.roots import unknown
from aiperf.config.timing import Timing
from aiperf.plugin import plugins
from aiperf.plugin.border import told
from aiperf.plugin.plugins import declared, metric
from aiperf.plugin.types import PluginEntry, PluginError
from aiperf.seams import SAYS

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
_UNSEEN = "needs a streamed answer, and endpoint.streaming is false"


def mistakes(experiment: Experiment, gone: Collection[Path] = ()) -> Iterator[Mistake]:
    """All that is wrong in an experiment; `gone` are paths whose value was wrong already, so that the model has the default there."""
    entries: dict[Path, PluginEntry] = {}
    named = [(path, category, attrgetter(".".join(path))(experiment)) for path, category in NAMES.items()]
    named += [(("output", "formats"), "data_exporter", name) for name in experiment.output.formats]
    for path, category, name in named:
        try:
            entries |= {} if name is None else {path: plugins.get_entry(category, name)}
        except PluginError as exc:
            yield path, told(exc)
    yield from _stated(experiment)
    if ("timing", "type") not in gone:
        yield from _unused(experiment)
    if ("endpoint", "type") in entries.keys() - set(gone):
        yield from _untaken(experiment)
    for name, why in _OF_A_TOKENIZER.items() if experiment.tokenizer.name is None else ():
        if getattr(experiment.tokenizer, name) != fields(Tokenizer)[name].default:
            yield ("tokenizer", name), f"needs tokenizer.name, whose {why} it is"
    yield from _virtual(experiment)
    yield from _shared(experiment)
    for group in dict.fromkeys(path[0] for path in NAMES):
        yield from _options(group, getattr(experiment, group).options or {}, {p: e for p, e in entries.items() if p[0] == group})
    yield from _promises(experiment)


def _stated(experiment: Experiment) -> Iterator[Mistake]:
    """A window outside the run; reasons that do not exist; statistics that the pulse cannot judge, or that the endpoint has not."""
    length, judged = experiment.timing.stop.duration_s, experiment.verdict.window
    if length is not None and ((judged.start_s or 0) >= length or (judged.end_s or 0) > length):
        yield ("verdict", "window"), f"is outside the run, which lasts timing.stop.duration_s={length:g}"
    if not experiment.verdict.ignore and not experiment.timing.stop.precision_of:
        return
    from aiperf.results import PULSED, REASONS, STATS  # noqa: PLC0415 - 5 ms of every start, for keys that few use

    for reason in (reason for reason in experiment.verdict.ignore if reason not in REASONS):
        yield ("verdict", "ignore"), unknown("reason", reason, REASONS)
    percentiles = [stat for stat in STATS if stat.startswith("p")]
    for said in experiment.timing.stop.precision_of:
        name, _, stat = said.partition(".")
        if name not in PULSED or stat not in percentiles:
            what = ("percentile", stat, percentiles) if name in PULSED else ("metric of the pulse", name, PULSED)
            yield ("timing", "stop", "precision_of"), f"{said}: {unknown(*what)}"
        elif _is_unseen(name, experiment.endpoint):
            yield ("timing", "stop", "precision_of"), f"{said} {_UNSEEN}"


def _unused(experiment: Experiment) -> Iterator[Mistake]:
    """Keys that the strategy does not use; rows at their recorded times are played in their order."""
    timing, sampling = experiment.timing, experiment.dataset.sampling
    strategy = declared("timing_strategy", timing.type)
    used = strategy.get("uses", _USED)
    for name in _USED:
        if name not in used and getattr(timing, name) not in (None, fields(Timing)[name].default):
            yield ("timing", name), f"timing.{name} is not used by timing.type={timing.type}; it uses {', '.join(used)}"
    if strategy.get("recorded") and sampling != "sequential":
        yield ("dataset", "sampling"), f"timing.type={timing.type} plays every row at its own time; {sampling} has no meaning there"


def _untaken(experiment: Experiment) -> Iterator[Mistake]:
    """Forms of a prompt, and of an answer, that the endpoint does not have."""
    endpoint = experiment.endpoint
    takes, says = taken(endpoint.type), f"endpoint.type={endpoint.type}"
    if endpoint.prompt != "string" and "token_ids" not in takes:
        yield ("endpoint", "prompt"), f"{endpoint.prompt} is for endpoints whose prompt has several forms (completions), not for {says}"
    elif endpoint.prompt == "token_ids" and experiment.tokenizer.name is None:
        yield ("endpoint", "prompt"), "token_ids needs tokenizer.name: ids are those of a vocabulary"
    if experiment.dataset.batch_size != 1 and "batches" not in takes:
        yield ("dataset", "batch_size"), f"{says} takes one text a request"
    if endpoint.streaming and declared("endpoint", endpoint.type).get("supports_streaming") is False:
        yield ("endpoint", "streaming"), f"{says} does not stream; leave it out"


def taken(endpoint: str) -> tuple[str, ...]:
    """What of a turn an endpoint takes, words of seams.SAYS; one that does not say takes whatever is no vocabulary's own."""
    found = declared("endpoint", endpoint).get("takes")
    return tuple(says for says in SAYS if says != "token_ids") if found is None else tuple(found)


def _virtual(experiment: Experiment) -> Iterator[Mistake]:
    """A clock that jumps takes one process, and the packaged server in it."""
    endpoint = experiment.endpoint
    is_virtual = endpoint.simulator is not None and endpoint.simulator.clock == "virtual"
    if is_virtual and endpoint.url:
        yield ("endpoint", "simulator", "clock"), "virtual is for the packaged server, not for one at a URL; leave out endpoint.url"
    for (group, key), name in IN_MEMORY.items():
        part = getattr(experiment, group)
        if is_virtual and key in part.model_fields_set and getattr(part, key) != name:
            yield (group, key), f"endpoint.simulator.clock=virtual needs {name}, and takes it where nothing is said; leave it out"
        elif not is_virtual and getattr(part, key) == "memory":
            yield (group, key), "memory reaches the packaged server alone, on endpoint.simulator.clock=virtual"


def _shared(experiment: Experiment) -> Iterator[Mistake]:
    """Several generators take several processes, and each of them a slot."""
    count, slots = experiment.cluster.generators, experiment.timing.concurrency
    if count > 1 and experiment.cluster.type == "inline":
        yield ("cluster", "generators"), "cluster=inline, which a virtual clock takes, has one process; leave it out"
    elif slots is not None and slots < count:
        yield ("cluster", "generators"), f"{count} cannot share timing.concurrency={slots}: each needs a slot of its own"


def _options(group: str, said: Mapping[str, Any], entries: Mapping[Path, PluginEntry]) -> Iterator[Mistake]:
    """What is said below `options` of a group, against the models of the plugins that the group names; theirs are imported for it."""
    if not said and all(entry.is_builtin for entry in entries.values()):
        return
    known: dict[str, None] = {}
    for place, entry in entries.items():
        try:
            cls = plugins.get_class(entry.category, entry.class_path)
        except PluginError as exc:
            yield place, told(exc)
            return
        known |= dict.fromkeys(plugins.option_names(model) if (model := plugins.options_of(cls)) is not None else ())
        yield from (((group, "options", *path), f"{what} ({entry.label})") for path, what in plugins.checked(cls, said)[1])
    for name in [name for name in said if name not in known]:
        owners = ", ".join(f"{entry.category} {entry.name}" for entry in entries.values())
        text = unknown("option", name, list(known)) if known else f"there is no such option: {owners} have none of their own"
        yield (group, "options", name), text


def _promises(experiment: Experiment) -> Iterator[Mistake]:
    found, problems = slos.read(experiment.goodput.slos)
    unseen = [limit.metric for limit in found if _is_unseen(limit.metric, experiment.endpoint)]
    for path, text in (*problems, *(((name,), f"{name} {_UNSEEN}") for name in unseen)):
        yield ("goodput", "slos", *path), text


def _is_unseen(name: str, endpoint: Endpoint) -> bool:
    return not endpoint.streaming and "streaming" in metric(name).metadata.get("needs", ())

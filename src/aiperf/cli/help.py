"""The pages of `--help`: one screen about everything, or the keys of a verb, a group or a key."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from aiperf.cli.options import FLAGS, VERBS, Flag
from aiperf.config import roots
from aiperf.config.roots import hint
from aiperf.errors import ConfigError

if TYPE_CHECKING:
    from aiperf.config.keys import Key

_EXAMPLES = (
    ("aiperf experiment=quickstart", "10 s against the packaged simulator"),
    ("aiperf experiment=mooncake_replay endpoint=vllm", "a recorded trace against a vLLM server on this machine"),
    ("aiperf endpoint=vllm timing.concurrency=32", "no experiment, only choices and values"),
)
_FORMS = (
    ("aiperf plugins CATEGORY [NAME]", "its plugins; with NAME, or a class path, all about one"),
    ("aiperf plugins new CATEGORY NAME [DIR]", "write a package of one plugin that works, with its tests"),
)


def page(words: Sequence[str]) -> str:
    """The page for these words. Raises ConfigError with the nearest topic for one that is not known."""
    return "\n\n".join(_topic(word) for word in words) if words else _overview()


def _overview() -> str:
    return "\n".join(
        [
            "aiperf: how much load does a generative-AI server carry within its promises, and can the number be believed?",
            "",
            "aiperf [VERB] [group=choice] [path.to.key=value] … [flags]",
            *_section("verbs", ((verb, text) for verb, (_, text) in VERBS.items())),
            *_section("groups", ((group, " ".join(roots.choices(group, roots.roots()))) for group in roots.groups())),
            *_section("flags", _flags(flag for flag in FLAGS.items() if not flag[1].verbs or "run" in flag[1].verbs)),
            *_section("examples", _EXAMPLES),
            "",
            "exit codes: 0 valid, 1 nothing measured, 2 wrong configuration, 3 INVALID, 4 a promise not kept, 130 stopped",
        ]
    )


def _section(title: str, lines: Iterable[tuple[str, str]]) -> list[str]:
    found = list(lines)
    width = max((len(left) for left, _ in found), default=0)
    return ["", title, *(f"  {left:<{width}}  {right}" for left, right in found)] if found else []


def _flags(flags: Iterable[tuple[str, Flag]]) -> Iterator[tuple[str, str]]:
    return ((f"{name} {'|'.join(flag.takes)}".rstrip(), flag.text) for name, flag in flags)


def _topic(word: str) -> str:
    lines = [f"aiperf {word} {VERBS[word][0]}", VERBS[word][1]] if word in VERBS else []
    lines += _section("forms", _FORMS if word == "plugins" else ())
    lines += _section("flags", _flags(flag for flag in FLAGS.items() if word in flag[1].verbs))
    if word in VERBS and word != "simulate":
        return "\n".join(lines)
    from aiperf.config.experiment import Experiment  # noqa: PLC0415 - the models take longer to import than the overview to print
    from aiperf.config.keys import rows  # noqa: PLC0415 - as above
    from aiperf.config.simulator import Simulator  # noqa: PLC0415 - as above

    if word == "simulate":
        return "\n".join([*lines, "", *_rows(rows(Simulator))])
    known = rows(Experiment)
    found = [key for key in known if f"{key.dotted}.".startswith(f"{word}.")]
    choices = roots.choices(word, roots.roots()) if word in roots.groups() else {}
    if not found and not choices:
        topics = list(dict.fromkeys([*VERBS, *roots.groups(), *(key.path[0] for key in known)]))
        near = hint(word, [*topics, *(key.dotted for key in known)]) or "."
        raise ConfigError(f"there is no help on {word!r}{near} Known: {', '.join(topics)}")
    lines = [f"  {word}={name:<18} {roots.first_comment(file)}" for name, file in choices.items()]
    return "\n".join([*lines, *([""] if lines and found else []), *_rows(found)])


def _rows(keys: "Sequence[Key]") -> Iterator[str]:
    width = max(80, min(shutil.get_terminal_size((120, 24)).columns, 140))
    for key in keys:
        yield f"  {key.dotted}={key.default_text} {key.unit}".rstrip()
        yield textwrap.fill(f"{key.sentence} Takes {key.takes}.", width, initial_indent="      ", subsequent_indent="      ")

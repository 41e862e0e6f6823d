"""The pages of `--help`: one screen about everything, or the keys of a verb, a group or a key."""

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from aiperf.cli.options import FLAGS, VERBS
from aiperf.config import roots
from aiperf.config.nearest import nearest
from aiperf.errors import ConfigError

if TYPE_CHECKING:
    from aiperf.config.describe import Row

_EXAMPLES = (
    ("aiperf experiment=quickstart", "10 s against the packaged simulator"),
    ("aiperf experiment=mooncake_replay endpoint=vllm", "a recorded trace against a vLLM server on this machine"),
    ("aiperf endpoint=vllm timing.concurrency=32", "no experiment, only choices and values"),
    ("aiperf query", "what the results below outputs/ can be asked, in SQL"),
    ("aiperf validate experiment=poisson timing.rate=20", "check it, send nothing"),
)


_LOOK_UP = {
    "query": f"aiperf query [SQL] [--in DIR] [--format table|csv|json|parquet] [--out FILE]\n{VERBS['query']}",
    "report": f"aiperf report DIR …\n{VERBS['report']}",
    "plugins": "\n".join(
        [
            "aiperf plugins [--all | --packages | --validate [--import] | CATEGORY [NAME]] [--json]",
            "aiperf plugins new CATEGORY NAME [DIR]",
            VERBS["plugins"],
            "",
            "  CATEGORY      its plugins; with NAME, or a class path, all about one",
            "  new           write a package of one plugin that works, with its tests",
            *(f"  {name:<12}  {text.removeprefix('plugins: ')}" for name, text in FLAGS.items() if text.startswith("plugins: ")),
        ]
    ),
}


def page(words: Sequence[str]) -> str:
    """The page for these words. Raises ConfigError with the nearest topic for one that is not known."""
    return "\n\n".join(_topic(word) for word in words) if words else _overview()


def _overview() -> str:
    return "\n".join(
        [
            "aiperf: how much load does a generative-AI server carry within its promises, and can the number be believed?",
            "",
            "aiperf [VERB] [group=choice] [path.to.key=value] … [flags]",
            *_section("verbs", VERBS.items()),
            *_section("groups", ((group, " ".join(_choices(group))) for group in roots.groups())),
            *_section("flags", ((name, text) for name, text in FLAGS.items() if text.partition(": ")[0] not in VERBS)),
            *_section("examples", _EXAMPLES),
            "",
            "every key: aiperf --help GROUP, or docs/configuration.md",
            "exit codes: 0 valid, 1 nothing measured, 2 wrong configuration, 3 INVALID, 4 a promise not kept, 130 stopped",
        ]
    )


def _section(title: str, lines: Iterable[tuple[str, str]]) -> list[str]:
    found = list(lines)
    width = max(len(left) for left, _ in found)
    return ["", title, *(f"  {left:<{width}}  {right}" for left, right in found)]


def _choices(group: str) -> list[str]:
    return list(roots.choices(group, roots.roots()))


def _topic(word: str) -> str:
    if word in ("run", "validate"):
        flags = "--cfg job|json, --config-dir DIR" + (", --dry-run" if word == "run" else "")
        return f"aiperf {word} [group=choice] [key=value] …\n{VERBS[word]}\n\nflags: {flags}\nkeys: aiperf --help GROUP"
    if word in _LOOK_UP:
        return _LOOK_UP[word]
    from aiperf.config import describe  # noqa: PLC0415 - the models take longer to import than the overview to print
    from aiperf.config.simulator import Simulator  # noqa: PLC0415 - as above

    if word == "simulate":
        return "\n".join([f"aiperf simulate [key=value] …\n{VERBS[word]}\n", *_rows(describe.rows(Simulator))])
    known = describe.everything()
    found = [row for row in known if f"{row.path}.".startswith(f"{word}.")]
    choices = roots.choices(word, roots.roots()) if word in roots.groups() else {}
    if not found and not choices:
        raise ConfigError(_unknown(word, [row.path for row in known]))
    lines = [f"  {word}={name:<18} {roots.first_comment(file)}" for name, file in choices.items()]
    return "\n".join([*lines, *([""] if lines and found else []), *_rows(found)])


def _unknown(word: str, paths: Sequence[str]) -> str:
    topics = list(dict.fromkeys([*VERBS, *roots.groups(), *(path.partition(".")[0] for path in paths)]))
    near = nearest(word, [*topics, *paths])
    return f"there is no help on {word!r}{f', did you mean {near}?' if near else '.'} Known: {', '.join(topics)}"


def _rows(rows: "Sequence[Row]") -> Iterator[str]:
    width = max(80, min(shutil.get_terminal_size((120, 24)).columns, 140))
    for row in rows:
        yield f"  {row.path}={row.default}{' ' + row.unit if row.unit else ''}"
        yield textwrap.fill(f"{row.sentence} Takes {row.takes}.", width, initial_indent="      ", subsequent_indent="      ")

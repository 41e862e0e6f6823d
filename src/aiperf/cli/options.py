"""What stands on the command line besides the experiment: the verb and the flags."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from aiperf.config import roots
from aiperf.config.nearest import hint
from aiperf.errors import ConfigError

VERBS: Mapping[str, str] = {
    "run": "play an experiment at a server and judge what came back; the verb where none is given",
    "validate": "check an experiment and say what it would do; nothing is sent",
    "simulate": "serve the packaged simulator on this machine until Ctrl-C",
    "query": "ask all results below outputs/ in SQL; without a statement, five examples and the tables",
    "report": "print the tables of a result folder again",
    "plugins": "what there is to choose from, built in or installed; check it, or begin a plugin of your own",
}

FLAGS: Mapping[str, str] = {
    "--help": "this page, or the keys of a verb, a group or a key: aiperf --help timing",
    "--version": "the version",
    "--cfg": "job or json: print the composed experiment and stop",
    "--config-dir": "a folder with conf/ or experiments/ of your own; may be given again",
    "--dry-run": "write the plan and five requests, send nothing",
    "--verbose": "-v: say on the terminal what goes on; -vv: in detail",
    "--in": "query: a result folder, or a folder of them, in place of outputs/",
    "--format": "query: table, csv, json or parquet",
    "--out": "query: a file for the answer",
    "--all": "plugins: every kind with all its plugins, and the kinds that are not open",
    "--packages": "plugins: the packages that bring them, in full",
    "--validate": "plugins: are they all there? Nothing is imported; exit code 1 if not",
    "--import": "plugins: with --validate: import them, too, and see that they fit",
    "--json": "plugins: for programs",
}

_TAKES_VALUE = ("--cfg", "--config-dir", "--in", "--format", "--out")
_OF_VERB = {
    "run": ("--cfg", "--config-dir", "--dry-run", "--verbose"),
    "validate": ("--cfg", "--config-dir"),
    "simulate": (),
    "query": ("--in", "--format", "--out"),
    "report": (),
    "plugins": ("--all", "--packages", "--validate", "--import", "--json"),
}
_SHORT = {"-h": ("--help",), "-v": ("--verbose",), "-vv": ("--verbose", "--verbose")}
_FORMS = {"--cfg": ("job", "json"), "--format": ("table", "csv", "json", "parquet")}
_EXAMPLES = {"--cfg": "job", "--format": "csv", "--out": "FILE"}


class Options(NamedTuple):
    """A command line: `words` are what the verb gets, `given` the flags that only it knows, with their values ("" where they take none)."""

    verb: str | None
    words: tuple[str, ...]
    wants_help: bool = False
    wants_version: bool = False
    cfg: str | None = None
    config_dirs: tuple[Path, ...] = ()
    dry_run: bool = False
    verbose: int = 0
    given: Mapping[str, str] = MappingProxyType({})


def parse(argv: Sequence[str]) -> Options:
    """Split a command line. Raises ConfigError for a flag that does not exist or does not fit, and for an unknown verb."""
    words, flags = _split(argv)
    wants_help = "--help" in flags
    verb = words[0] if words and _is_word(words[0]) else None
    if wants_help or "--version" in flags:
        return Options(None, tuple(words), wants_help, not wants_help)
    if verb is not None and verb not in VERBS:
        raise ConfigError(f"{verb!r} is no verb{_meant(verb) or '.'} Verbs: {', '.join(VERBS)}; an experiment is experiment=NAME")
    _check_fit(verb or "run", flags)
    cfg = flags.get("--cfg", [None])[-1]
    folders = tuple(Path(folder) for folder in flags.get("--config-dir", []) if folder is not None)
    own = {name: values[-1] or "" for name, values in flags.items() if name in (*_OF_VERB["query"], *_OF_VERB["plugins"])}
    return Options(
        verb, tuple(words[1:] if verb else words), cfg=cfg, config_dirs=folders, dry_run="--dry-run" in flags,
        verbose=len(flags.get("--verbose", ())), given=own,
    )  # fmt: skip


def _meant(verb: str) -> str:
    is_experiment = verb in roots.choices("experiment", roots.roots())
    return f", did you mean experiment={verb}?" if is_experiment else hint(verb, VERBS)


def _is_word(text: str) -> bool:
    return "=" not in text and text[:1] not in ("~", "+")


def _split(argv: Sequence[str]) -> tuple[list[str], dict[str, list[str | None]]]:
    words: list[str] = []
    flags: dict[str, list[str | None]] = {}
    rest = iter(argv)
    for text in rest:
        if not text.startswith("-") or text == "-":
            words.append(text)
            continue
        typed, sign, value = text.partition("=")
        for name in _SHORT.get(typed, (typed,)):
            if name not in FLAGS:
                raise ConfigError(f"there is no flag {name}{hint(name, FLAGS) or '.'} Flags: {', '.join(FLAGS)}")
            flags.setdefault(name, []).append(_value(name, value if sign else None, rest))
    return words, flags


def _value(name: str, given: str | None, rest: Iterator[str]) -> str | None:
    if name not in _TAKES_VALUE:
        if given is not None:
            raise ConfigError(f"{name} takes no value, not {given!r}")
        return None
    value = given if given is not None else next(rest, None)
    if not value:
        raise ConfigError(f"{name} needs a value, as in {name} {_EXAMPLES.get(name, 'DIR')}")
    if value not in _FORMS.get(name, (value,)):
        raise ConfigError(f"{name} {value}: expected {' or '.join(_FORMS[name])}")
    return value


def _check_fit(verb: str, flags: Mapping[str, object]) -> None:
    strangers = [name for name in flags if name not in _OF_VERB[verb]]
    if strangers:
        raise ConfigError(f"{', '.join(strangers)}: not for the verb {verb}")

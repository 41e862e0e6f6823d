"""What stands on the command line besides the experiment: the verb and the flags."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from aiperf.config import roots
from aiperf.config.roots import hint
from aiperf.errors import ConfigError

VERBS: Mapping[str, tuple[str, str]] = {
    "run": ("[group=choice] [key=value] …", "play an experiment at a server and judge what came back; the verb where none is given"),
    "validate": ("[group=choice] [key=value] …", "check an experiment and say what it would do; nothing is sent; of a folder as verify"),
    "simulate": ("[key=value] …", "serve the packaged simulator on this machine until Ctrl-C"),
    "query": ("[SQL]", "ask all results below outputs/ in SQL; without a statement, five examples and the tables"),
    "report": ("DIR …", "print the tables of a result folder again, or compute them again with --from"),
    "verify": ("DIR …", "is a result folder what it was, and does it agree with itself?"),
    "doctor": ("", "what limits this machine for load, and how to raise it; with --measure, what it carries"),
    "plugins": ("[CATEGORY [NAME]]", "what there is to choose from, built in or installed; check it, or begin a plugin of your own"),
}
"""Each verb with the words that it takes, and what it does."""


class Flag(NamedTuple):
    """A flag: what it does, the verbs that know it, and the values that it takes, `DIR` and `FILE` for any."""

    text: str
    verbs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


FLAGS: Mapping[str, Flag] = {
    "--help": Flag("this page, or the keys of a verb, group or key: aiperf --help timing (all: docs/configuration.md)"),
    "--version": Flag("the version"),
    "--cfg": Flag("print the composed experiment and stop", ("run", "validate"), ("job", "json")),
    "--config-dir": Flag("a folder with conf/ or experiments/ of your own; may be given again", ("run", "validate"), ("DIR",)),
    "--dry-run": Flag("write the plan and five requests, send nothing", ("run",)),
    "--rerun": Flag("play the run of this folder again, by the same plan; keys beside it change it", ("run",), ("DIR",)),
    "--verbose": Flag("-v: say on the terminal what goes on; -vv: in detail", ("run",)),
    "--from": Flag("repeat the stages from here on, with what lies on the disk", ("report",), ("process", "judge", "report")),
    "--in": Flag("a result folder, or a folder of them, in place of outputs/; doctor: whose disk is tried", ("query", "doctor"), ("DIR",)),
    "--format": Flag("how the answer is written; a table where nothing is said", ("query",), ("table", "csv", "json", "parquet")),
    "--out": Flag("a file for the answer", ("query",), ("FILE",)),
    "--all": Flag("every kind with all its plugins, and the kinds that are not open", ("plugins",)),
    "--packages": Flag("the packages that bring them, in full", ("plugins",)),
    "--validate": Flag("are they all there? Nothing is imported; exit code 1 if not", ("plugins",)),
    "--import": Flag("with --validate: import them, too, and see that they fit", ("plugins",)),
    "--json": Flag("for programs", ("plugins", "doctor")),
    "--measure": Flag("in 20 s, what one load generator carries here, played at a sink of its own", ("doctor",)),
}
_SHORT = {"-h": ("--help",), "-v": ("--verbose",), "-vv": ("--verbose", "--verbose")}


class Options(NamedTuple):
    """A command line: `words` are what the verb gets, `flags` have the value that was given last, "" where they take none."""

    verb: str
    words: tuple[str, ...]
    flags: Mapping[str, str]
    config_dirs: tuple[Path, ...]
    verbose: int


def parse(argv: Sequence[str]) -> Options:
    """Split a command line. Raises ConfigError for a flag that does not exist or does not fit, and for an unknown verb."""
    words, given = _split(argv)
    flags = dict(given)
    wants_page = "--help" in flags or "--version" in flags
    has_verb = words and "=" not in words[0] and not words[0].startswith(("~", "+"))
    verb = words.pop(0) if has_verb and not wants_page else "run"
    if verb not in VERBS:
        is_experiment = verb in roots.choices("experiment", roots.roots())
        meant = f", did you mean experiment={verb}?" if is_experiment else hint(verb, VERBS) or "."
        raise ConfigError(f"{verb!r} is no verb{meant} Verbs: {', '.join(VERBS)}; an experiment is experiment=NAME")
    strangers = [name for name in flags if verb not in FLAGS[name].verbs]
    if strangers and not wants_page:
        raise ConfigError(f"{', '.join(strangers)}: not for the verb {verb}")
    folders = tuple(Path(value) for name, value in given if name == "--config-dir")
    return Options(verb, tuple(words), flags, folders, sum(name == "--verbose" for name, _ in given))


def _split(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    words: list[str] = []
    flags: list[tuple[str, str]] = []
    rest = iter(argv)
    for text in rest:
        if not text.startswith("-") or text == "-":
            words.append(text)
            continue
        typed, sign, value = text.partition("=")
        for name in _SHORT.get(typed, (typed,)):
            if name not in FLAGS:
                raise ConfigError(f"there is no flag {name}{hint(name, FLAGS) or '.'} Flags: {', '.join(FLAGS)}")
            flags.append((name, _value(name, value if sign else None, rest)))
            if FLAGS[name].takes and len(values := [said for flag, said in flags if flag == name]) > 1 and name != "--config-dir":
                raise ConfigError(f"{name} is given twice ({', '.join(values)}), and takes one value")
    return words, flags


def _value(name: str, given: str | None, rest: Iterator[str]) -> str:
    takes = FLAGS[name].takes
    if not takes and given is not None:
        raise ConfigError(f"{name} takes no value, not {given!r}")
    value = next(rest, "") if takes and given is None else given or ""
    if takes and not value:
        raise ConfigError(f"{name} needs a value, as in {name} {takes[0]}")
    if takes and takes[0].islower() and value not in takes:
        raise ConfigError(f"{name} {value}: expected {' or '.join(takes)}")
    return value

"""Reads the command line, calls a verb, and turns what comes back into an exit code. A verb is imported when it is called."""

import gc
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import aiperf
from aiperf.cli import options as command_line
from aiperf.cli import output
from aiperf.errors import AiperfError, ConfigError

STOPPED = 130
"""The exit code of what the user stopped."""
_PIPE_GONE, _COMPOSE = 1, ("run", "validate", "simulate")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code. A bug passes through, with its traceback."""
    output.open_closed()
    gc.disable()  # nothing that a start makes is garbage; looking for some would take a tenth of it
    try:
        code = _called(sys.argv[1:] if argv is None else argv)
    except AiperfError as exc:
        _complain(exc)
        code = exc.exit_code
    except BrokenPipeError:
        output.silence()
        code = _PIPE_GONE
    except (KeyboardInterrupt, Exception) as exc:
        if not is_of_interrupt(exc):
            raise
        if isinstance(exc, KeyboardInterrupt) and exc.args:  # a word on what there is now
            print(f"aiperf: {exc}", file=sys.stderr)
        code = STOPPED
    finally:
        if argv is None and "duckdb" not in sys.modules:
            gc.disable()
            gc.freeze()  # the process ends; a last look for garbage would take a tenth of a short command
        else:
            gc.unfreeze()
            gc.enable()  # without that last look, DuckDB's binding tells of leaks
    if argv is None and threading.active_count() > 1:
        from aiperf.cluster.child import leave  # noqa: PLC0415 - where a plugin has left threads behind

        leave(code)
    return code


def is_of_interrupt(exc: BaseException | None) -> bool:
    """Whether it came about while Ctrl-C ended something, as where a library cannot clean up what it was in the midst of."""
    while exc is not None and not isinstance(exc, KeyboardInterrupt):
        exc = exc.__context__
    return exc is not None


def _called(argv: Sequence[str]) -> int:
    given = command_line.parse(argv)
    if "--version" in given.flags and "--help" not in given.flags:
        output.say(f"aiperf {aiperf.__version__}")
        return 0
    if "--help" in given.flags or not argv:
        from aiperf.cli import help as pages  # noqa: PLC0415 - only when it is asked for

        output.say(pages.page(given.words))
        return 0
    if given.verb == "validate" and given.words and Path(given.words[0]).is_dir():
        given = given._replace(verb="verify")
    if given.verb in _COMPOSE:
        # Hydra comes first, from a shallow stack: where its import crosses a chunk of the interpreter's, each call there maps memory anew.
        import_module("aiperf.config.arguments")
    verb = import_module(f"aiperf.cli.{'validate' if '--cfg' in given.flags else given.verb}")
    code: int = verb.main(given) if given.verb in _COMPOSE else verb.main(given.words, given.flags)
    return code


def _complain(exc: AiperfError) -> None:
    problems = exc.problems if isinstance(exc, ConfigError) else (str(exc),)
    lines = problems if len(problems) == 1 else (f"{len(problems)} mistakes; nothing was sent", *problems)
    print("aiperf: " + "\n  ".join(lines), file=sys.stderr)

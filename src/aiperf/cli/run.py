"""`aiperf run`: compose an experiment and play it."""

import gc
import sys

from aiperf.app import GENERATE, GENERATOR
from aiperf.cli import output
from aiperf.cli.options import Options
from aiperf.cluster.local import hatch
from aiperf.errors import ConfigError


def main(given: Options) -> int:
    """Play an experiment and return its exit code. Raises ConfigError off Linux.

    The load generator's process starts before the rest is imported.
    """
    if sys.platform != "linux":
        raise ConfigError("a run needs Linux (epoll, timerfd and the kernel's stamps); on Windows use WSL")
    dry_run = "--dry-run" in given.flags
    hatched = () if dry_run else (hatch(GENERATOR, GENERATE),)
    try:
        from aiperf.config.compose import load  # noqa: PLC0415 - while the generator starts

        composed = load(given.words, config_dirs=given.config_dirs)
        from aiperf.app.plan import gathered  # noqa: PLC0415 - as above, and a mistake need not wait for the rest

        found = gathered(composed, _say)
        from aiperf.app.run import run  # noqa: PLC0415 - as above

        gc.freeze()  # what a start has made stays
        gc.enable()
        return run(found, arguments=given.words, dry_run=dry_run, hatched=hatched, verbose=given.verbose).code
    finally:
        for worker in hatched:
            worker.drop()


def _say(text: str) -> None:
    """Print; where a disk refuses it (a pipe that is gone ends the run), the run goes on without."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as exc:
        output.silence()
        print(f"aiperf: standard output: cannot be written ({exc.strerror or exc}); the run goes on without it", file=sys.stderr)

"""`aiperf run`: compose an experiment and play it."""

import gc
import sys
from pathlib import Path

from aiperf.app import GENERATE, GENERATOR
from aiperf.cli import output
from aiperf.cli.options import Options
from aiperf.cluster.local import Worker, hatch
from aiperf.errors import ConfigError


def main(given: Options) -> int:
    """Play an experiment and return its exit code. Raises ConfigError off Linux.

    The load generator's process starts before the rest is imported.
    """
    if sys.platform != "linux":
        raise ConfigError("a run needs Linux (epoll, timerfd and the kernel's stamps); on Windows use WSL")
    dry_run = "--dry-run" in given.flags
    hatched: tuple[Worker, ...] = () if dry_run else (hatch(GENERATOR, GENERATE),)
    try:
        from aiperf.config.compose import load  # noqa: PLC0415 - while the generator starts

        before = given.flags.get("--rerun")
        words, folders, arguments = given.words, given.config_dirs, given.words
        if before is not None:
            from aiperf.store.campaign import latest  # noqa: PLC0415 - only here

            again = latest(Path(before), "--rerun")
            words, folders, arguments = ("experiment=experiment", *words), (again.folder, *folders), (f"--rerun={again.folder}", *words)
        composed = load(words, config_dirs=folders)
        more = range(1, 1 if dry_run else composed.experiment.cluster.generators)
        hatched += tuple(hatch(f"generator-{number}", GENERATE) for number in more)
        from aiperf.app.plan import gathered  # noqa: PLC0415 - as above, and a mistake need not wait for the rest

        found = gathered(composed, _say)
        if before is not None:
            from aiperf.app.repeat import compared  # noqa: PLC0415 - only here

            compared(found, again, changed=any(not word.startswith(("output.", "ui.")) for word in given.words))
        from aiperf.app.run import run  # noqa: PLC0415 - as above

        gc.freeze()  # what a start has made stays
        gc.enable()
        return run(found, arguments=arguments, dry_run=dry_run, hatched=hatched, verbose=given.verbose).code
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

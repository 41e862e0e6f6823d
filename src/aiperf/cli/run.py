"""`aiperf run`: compose an experiment and play it."""

import gc

from aiperf.app import GENERATE, GENERATOR
from aiperf.cli.options import Options
from aiperf.cluster.local import hatch


def main(given: Options) -> int:
    """Play an experiment and return its exit code. The load generator's process starts before the rest is imported."""
    hatched = () if given.dry_run else (hatch(GENERATOR, GENERATE),)
    try:
        from aiperf.app.run import run  # noqa: PLC0415 - while the generator starts
        from aiperf.config.compose import load  # noqa: PLC0415 - as above

        composed = load(given.words, config_dirs=given.config_dirs)
        gc.freeze()  # what a start has made stays
        gc.enable()
        return run(composed, arguments=given.words, dry_run=given.dry_run, say=_say, hatched=hatched)
    finally:
        for worker in hatched:
            worker.drop()


def _say(text: str) -> None:
    print(text, flush=True)

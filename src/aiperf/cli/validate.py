"""`aiperf validate`, and `--cfg`: check an experiment, show it, send nothing."""

import json
import sys

import yaml

from aiperf.cli import output
from aiperf.cli.options import Options
from aiperf.config.compose import load
from aiperf.finite import scrub_non_finite


def main(given: Options) -> int:
    """Print that an experiment is valid and what was decided on the way, or, with `--cfg`, the experiment itself."""
    composed = load(given.words, config_dirs=given.config_dirs)
    if (form := given.flags.get("--cfg")) is None:
        choices = ", ".join(f"{group}={name}" for group, name in composed.choices.items())
        output.say("\n".join([f"valid: {composed.experiment.name} ({choices})", *(f"  {note}" for note in composed.notes)]))
        return 0
    text = composed.text if form == "job" else json.dumps(scrub_non_finite(yaml.safe_load(composed.text)), indent=2)
    output.say(text.rstrip("\n"))
    for note in composed.notes:
        print(f"  {note}", file=sys.stderr)
    return 0

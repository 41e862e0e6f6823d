"""`aiperf verify`: is a result folder what it was, and does it agree with itself?"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from aiperf.app.verify import verified
from aiperf.cli import output
from aiperf.errors import ConfigError
from aiperf.store.campaign import latest

_DIFFERS = 3


def main(words: Sequence[str], _: Mapping[str, str]) -> int:
    """Print what was looked at in each folder; 3 if something in one is not as it should be. Raises ConfigError for no campaign."""
    if not words:
        raise ConfigError("verify: give a campaign's folder, as in aiperf verify outputs/quickstart")
    is_well = True
    for campaign in [latest(Path(word), "verify") for word in words]:
        with campaign.held():  # a run that goes on is no folder to judge yet
            output.say(str(campaign.folder))
            for check in verified(campaign):
                is_well = is_well and not check.wrong
                word = "wrong" if check.wrong else "ok"
                output.say("\n".join(f"  {check.name:<8} {word:<6} {text}" for text in check.wrong or (check.seen,)))
    return 0 if is_well else _DIFFERS

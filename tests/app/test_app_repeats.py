"""What the seed decides is the same on every machine and in every version of Python; what the run decides is in no other run."""

import hashlib
import json
from collections.abc import Iterator

import numpy as np
import pytest

from aiperf.app.jobs import Render, Target, speaker
from aiperf.app.plan import Plan, gathered
from aiperf.app.session import table
from aiperf.config.compose import load
from aiperf.config.experiment import Experiment
from aiperf.paths import data_file

MOST = 200
BLOCK, OF_AN_ID = 16, 512
EXPERIMENTS = {
    "quickstart": ("experiment=quickstart", "dataset.output_tokens={mean: 50, stddev: 9}", "dataset.input_tokens.stddev=20"),
    "poisson": ("experiment=poisson", "dataset.entries=40", "dataset.sampling=shuffle"),
    "mooncake_replay": ("experiment=mooncake_replay",),
}


def plan_of(name: str, *arguments: str) -> tuple[Experiment, Plan]:
    found = gathered(load(list(arguments)), print, name)
    return found.composed.experiment, found.plan


def bodies(experiment: Experiment, plan: Plan) -> Iterator[bytes]:
    options = experiment.endpoint
    render = Render(plan.source, speaker(Target(options, ("http://h:1",), "m", "/v1/chat/completions", exact=True)))
    for phase in plan.schedule.phases:
        for place in range(min(MOST, MOST if phase.due_ns is None else len(phase.due_ns))):
            yield render(phase, place).body


def digest(name: str) -> str:
    experiment, plan = plan_of("any", *EXPERIMENTS[name], "dataset.salt=none", "seed=7")
    found = hashlib.sha256()
    for column in table(plan, 7, np.arange(MOST)).to_pydict().values():
        found.update(json.dumps(column).encode())
    for body in bodies(experiment, plan):
        found.update(body)
    return found.hexdigest()[:16]


@pytest.mark.parametrize(
    ("name", "golden"), [("quickstart", "a39530603ff85448"), ("poisson", "fdd7df2e25570e21"), ("mooncake_replay", "0da1cc650e6b322b")]
)
def test_a_seed_without_salt_is_the_same_plan_and_the_same_bytes_everywhere(name: str, golden: str) -> None:
    assert digest(name) == golden


def blocks(run: str) -> set[str]:
    """The blocks of sixteen words that a server's cache would see."""
    found = set[str]()
    for body in bodies(*plan_of(run, *EXPERIMENTS["mooncake_replay"], "~timing.warmup")):
        words = json.loads(body)["messages"][0]["content"].split(" ")
        found |= {" ".join(words[at : at + BLOCK]) for at in range(0, len(words) - BLOCK + 1, BLOCK)}
    return found


def shared_by_the_data() -> int:
    """How many different blocks of sixteen tokens there are, if equal hash ids are equal text and nothing else is."""
    known = set[tuple[object, ...]]()
    for number, line in enumerate(data_file("pkg://samples/mooncake_200.jsonl", "x").read_text().splitlines()):
        row = json.loads(line)
        for at in range(0, row["input_length"] - BLOCK + 1, BLOCK):
            place, offset = divmod(at, OF_AN_ID)
            ids = row["hash_ids"]
            known.add((ids[place], offset) if place < len(ids) else (number, at, "own"))
    return len(known)


def test_two_runs_have_no_block_in_common_and_one_run_shares_what_its_data_share() -> None:
    one, two = blocks("aaaaaa"), blocks("bbbbbb")
    assert not one & two
    assert len(one) == len(two) == shared_by_the_data()

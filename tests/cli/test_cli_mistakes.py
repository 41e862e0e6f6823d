"""Twenty mistakes that people make in experiments and in data: each is told once, with place, value and what was expected."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from aiperf.cli.main import main

URL = "endpoint.url=http://127.0.0.1:9"
TRACE = ("dataset=mooncake_trace", "dataset.path=rows.jsonl", "endpoint=vllm", URL, "endpoint.model=m")
ROW = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}


class Mistake(NamedTuple):
    """What is typed, the rows of rows.jsonl where it reads one, and what the message must hold."""

    arguments: Sequence[str]
    said: Sequence[str]
    rows: Sequence[object] = ()


def row(**changed: object) -> dict[str, object]:
    return {**ROW, **changed}


MISTAKES = {
    "a key misspelt": Mistake(["timing.concurency=8"], ["timing.concurency", "did you mean timing.concurrency?"]),
    "a choice misspelt": Mistake(["timing=request_rat"], ["request_rat", "request_rate"]),
    "an experiment that is not there": Mistake(["experiment=quickstar"], ["quickstar", "quickstart"]),
    "a verb that is none": Mistake(["validat", "experiment=quickstart"], ["'validat' is no verb", "validate"]),
    "text for a number": Mistake(["timing.concurrency=eight"], ["timing.concurrency", "'eight'", "a whole number"]),
    "a number out of range": Mistake(["verdict.max_error_rate=2"], ["verdict.max_error_rate", "from 0 to 1", "2"]),
    "a unit that does not fit": Mistake(["timing.stop.duration_s=10parsecs"], ["timing.stop.duration_s", "10parsecs", "500ms"]),
    "a promise about nothing": Mistake(["goodput.slos.time_to_first_tokn=5"], ["time_to_first_tokn", "time_to_first_token"]),
    "a key that the timing does not use": Mistake(["timing=concurrency", "timing.rate=5"], ["timing.rate is not used by", "concurrency"]),
    "an address without a scheme": Mistake(["endpoint=vllm", "endpoint.url=localhost:8000"], ["endpoint.url", "localhost:8000", "http://"]),
    "no model for ids": Mistake(["endpoint.type=completions", "endpoint.prompt=token_ids"], ["endpoint.prompt", "tokenizer.name"]),
    "a template without a tokenizer": Mistake(["tokenizer.apply_chat_template=true"], ["tokenizer.apply_chat_template", "tokenizer.name"]),
    "a data file that is not there": Mistake([*TRACE[:1], "dataset.path=gone.jsonl"], ["dataset.path", "gone.jsonl", "does not exist"]),
    "a row that is no JSON": Mistake(TRACE, ["rows.jsonl:2", "no JSON", "{'timestamp'"], [ROW, "{'timestamp': 3}"]),
    "a negative length": Mistake(TRACE, ["rows.jsonl:1", "input_length=-5", "from 1 to"], [row(input_length=-5)]),
    "more ids than blocks": Mistake(TRACE, ["rows.jsonl:3", "hash_ids has 3 ids", "at most 2"], [ROW, ROW, row(hash_ids=[1, 2, 3])]),
    "a time that is text": Mistake(TRACE, ["rows.jsonl:1", 'timestamp="soon"', "milliseconds"], [row(timestamp="soon")]),
    "two kinds of prompt in a row": Mistake(TRACE, ["rows.jsonl:1", "text_input", "input_length"], [row(text_input="hello")]),
    "a session": Mistake(TRACE, ["rows.jsonl:2", "session_id", '"a"'], [ROW, row(session_id="a")]),
    "rows with and without times": Mistake(TRACE, ["rows.jsonl", "1 of 2 rows", "timestamp"], [ROW, {"input_length": 4}]),
    "a span that holds no row": Mistake([*TRACE, "timing.start_s=99"], ["timing.start_s=99", "the trace goes from"], [ROW, ROW]),
    "a draw of rows at their own times": Mistake(
        [*TRACE, "timing=fixed_schedule", "dataset.sampling=random"], ["dataset.sampling", "fixed_schedule", "random"], [ROW]
    ),
    "a tokenizer that is not there": Mistake(["tokenizer.name=./no/such/folder"], ["tokenizer.name", "./no/such/folder"]),
}


def prepare(mistake: Mistake, folder: Path) -> None:
    """Write what the mistake is in."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in mistake.rows]
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    mistake = MISTAKES[name]
    prepare(mistake, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(mistake.arguments) == 2
    said = capsys.readouterr().err
    assert [word for word in mistake.said if word not in said] == [], said
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.jsonl"]

"""Runs with parts of other packages that misbehave: they end, and say whose fault it was."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from running import QUICK, Finished, ran

ENDPOINT = """
import json, sys, threading, time
from aiperf.common.models import ParsedResponse
from aiperf.endpoints.base_endpoint import BaseEndpoint
from aiperf.endpoints.completions import CompletionsEndpoint

COUNT = [0]


class Theirs(BaseEndpoint):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        threading.Thread(target=time.sleep, args=(3600,)).start()

    def format_payload(self, request_info):
        COUNT[0] += 1
        if "generator" in " ".join(sys.orig_argv) and COUNT[0] % 4 == 0:
            raise KeyboardInterrupt("of its own")
        sys.stdout.buffer.write(b"printed by theirs")
        self.info("said by theirs")
        return {"model": self.model_endpoint.primary_model_name, "prompt": "a b c", "stream": True, "max_tokens": 4}

    def parse_response(self, response):
        data = self.try_extract_text(response.get_json() or {})
        return data and ParsedResponse(perf_ns=response.perf_ns, data=data)


class Ours(CompletionsEndpoint):
    def body(self, turn):
        COUNT[0] += 1
        return super().body(turn) if COUNT[0] % 4 else "no bytes"

    def answer(self, exchange):
        return None if "processor" in " ".join(sys.orig_argv) else super().answer(exchange)


class Picky(Theirs):
    def format_payload(self, request_info):
        prompt = json.loads(request_info.turns[-1].texts[0].contents[0])["asked"]
        return {"model": self.model_endpoint.primary_model_name, "prompt": prompt, "stream": True, "max_tokens": 4}


class NoHint(CompletionsEndpoint):
    token_hint = "data"
"""
COMPOSER = """
import threading
from aiperf.dataset.synthetic import SyntheticDatasetComposer


class Locked(SyntheticDatasetComposer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.lock = threading.Lock()
"""
ABOUT = (
    "metadata: {endpoint_path: /v1/completions, supports_streaming: true, produces_tokens: true, tokenizes_input: true, metrics_title: A}"
)
MANIFEST = f"""
schema_version: "1.0"
endpoint:
  theirs: {{class: "mine.endpoint:Theirs", description: Of the documented interface., {ABOUT}}}
  ours: {{class: "mine.endpoint:Ours", description: Of ours., {ABOUT}}}
  picky: {{class: "mine.endpoint:Picky", description: It needs JSON in a text., {ABOUT}}}
  no_hint: {{class: "mine.endpoint:NoHint", description: Of ours., {ABOUT}}}
dataset_composer:
  locked: {{class: "mine.composer:Locked", description: It cannot be packed., metadata: {{needs_file: false}}}}
"""
Run = Callable[..., Finished]


@pytest.fixture
def run(installed, tmp_path) -> Run:
    """A quick run with that package installed."""
    site: Path = installed({"mine/plugins.yaml": MANIFEST, "mine/endpoint.py": ENDPOINT, "mine/composer.py": COMPOSER})
    paths = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    return lambda *arguments: ran(tmp_path / "outputs", *QUICK, "timing.stop.requests=20", *arguments, PYTHONPATH=paths)


def one_line(done: Finished) -> str:
    (line,) = done.err.splitlines()
    return line


def test_an_endpoint_that_raises_prints_and_leaves_threads_behind_costs_its_requests(run: Run):
    done = run("endpoint.type=theirs")
    assert (done.summary["errors"], done.summary["counts"]["good"]) == ({"client": 5}, 15)
    assert done.summary["samples"]["client"].startswith("endpoint:theirs of my-plugins: KeyboardInterrupt: of its own (mine/endpoint.py:")
    log = (done.folder / "trials/0001/run.log").read_text()
    assert "endpoint:theirs of my-plugins printed: printed by theirs" in log
    assert "said by theirs" in log
    assert "printed by theirs" not in done.out
    assert "Traceback" not in done.out + done.err + log


def test_an_endpoint_that_returns_nonsense_costs_its_requests(run: Run):
    done = run("endpoint.type=ours")
    assert (done.summary["errors"], done.summary["counts"]["sent"]) == ({"client": 20}, 15)
    reasons = set(done.records["reason"].to_pylist())
    assert {reason[: reason.index(" returned ")] for reason in reasons} == {
        "endpoint:ours of my-plugins: body", "endpoint:ours of my-plugins: answer"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (
            "endpoint.type=no_hint",
            "aiperf: endpoint:no_hint of my-plugins: token_hint returned no bytes but a str: 'data' (mine.endpoint:NoHint)",
        ),
        (
            "dataset.type=locked",
            "aiperf: dataset_composer:locked of my-plugins: TypeError: cannot pickle '_thread.lock' object (mine.composer:Locked)",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_load(run: Run, what: str, line: str):
    done = run(what)
    assert (done.code, one_line(done)) == (2, line)
    assert not list(done.folder.glob("trials/0001/spool/*"))


def test_a_dry_run_says_what_cannot_be_made(run: Run):
    done = run("endpoint.type=ours", "--dry-run")
    assert done.code == 1
    assert one_line(done).startswith("aiperf: 1 of 5 requests cannot be made, such as: endpoint:ours of my-plugins: body returned no bytes")


def test_an_endpoint_that_needs_rows_of_a_shape_is_probed_with_the_data(run: Run, tmp_path: Path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": json.dumps({"asked": f"{i} words"})}) + "\n" for i in range(20)))
    done = run("endpoint.type=picky", "dataset=file", f"dataset.path={rows}")
    assert (done.summary["errors"], done.summary["counts"]["good"]) == ({}, 20)
    assert one_line(run("endpoint.type=picky")).startswith("aiperf: endpoint:picky of my-plugins: JSONDecodeError: ")

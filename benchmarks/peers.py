"""How do others carry the loads of capacity.py? Their rates by truth's own log, of floor.py's in the same minute.

    PEERS=dir python benchmarks/peers.py [--goes N]

Those are asked whose virtual environment is there: dir/aiperf, dir/guidellm, dir/inference-perf. What a peer sends before
its load (a probe) does not count. One that fails, hangs or sends something else is named with its last line, ended with
all that it started, and not asked again.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import truth_log
from harness import Figures, Table, alternate, floor, truth
from startup import tokenizer

IN_FLIGHT, TOKENS = 64, {"plain": 16, "streams": 32}
REQUESTS, PEER_REQUESTS = {"plain": 60_000, "streams": 15_000}, {"plain": 5000, "streams": 2500}
PROMPT_TOKENS, PROMPTS = 100, 1000
TIMEOUT_S, LINE = 120, 100
SERVED = 0.99
"""Share of the requests that truth must have answered whole: a peer may let go of the last ones when it has its count."""


class PeerError(Exception):
    """A peer has no figure; why."""


def with_aiperf(environment: Path, url: str, kind: str, folder: Path) -> list[str]:
    """Without its screen; the server counts. It drops from its prompts what the tokenizer does not know, so they are the shortest."""
    return [
        f"{environment}/bin/aiperf", "profile", "--model", "truth", "--url", url, "--endpoint-type", "chat",
        "--tokenizer", str(tokenizer(folder / "words")), "--use-server-token-count", "--ui", "none",
        "--artifact-dir", str(folder / "theirs"), "--concurrency", str(IN_FLIGHT), "--request-count", str(PEER_REQUESTS[kind]),
        "--output-tokens-mean", str(TOKENS[kind]),
        "--synthetic-input-tokens-mean", str(PROMPT_TOKENS), *(["--streaming"] if kind == "streams" else []),
    ]  # fmt: skip


def with_guidellm(environment: Path, url: str, kind: str, folder: Path) -> list[str]:
    """Prompts from a file, so that it needs no tokenizer; a process a core, with which it is faster than with its own ten."""
    rows = ({"prompt": f"{row}" + " the" * (PROMPT_TOKENS - 1), "output_tokens_count": TOKENS[kind]} for row in range(PEER_REQUESTS[kind]))
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    backend = f"kind=openai_http,target={url},model=truth,request_format=/v1/chat/completions,stream={str(kind == 'streams').lower()}"
    return [
        "env", f"GUIDELLM__MAX_WORKER_PROCESSES={len(os.sched_getaffinity(0))}", f"{environment}/bin/guidellm", "run",
        "--backend", backend, "--profile", f"kind=concurrent,streams={IN_FLIGHT}",
        "--constraint", f"kind=max_requests,count={PEER_REQUESTS[kind]}", "--data", f"kind=json_file,path={folder}/prompts.jsonl",
        "--output", f"kind=json,path={folder}/theirs.json", "--disable-console",
    ]  # fmt: skip


def with_inference_perf(environment: Path, url: str, kind: str, folder: Path) -> list[str]:
    """Its made-up text goes to chat only beside a count of images, which is 0; a process a core, as it would have by itself."""
    asked = {
        "api": {"type": "chat", "streaming": kind == "streams"},
        "data": {
            "type": "shared_prefix",
            "shared_prefix": {
                "num_groups": 1, "num_prompts_per_group": PROMPTS, "system_prompt_len": 1, "question_len": PROMPT_TOKENS - 1,
                "output_len": TOKENS[kind], "multimodal": {"image": {"count": {"type": "fixed", "min": 0, "max": 0, "mean": 0}}},
            },
        },
        "load": {
            "type": "concurrent", "num_workers": len(os.sched_getaffinity(0)),
            "stages": [{"num_requests": PEER_REQUESTS[kind], "concurrency_level": IN_FLIGHT}],
        },
        "server": {"type": "vllm", "model_name": "truth", "base_url": url},
        "tokenizer": {"pretrained_model_name_or_path": str(tokenizer(folder / "words"))},
        "storage": {"local_storage": {"path": str(folder / "theirs")}},
    }  # fmt: skip
    (folder / "asked.yaml").write_text(json.dumps(asked))
    return [f"{environment}/bin/inference-perf", "-c", str(folder / "asked.yaml")]


CALLS = {"aiperf": with_aiperf, "guidellm": with_guidellm, "inference-perf": with_inference_perf}
"""How each is called; what its environment is called."""


def run(words: Sequence[str], folder: Path, seconds: float = TIMEOUT_S) -> None:
    """Runs a peer to its end and ends whatever it leaves running. Raises PeerError."""
    with (folder / "said").open("w+b") as said:
        try:
            process = subprocess.Popen(words, cwd=folder, stdout=said, stderr=subprocess.STDOUT, start_new_session=True)
        except OSError as error:
            raise PeerError(str(error)) from error
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise PeerError(f"not over after {seconds:g} s") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if code:
        lines = (folder / "said").read_text(errors="replace").split("\n")
        raise PeerError(next((line.strip()[:LINE] for line in reversed(lines) if line.strip()), f"exit {code}"))


def rate(rows: NDArray, kind: str) -> float:
    """Requests a second of a peer's load: the last to arrive of those that are of its kind. Raises PeerError if too few are."""
    fit = rows[(rows["stream"] == (kind == "streams")) & (rows["tokens"] == TOKENS[kind])]
    fit = fit[np.argsort(fit["arrived"])][-PEER_REQUESTS[kind] :]
    if len(fit) < SERVED * PEER_REQUESTS[kind]:
        raise PeerError(f"sent {len(fit)} of {PEER_REQUESTS[kind]} requests, and {len(rows) - len(fit)} others")
    return truth_log.rate(fit)


@dataclass
class Peers:
    """The peers whose environments are there, and why one has no figure for a load."""

    there: dict[str, Path]
    failed: dict[str, str] = field(default_factory=dict)

    def go(self, folder: Path) -> Figures:
        """Each one's rate of each load, without those that failed."""
        found: Figures = {}
        for name in self.there:
            for kind in (kind for kind in TOKENS if f"{kind}_{name}" not in self.failed):
                try:
                    found[f"{kind}_{name}"] = self._rate(name, kind, folder)
                except PeerError as error:
                    self.failed[f"{kind}_{name}"] = str(error)
        return found

    def _rate(self, name: str, kind: str, folder: Path) -> float:
        place = folder / f"{kind}-{name}"
        place.mkdir()
        with truth(place, 0, 0) as server:
            run(CALLS[name](self.there[name], server.url, kind, place), place)
            server.end()
            return rate(np.fromfile(server.log, dtype=truth_log.ROW), kind)

    def note(self, table: Table, goes: Sequence[Figures], kind: str) -> None:
        """A row for each: its best rate, of floor's, and how often that goes into ours where ours is known; or why there is none."""
        ours, bare = max(one.get(kind, 0.0) for one in goes), best(goes, f"{kind}_floor")
        for name in self.there:
            failed = self.failed.get(f"{kind}_{name}")
            table.note(f"  {name}, of floor's", f"failed: {failed}" if failed else compared(best(goes, f"{kind}_{name}"), bare, ours))


def compared(theirs: float, bare: float, ours: float) -> str:
    return f"{theirs / bare:.4f} ({theirs:,.0f}/s" + (f"; ours is {ours / theirs:.1f} times that)" if ours else ")")


def best(goes: Sequence[Figures], name: str) -> float:
    return max(one[name] for one in goes)


def present() -> Peers:
    """Those that PEERS gives."""
    given = os.environ.get("PEERS")
    return Peers({name: Path(given).absolute() / name for name in CALLS if given and (Path(given) / name).exists()})


def bare(folder: Path) -> Figures:
    """Floor's rate of each load."""
    found: Figures = {}
    for kind in TOKENS:
        with truth(folder, 0, 0) as server:
            words = ("--stream",) if kind == "streams" else ()
            found[f"{kind}_floor"] = floor(server.port, IN_FLIGHT, REQUESTS[kind], TOKENS[kind], *words)["req_per_s"]
    return found


def main() -> None:
    peers = present()
    goes = alternate(lambda folder: bare(folder) | peers.go(folder))
    table = Table("Peers: what they carry, of what a bare client does on the same server")
    for kind in TOKENS:
        table.note(f"{kind}, {IN_FLIGHT} in flight: floor", f"{best(goes, f'{kind}_floor'):,.0f}/s")
        peers.note(table, goes, kind)
    table.close()


if __name__ == "__main__":
    main()

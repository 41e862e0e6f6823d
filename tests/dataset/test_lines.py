import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.dataset import rows
from aiperf.dataset.rows import Lines, scan, stamp
from aiperf.errors import ConfigError, DataError

PIECES = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bc", b" ", b"\xef\xbb\xbf", b"\xc3\xbc"]), max_size=30)


@given(PIECES, st.sampled_from([1, 2, 3, 7, 100]))
def test_lines_are_those_of_the_file_however_it_is_read(tmp_path_factory, pieces: list[bytes], chunk: int) -> None:
    whole = b"".join(pieces)
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_CHUNK_BYTES", chunk)
        found = list(scan(path))
    wanted = enumerate(whole.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
    assert [(line.number, line.text) for line in found] == [(number, text) for number, text in wanted if text.strip()]
    starts, sizes = (np.array(column, dtype=np.int64) for column in ([line.start for line in found], [len(line.text) for line in found]))
    index = pickle.loads(pickle.dumps(Lines(path, stamp(path), starts, sizes)))  # noqa: S301 - our own bytes
    assert [index.read(i) for i in reversed(range(len(found)))] == [line.text for line in reversed(found)]


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(rows, "LONGEST_BYTES", 3 << 20)
    path = tmp_path / "endless.jsonl"
    path.write_bytes(b"{}\n{}\n" + b" " * (5 << 20))
    with pytest.raises(DataError, match=r"endless\.jsonl:3: is longer than 3 MB; expected a JSON object a line"):
        list(scan(path))


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    for read in (stamp, lambda path: next(scan(path))):
        with pytest.raises(ConfigError, match=r"gone\.jsonl: cannot be read \(No such file"):
            read(tmp_path / "gone.jsonl")


LARGE = """
import sys
from pathlib import Path
import numpy as np
from aiperf.config.dataset import Dataset
from aiperf.dataset.bank import Wording
from aiperf.dataset.custom import CustomDatasetComposer

def peak_kb():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before = peak_kb()
source = CustomDatasetComposer(Dataset(type="custom", path=sys.argv[1]), seed=1, wording=Wording())
for i in range(len(source.due_ns())):
    turn = source.turn(i, warmup=False)
    assert len(turn.text) == 300_000 and turn.text.startswith(f"{i} ")
print(peak_kb() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux")
@pytest.mark.parametrize("field", ["text", "text_input"])
def test_a_file_larger_than_memory_is_loaded_and_played_with_flat_memory(tmp_path: Path, field: str) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for i in range(500):
            file.write(f'{{"{field}": "{f"{i} ".ljust(300_000, "x")}", "delay": 2}}\n')
    done = subprocess.run([sys.executable, "-c", LARGE, path], capture_output=True, text=True, check=False)
    path.unlink()
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 40_000

"""Is a mistake told as quickly as a good file is found good? Each of tests/cli/test_cli_mistakes.py against `aiperf validate`."""

import subprocess
import sys
import time
from pathlib import Path

from harness import CHECKOUT, Figures, Table, alternate, command, worst
from startup import seconds

sys.path.insert(0, str(CHECKOUT / "tests" / "cli"))
from test_cli_mistakes import MISTAKES, prepare

LIMIT = 1.6


def told_s(name: str, folder: Path) -> float:
    """How long a mistake takes to be told; it must end with 2 and no traceback."""
    mistake = MISTAKES[name]
    prepare(mistake, folder)
    began = time.perf_counter()
    done = subprocess.run(command(*mistake.arguments), cwd=folder, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    return took


def go(folder: Path) -> Figures:
    return {name.replace(" ", "_"): told_s(name, folder) / seconds(command("validate", "experiment=quickstart")) for name in MISTAKES}


def main() -> None:
    goes = alternate(go)
    table = Table(f"{len(MISTAKES)} mistakes, each of `aiperf validate experiment=quickstart`")
    found = {name: sorted(one[name] for one in goes)[len(goes) // 2] for name in goes[0]}
    for name, ratio in found.items():
        table.at_most(name.replace("_", " "), ratio, LIMIT)
    table.note("the worst go", f"{max(worst(goes, name) for name in found):.2f}")
    table.close()


if __name__ == "__main__":
    main()

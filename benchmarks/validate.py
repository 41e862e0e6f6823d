"""Is `aiperf validate` quick, and does it leave the heavy libraries alone? `--help` likewise."""

import json
import subprocess
import sys
from pathlib import Path

from harness import CHECKOUT, Figures, Table, alternate, command, median
from startup import seconds

IMPORTS = "import hydra, pydantic"
LIMIT = 1.6
HEAVY = ("ray", "optuna", "duckdb", "altair", "scipy", "transformers")
AS_MAIN = """
import json, runpy, sys
sys.argv = ["aiperf", *sys.argv[1:]]
try:
    runpy.run_module("aiperf", run_name="__main__", alter_sys=True)
finally:
    print("\\n" + json.dumps(sorted(sys.modules)))
"""


def imported(*words: str) -> list[str]:
    """Which heavy libraries a command has imported when it ends."""
    done = subprocess.run([sys.executable, "-c", AS_MAIN, *words], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    modules = json.loads(done.stdout.splitlines()[-1])
    return [name for name in HEAVY if name in modules]


def go(_: Path) -> Figures:
    ours = seconds(command("validate", "experiment=quickstart"))
    imports = seconds([sys.executable, "-c", IMPORTS])
    return {"ours_s": ours, "imports_s": imports, "share": ours / imports}


def main() -> None:
    goes = alternate(go)
    table = Table("aiperf validate experiment=quickstart")
    table.at_most(f"of {IMPORTS!r}", median(goes, "share"), LIMIT)
    table.equal("heavy libraries imported by validate", imported("validate", "experiment=quickstart"), [])
    table.equal("heavy libraries imported by --help", imported("--help"), [])
    table.note("ours, imports", f"{median(goes, 'ours_s'):.3f} s, {median(goes, 'imports_s'):.3f} s")
    table.close()


if __name__ == "__main__":
    main()

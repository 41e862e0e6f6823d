"""How long do the README's two commands take in a fresh environment, and what do they install?

The commands are the fenced blocks after `<!-- run -->` and `<!-- test -->`, run as they stand there.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from harness import CHECKOUT, Table

LIMIT_S, LIMIT_MB = 300, 30
SIZES = """
import json
from importlib.metadata import distributions
def size(one):
    places = (one.locate_file(name) for name in one.files or [])
    return sum(place.stat().st_size for place in places if place.is_file())
print(json.dumps({one.metadata["Name"]: size(one) / 1e6 for one in distributions()}))
"""


def block(marker: str) -> str:
    """The README's fenced block after a marker."""
    found = re.search(rf"<!-- {marker} -->\s*```\w*\n(.*?)```", (CHECKOUT / "README.md").read_text(), re.DOTALL)
    if found is None:
        raise SystemExit(f"README.md has no fenced block after <!-- {marker} -->")
    return found[1]


def inside(venv: Path) -> dict[str, str]:
    """The environment of a shell in which the venv is active."""
    return os.environ | {"VIRTUAL_ENV": str(venv), "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def timed(script: str, venv: Path) -> float:
    """Seconds that a block takes. Raises CalledProcessError if it fails."""
    began = time.perf_counter()
    subprocess.run(["bash", "-euc", script], cwd=CHECKOUT, env=inside(venv), check=True, stdout=sys.stderr)
    return time.perf_counter() - began


def folded(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def designed() -> set[str]:
    """The packages that a plain install is asked for."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return {folded(re.split(r"[^\w.-]", one)[0]) for one in project["dependencies"]}


def sizes(venv: Path) -> dict[str, float]:
    """Megabytes of every installed package."""
    said = subprocess.run([venv / "bin" / "python", "-c", SIZES], capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(said)
    return {folded(name): size for name, size in found.items()}


def main() -> None:
    table = Table("The README's two commands in a fresh environment")
    with tempfile.TemporaryDirectory(prefix="aiperf-install-") as folder:
        venv = Path(folder) / "venv"
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        run, after_run = timed(block("run"), venv), sizes(venv)
        test = timed(block("test"), venv)
    table.at_most("both commands", run + test, LIMIT_S, "s")
    table.note("the one that runs, the one that tests", f"{run:.0f} s, {test:.0f} s")
    strangers = {name: round(size) for name, size in after_run.items() if size > LIMIT_MB and name not in designed()}
    table.equal(f"packages over {LIMIT_MB} MB that the design does not name", strangers, {})
    table.equal("packages of the design that are missing", sorted(designed() - after_run.keys()), [])
    table.note("installed", f"{sum(after_run.values()) / 1e3:.2f} GB in {len(after_run)} packages")
    for name, size in sorted(after_run.items(), key=lambda item: -item[1])[:10]:
        table.note(f"  {name}", f"{size:.0f} MB")
    table.close()


if __name__ == "__main__":
    main()

"""What the README shows is what there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from aiperf.config.compose import load


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def block(text: str, language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[number]


def test_the_two_commands_stand_behind_their_markers(readme: str) -> None:
    run = re.search(r"<!-- run -->\n```bash\n(.*)\n```", readme)
    test = re.search(r"<!-- test -->\n```bash\n(.*)\n```", readme)
    assert run is not None
    assert "python -m aiperf experiment=quickstart" in run[1]
    assert test is not None
    assert "python -m pytest" in test[1]


def test_the_ten_lines_are_an_experiment(readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = block(readme, "yaml")
    assert len(lines.splitlines()) <= 11
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments/mine.yaml").write_text(lines, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    made = load(["experiment=mine"]).experiment
    quickstart = load(["experiment=quickstart"]).experiment
    assert made.timing == quickstart.timing
    assert made.endpoint == quickstart.endpoint
    assert (made.name, made.seed) == ("mine", quickstart.seed)


def test_the_command_for_a_real_server_is_one(readme: str) -> None:
    words = block(readme, "bash", 2).split()
    assert words[:3] == ["python", "-m", "aiperf"]
    done = subprocess.run([sys.executable, "-m", "aiperf", "validate", *words[3:]], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_exit_code_and_file_that_it_names_is_real(readme: str, root: Path) -> None:
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (root / path).exists(), path

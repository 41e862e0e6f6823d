"""The plumbing of benchmarks/: what a go is, when one is repeated, and what a missed figure does. Their figures are theirs."""

from importlib import import_module
from pathlib import Path

import pytest

harness = pytest.importorskip("harness", reason="benchmarks/ is not beside tests/")
SCRIPTS = sorted(path.stem for path in Path(harness.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_is_importable_and_says_what_it_shows(name):
    assert import_module(name).__doc__


def test_the_table_of_contents_is_whole(root):
    text = (root / "benchmarks" / "README.md").read_text()
    tools = {"harness", "floor", "bare_mixed", "replay_floor", "truth_log"}
    assert [name for name in SCRIPTS if name not in tools and f"`python benchmarks/{name}.py" not in text] == []


def test_noise_is_repeated_in_a_folder_of_its_own(capsys):
    folders, quiet = [], iter([False, True, False, True])

    def go(folder):
        folders.append(folder)
        if not next(quiet):
            raise harness.NoiseError
        return {"figure": len(folders)}

    found = harness.alternate(go, goes=2)
    assert [one["figure"] for one in found] == [2, 4]
    assert len(set(folders)) == 4
    assert not any(folder.exists() for folder in folders)
    assert "go 1: noise of the machine, repeated" in capsys.readouterr().out


def test_nothing_but_noise_ends_it():
    def go(_):
        raise harness.NoiseError

    with pytest.raises(SystemExit, match="only 0 of 1 goes"):
        harness.alternate(go, goes=1)


@pytest.mark.parametrize(("value", "code"), [(1.0, 0), (1.1, 1), (float("nan"), 1)])
def test_a_missed_figure_ends_with_1(value, code, capsys):
    table = harness.Table("title")
    table.at_most("what", value, 1)
    table.note("beside", 3)
    with pytest.raises(SystemExit) as ended:
        table.close()
    assert ended.value.code == code
    assert ("FAIL" if code else "PASS") in capsys.readouterr().out


def test_medians_and_extremes():
    goes = [{"x": 3.0}, {"x": 1.0}, {"x": 9.0}]
    assert (harness.median(goes, "x"), harness.worst(goes, "x"), harness.least(goes, "x")) == (3, 9, 1)

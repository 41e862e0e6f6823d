"""A package that `aiperf plugins new` writes is whole: it installs, validates and keeps its contract."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from string import Template

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.plugin import plugins, scaffold
from aiperf.plugin.types import PluginError

CATEGORIES = {
    "arrival_pattern", "custom_dataset_loader", "data_exporter", "dataset_sampler", "endpoint", "record_processor", "results_processor",
}  # fmt: skip


def installed(folder: Path, site: Path) -> dict[str, str]:
    """The environment of a process that sees the package as pip would have left it: the code, and beside it its dist-info."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    ((group, points),) = project["entry-points"].items()
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text("".join([f"[{group}]\n", *(f"{name} = {value}\n" for name, value in points.items())]))
    for package in (folder / "src").iterdir():
        package.rename(site / package.name)
    return {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}


def test_every_template_works_once_installed(tmp_path):
    """All at once: most of the time of one would go into its imports."""
    for category in scaffold.known():
        scaffold.write(category, f"my_{category}", tmp_path / category)
        environment = installed(tmp_path / category, tmp_path / "site")
    tests = [str(path) for path in tmp_path.glob("*/tests")]
    for words in (["aiperf", "plugins", "--validate", "--import"], ["pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *tests]):
        done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(tests) == len(CATEGORIES)
    assert " passed" in done.stdout


def test_the_documented_categories_are_known():
    assert set(scaffold.known()) == CATEGORIES <= set(plugins.categories())


@pytest.mark.parametrize("category", scaffold.known())
@pytest.mark.parametrize("name", ["x", "my_own_2"])
def test_what_is_written_is_python_and_is_told(category, name, tmp_path):
    folder, files = scaffold.write(category, name, tmp_path / "deep/er")
    assert folder == tmp_path / "deep/er"
    assert sorted(files) == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert sorted(files) == sorted(
        ["pyproject.toml", f"src/aiperf_{name}/__init__.py", f"src/aiperf_{name}/plugins.yaml", f"src/aiperf_{name}/{name}.py",
         f"tests/test_{name}.py"]
    )  # fmt: skip
    for path in folder.rglob("*"):
        if path.is_file():
            assert not Template(path.read_text()).get_identifiers()
    for path in folder.rglob("*.py"):
        compile(path.read_text(), path, "exec")


def test_the_folder_is_called_after_the_plugin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert scaffold.write("Dataset-Sampler", "my_own")[0] == Path("aiperf-my-own")
    assert tomllib.loads(Path("aiperf-my-own/pyproject.toml").read_text())["project"]["name"] == "aiperf-my-own"


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        with pytest.raises(PluginError, match="is there already"):
            scaffold.write("endpoint", "echo", tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "file", "full"]
    (tmp_path / "empty").mkdir()
    assert scaffold.write("endpoint", "echo", tmp_path / "empty")[0].is_dir()


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PluginError, match=r"file/below.* cannot be written: Not a directory"):
        scaffold.write("endpoint", "echo", tmp_path / "file/below/x")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("My-Echo", "my_echo"),
        ("class", "my_class"),
        ("2fast", "my_2fast"),
        ("_x", "x"),
        ("a b", "a_b"),
        ("é", "mine"),
        ("", "mine"),
        ("../x", "x"),
    ],
)
def test_a_name_that_is_no_module_comes_back_with_one_that_is(name, meant, tmp_path):
    with pytest.raises(PluginError) as caught:
        scaffold.write("endpoint", name, tmp_path / "new")
    assert str(caught.value) == f"{name!r} cannot be the name of a module; {meant!r} can"
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=12))
def test_a_proposal_is_taken(name):
    try:
        scaffold._check(name)
    except PluginError as exc:
        scaffold._check(str(exc).split("'")[-2])


@pytest.mark.parametrize(
    ("category", "name", "said"),
    [
        ("plot", "mine", "no package can be begun for plot; for these it can: arrival_pattern, custom_dataset_loader"),
        ("service", "mine", "no package can be begun for service"),
        ("endpont", "mine", "Did you mean 'endpoint'"),
        ("record_processor", "sent_ns", "sent_ns is a column of the records already"),
        ("results_processor", "request_latency", "request_latency is the name of a record_processor already"),
    ],
)
def test_what_could_not_be_used_is_not_written(category, name, said, tmp_path):
    with pytest.raises(PluginError, match=said):
        scaffold.write(category, name, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []

"""A campaign's folder: never shared, never half written."""

import json
import os
import re
from pathlib import Path

import pytest

from aiperf.errors import ConfigError, MeasureError
from aiperf.store import campaign as store
from aiperf.store.campaign import Campaign


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    return store.create(str(tmp_path), "name", store.run_name())


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_says_what_and_when_and_which(campaign: Campaign, tmp_path: Path) -> None:
    assert campaign.folder.parent == tmp_path / "name"
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", campaign.folder.name)
    assert campaign.spool.is_dir()
    assert {campaign.trial, campaign.records.parent, campaign.plan.parent} == {campaign.folder / "trials/0001"}


def test_run_names_differ() -> None:
    assert len({store.run_name() for _ in range(100)}) > 95


def test_a_finished_run_is_never_written_into_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = store.clock.utc(1_800_000_000_000_000_000)
    monkeypatch.setattr(store.clock, "utc", lambda: at)
    store.create(str(tmp_path), "name", "abc123").drop_spool()
    with pytest.raises(ConfigError, match="cannot be made"):
        store.create(str(tmp_path), "name", "abc123")
    store.create(str(tmp_path), "name", "abc124")


def test_where_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"output\.dir: .*file.* cannot be made \(Not a directory\)"):
        store.create(str(tmp_path / "file"), "name", "abc123")


def test_files_are_written_whole_and_may_be_below(campaign: Campaign) -> None:
    campaign.write("a/b.txt", "ü")
    campaign.write("a/b.txt", b"\xff")
    assert (campaign.folder / "a/b.txt").read_bytes() == b"\xff"
    assert files(campaign.folder) == ["a/b.txt"]


def test_what_is_no_number_becomes_null(campaign: Campaign) -> None:
    campaign.write_json("r.json", {"a": float("nan"), "b": [float("inf"), 1.5], "path": Path("x"), "word": "ü"})
    text = (campaign.folder / "r.json").read_text()
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "path": "x", "word": "ü"}
    assert "NaN" not in text


@pytest.mark.parametrize("name", ["taken", "file/below"])
def test_a_refusal_is_told_and_leaves_nothing_behind(campaign: Campaign, name: str) -> None:
    (campaign.folder / "taken").mkdir()
    (campaign.folder / "file").write_text("")
    with pytest.raises(MeasureError, match="cannot be written"):
        campaign.write(name, "content")
    assert files(campaign.folder) == ["file"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told(campaign: Campaign) -> None:
    os.symlink("/dev/full", campaign.folder / "r.json.part")  # noqa: PTH211 - as short as it gets
    with pytest.raises(MeasureError, match="No space left on device"):
        campaign.write("r.json", "content")
    assert files(campaign.folder) == []


def test_raw_bytes_and_records_are_dropped_whole(campaign: Campaign) -> None:
    for folder in (campaign.spool, campaign.records):
        folder.mkdir(exist_ok=True)
        (folder / "one").write_bytes(b"x")
    campaign.drop_spool()
    campaign.drop_records()
    campaign.drop_records()
    assert not campaign.spool.exists()
    assert not campaign.records.exists()

from pathlib import Path

import pytest

from aiperf.errors import ConfigError
from aiperf.paths import data_file, safe_read_template_path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "template.txt"
    path.write_text("héllo", encoding="utf-8")
    return path


def test_a_file_is_read(text: Path) -> None:
    assert safe_read_template_path(str(text)) == "héllo"
    assert safe_read_template_path(text) == "héllo"


def test_home_is_understood(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(text.parent))
    assert safe_read_template_path("~/template.txt") == "héllo"


@pytest.mark.parametrize("value", [None, 3, b"x", "", "  ", "~nobody-of-this-name/x", "no such file", "a\0b", "{{ messages }}", "x" * 5000])
def test_what_names_no_file_is_a_literal(value: object) -> None:
    assert safe_read_template_path(value) is None


def test_a_folder_is_a_literal(tmp_path: Path) -> None:
    assert safe_read_template_path(str(tmp_path)) is None


def test_what_is_no_text_is_a_literal(text: Path) -> None:
    text.write_bytes(b"\xff\xfe\xfa")
    assert safe_read_template_path(str(text)) is None


def test_a_link_and_what_lies_below_one_are_literals(text: Path) -> None:
    link, folder = text.parent / "link.txt", text.parent / "folder"
    link.symlink_to(text)
    folder.symlink_to(text.parent)
    assert safe_read_template_path(str(link)) is None
    assert safe_read_template_path(str(folder / "template.txt")) is None


def test_a_data_file_is_found(text: Path) -> None:
    assert data_file(str(text), "dataset.path") == text


def test_a_packaged_data_file_is_found() -> None:
    assert data_file("pkg://samples/mooncake_200.jsonl", "dataset.path").stat().st_size > 0


@pytest.mark.parametrize(("name", "reason"), [("absent", "does not exist"), (".", "no regular file"), ("link", "symbolic link")])
def test_a_data_file_is_refused_with_its_key_and_the_reason(text: Path, name: str, reason: str) -> None:
    (text.parent / "link").symlink_to(text)
    with pytest.raises(ConfigError, match=rf"dataset\.path: .*{reason}"):
        data_file(str(text.parent / name), "dataset.path")


def test_a_packaged_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"pkg://samples/none does not come with aiperf"):
        data_file("pkg://samples/none", "dataset.path")

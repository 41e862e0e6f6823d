from collections.abc import Callable
from pathlib import Path

import pytest

from aiperf.config.compose import Composed, load
from aiperf.errors import ConfigError

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without files of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, text: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return written


@pytest.fixture
def problems() -> Callable[..., tuple[str, ...]]:
    def found(*arguments: str) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            load(arguments)
        return caught.value.problems

    return found


@pytest.fixture
def compose() -> Callable[..., Composed]:
    return lambda *arguments: load(arguments)

"""What all tests share."""

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from aiperf.plugin import plugins

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))  # benchmarks are scripts beside each other, not a package

# A shared machine pauses tests for longer than hypothesis believes an example may take; a failure is printed to be repeated.
settings.register_profile("shared", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Packages as pip leaves them: `installed({"mine/plugins.yaml": …, "mine/echo.py": …}, name="my-plugins")`, several if need be.

    The entry points are `name = "<the first folder>:plugins.yaml"` if none are given. Afterwards all of it is forgotten.
    """
    sites: list[str] = []

    def install(
        files: Mapping[str, str | bytes], *, name: str = "my-plugins", version: str = "0.1.0", entry_points: Mapping[str, str] | None = None
    ) -> Path:
        site = tmp_path_factory.mktemp("site")
        top = next(iter(files)).partition("/")[0]
        points = {name: f"{top}:plugins.yaml"} if entry_points is None else entry_points
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        about = {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: What it is for.\n",
            f"{info}/entry_points.txt": "\n".join(["[aiperf.plugins]", *(f"{point} = {value}" for point, value in points.items()), ""]),
            f"{info}/RECORD": "",
        }
        for path, content in {f"{top}/__init__.py": "", **files, **about}.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_bytes(content.encode() if isinstance(content, str) else content)
        sites.append(str(site))
        patch.syspath_prepend(site)
        plugins.reset_registry()
        return site

    with pytest.MonkeyPatch.context() as patch:
        yield install
    theirs = [name for name, module in sys.modules.items() if (getattr(module, "__file__", None) or "").startswith(tuple(sites or "\0"))]
    for name in theirs:
        del sys.modules[name]
    importlib.invalidate_caches()
    plugins.reset_registry()

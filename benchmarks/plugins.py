"""What looking for plugins costs: 200 packages against the parsing of their YAML, a class asked for again; and 500 bad manifests."""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import CHECKOUT, Figures, Table, alternate, median

sys.path.insert(0, str(CHECKOUT / "tests" / "plugin"))
from test_plugin_packages import BAD as BAD_STRUCTURES
from test_plugin_packages import WHOLE

PACKAGES, PLUGINS, BAD = 200, 20, 500
MOST_OVER_PARSING = 0.5
MOST_NS = 1_000
CATEGORIES = ("endpoint", "custom_dataset_loader", "dataset_sampler", "record_processor")

MANIFEST = """schema_version: "1.0"
plugin: {{name: brought-{n}, version: 1.0.{n}}}
"""
ENTRY = """  part_{n}_{i}:
    class: brought_{n}.{category}.part_{i}:Part{i}
    description: |
      The {i}th {category} of package {n}, as a manifest would say it in two lines
      of which the second one is as long.
    priority: {priority}
"""
METADATA = {
    "endpoint": """    metadata:
      endpoint_path: /v1/part/{i}
      supports_streaming: true
      produces_tokens: true
      tokenizes_input: true
      metrics_title: Part {i}
""",
    "record_processor": "    metadata: {{unit: ms, better: lower, population: good requests, needs: []}}\n",
}

MEASURE = """
import json, sys, time, yaml
sys.path[:0] = json.loads(sys.argv[1])
import time
from pathlib import Path
from aiperf.config.experiment import Experiment
began = time.process_time()
import aiperf.plugin.schema.schemas
import importlib.metadata
imports = time.process_time() - began
texts = [path.read_bytes().decode() for path in sorted(Path(sys.path[0]).glob("brought_*/plugins.yaml"))]
cpu = time.process_time
began = cpu()
for text in texts:
    yaml.load(text, Loader=yaml.CSafeLoader)
parsing = cpu() - began
from aiperf.plugin import plugins
before = set(sys.modules)
began = cpu()
packages = plugins.list_packages()
discovery = cpu() - began
count = sum(1 for _ in plugins.iter_entries())
foreign = sorted(name for name in set(sys.modules) - before if name.startswith("brought"))
plugins.get_class("endpoint", "chat")
began = time.perf_counter_ns()
for _ in range(100_000):
    plugins.get_class("endpoint", "chat")
warm = (time.perf_counter_ns() - began) / 100_000
print(json.dumps({
    "parsing_s": parsing, "discovery_s": discovery, "packages": len(packages) - 1, "plugins": count, "foreign": foreign,
    "imports_s": imports, "warm_ns": warm, "refused": len(plugins.problems()),
}))
"""

DAMAGED = """
import json, sys
sys.path[:0] = json.loads(sys.argv[1])
from aiperf.plugin import plugins
problems = plugins.problems()
print(json.dumps({"problems": problems, "builtin": plugins.get_class("endpoint", "chat").__name__, "good": plugins.list_packages()}))
"""


def install(folder: Path, n: int, manifest: bytes) -> None:
    """What an installation leaves behind."""
    package, info = folder / f"brought_{n}", folder / f"brought_{n}-1.0.{n}.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('a package was imported')\n")
    (package / "plugins.yaml").write_bytes(manifest)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: brought-{n}\nVersion: 1.0.{n}\n")
    (info / "entry_points.txt").write_text(f"[aiperf.plugins]\nbrought-{n} = brought_{n}:plugins.yaml\n")


def manifest(n: int) -> str:
    text = MANIFEST.format(n=n)
    for place, category in enumerate(CATEGORIES):
        text += f"{category}:\n"
        for i in range(place * PLUGINS // 4, (place + 1) * PLUGINS // 4):
            text += ENTRY.format(n=n, i=i, category=category, priority=i % 3) + METADATA.get(category, "").format(i=i)
    return text


def measured(program: str, folder: Path) -> dict:
    done = subprocess.run([sys.executable, "-c", program, json.dumps([str(folder)])], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def go(folder: Path) -> Figures:
    for n in range(PACKAGES):
        install(folder, n, manifest(n).encode())
    found = measured(MEASURE, folder)
    assert (found["packages"], found["refused"], found["foreign"]) == (PACKAGES, 0, []), found
    assert found["plugins"] >= PACKAGES * PLUGINS, found
    over = found["discovery_s"] / found["parsing_s"] - 1
    return {"over_parsing": over, **{name: found[name] for name in ("warm_ns", "parsing_s", "discovery_s", "imports_s")}}


def bad(count: int) -> list[bytes]:
    """Different bad manifests: half of damaged structure, half of damaged bytes that are no YAML at all."""
    structures, texts = dict[bytes, None](), dict[bytes, None]()

    @settings(max_examples=4 * count, database=None, suppress_health_check=list(HealthCheck))
    @given(said=BAD_STRUCTURES)
    def by_structure(said: object) -> None:
        structures[yaml.safe_dump(said, allow_unicode=True).encode()] = None

    @settings(max_examples=20 * count, database=None, suppress_health_check=list(HealthCheck))
    @given(start=st.integers(0, len(WHOLE)), length=st.integers(0, 9), put=st.binary(max_size=6))
    def by_bytes(start: int, length: int, put: bytes) -> None:
        content = WHOLE[:start] + put + WHOLE[start + length :]
        try:
            yaml.safe_load(content.decode())
        except (yaml.YAMLError, UnicodeDecodeError):
            texts[content] = None

    by_structure()
    by_bytes()
    half = list(structures)[: count // 2]
    return [*half, *list(texts)[: count - len(half)]]


def damaged(table: Table) -> None:
    """Every one is refused with file, line and reason, and nothing else is lost."""
    with TemporaryDirectory() as name:
        folder, contents = Path(name), bad(BAD)
        for n, content in enumerate(contents):
            install(folder, n, content)
        install(folder, BAD, manifest(BAD).encode())
        found = measured(DAMAGED, folder)
    place = re.compile(r"the plugins of brought-\d+ are not used: brought_\d+/plugins\.yaml:\d+:\d+: \S")
    table.equal("different bad manifests", len(contents), BAD)
    table.equal("refused", len(found["problems"]), BAD)
    table.equal("with file, line, column and reason", sum(bool(place.match(text)) for text in found["problems"]), BAD)
    table.equal("packages whose plugins are used", found["good"], ["aiperf", f"brought-{BAD}"])
    table.equal("a built-in", found["builtin"], "ChatEndpoint")


def main() -> None:
    goes = alternate(go)
    table = Table(f"{PACKAGES} packages of {PLUGINS} plugins")
    table.at_most("discovery, over parsing the same YAML", median(goes, "over_parsing"), MOST_OVER_PARSING)
    table.at_most("a class asked for again, ns", median(goes, "warm_ns"), MOST_NS)
    seconds = [f"{median(goes, name):.3f} s" for name in ("parsing_s", "discovery_s", "imports_s")]
    table.note("parsing; discovery; what it imports once, not in it", "; ".join(seconds))
    damaged(table)
    table.close()


if __name__ == "__main__":
    main()

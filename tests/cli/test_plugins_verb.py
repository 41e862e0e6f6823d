"""`aiperf plugins` as a person types it: every form, in text and in JSON, with plugins of all sorts installed."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aiperf.cli.main import main
from aiperf.plugin import plugins

BUILT_IN = len(list(plugins.iter_entries()))

MODULE = """
from aiperf.endpoints.base_endpoint import BaseEndpoint
from pydantic import BaseModel, Field
from dataclasses import dataclass, field
print("imported")

class Echo(BaseEndpoint):
    class Options(BaseModel):
        greeting: str = Field(description="What is said first.")
        times: int | None = Field(3, description="How often.")
        words: list[str] = Field(default_factory=lambda: ["a"])

    def format_payload(self, request_info): ...
    def parse_response(self, response): ...

class Louder(Echo):
    @dataclass
    class Options:
        volume: int
        names: list[str] = field(default_factory=list)

class Half(BaseEndpoint):
    def format_payload(self, request_info): ...
"""
METADATA = r'{endpoint_path: /echo, supports_streaming: true, produces_tokens: true, tokenizes_input: false, note: "a\e[31mb"}'


def endpoint(name: str, cls: str, *more: str) -> str:
    lines = [f"  {name}:", f"    class: {cls}", *(f"    {line}" for line in more), f"    metadata: {METADATA}"]
    return "\n".join(lines) + "\n"


@pytest.fixture
def install(installed: Callable[..., Path]) -> Callable[..., None]:
    """Installs a package with a manifest and a module `mod`."""

    def put(name: str, manifest: str, module: str = MODULE) -> None:
        top = name.replace("-", "_")
        installed({f"{top}/plugins.yaml": f'schema_version: "1.0"\n{manifest}', f"{top}/mod.py": module}, name=name, version="1.2")

    return put


@pytest.fixture
def echo(install: Callable[..., None]) -> None:
    """A package with an endpoint of its own, and one over a built-in."""
    said = endpoint("my_echo", "zz_echo.mod:Echo", r'description: "Says it \u202Eagain, and\e[31m more."', "priority: 5")
    install("zz-echo", f"endpoint:\n{said}{endpoint('chat', 'zz_echo.mod:Louder', 'description: Louder.')}")


def said(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["plugins", *argv]) == code
    found = capsys.readouterr()
    assert bool(found.err) == (code == 2)
    return found.out + found.err


def as_json(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> dict:
    found = json.loads(said(capsys, *argv, "--json", code=code))
    assert found.pop("schema_version") == "1.0"
    return found


class TestOverview:
    def test_packages_then_kinds(self, capsys, echo):
        lines = said(capsys).splitlines()
        assert lines[0].split() == ["package", "version", "plugins", "description"]
        assert lines[2].startswith("aiperf")
        assert lines[3].split(maxsplit=3) == ["zz-echo", "1.2", "2", "What it is for."]
        kinds = {line.split()[0]: line.split()[1] for line in lines[lines.index("") + 3 :] if "  " in line}
        assert kinds["endpoint"] == "3"
        assert kinds["ramp"] == "0"
        assert "service" not in kinds

    def test_for_programs(self, capsys, echo):
        found = as_json(capsys)
        assert sorted(found) == ["categories", "notes", "packages", "problems"]
        ours, theirs = found["packages"]
        assert (ours["name"], ours["count"]) == ("aiperf", BUILT_IN)
        assert theirs == {
            "name": "zz-echo", "version": "1.2", "description": "What it is for.",
            **dict.fromkeys(("author", "license", "homepage"), "unknown"), "count": 2, "by_category": {"endpoint": 2},
        }  # fmt: skip
        (kind,) = (kind for kind in found["categories"] if kind["name"] == "endpoint")
        assert (kind["count"], kind["enum"], kind["internal"], kind["protocol"]) == (3, "EndpointType", False, "aiperf.seams:Endpoint")

    @pytest.mark.parametrize("form", [(), ("--all",), ("--packages",), ("endpoint",), ("endpoint", "chat")])
    def test_a_package_that_is_refused_is_never_passed_over(self, capsys, install, form):
        install("zz-broken", "endpoint: {a: {class: nonsense}}\n")
        assert "zz-broken are not used: zz_broken/plugins.yaml:2:" in " ".join(said(capsys, *form).split())
        assert "zz-broken" in as_json(capsys, *form)["problems"][0]

    def test_it_fits_a_terminal_of_80_columns(self):
        def lines(*words: str) -> list[str]:
            parent, child = pty.openpty()
            environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
            done = subprocess.run([sys.executable, "-m", "aiperf", "plugins", *words], stdout=child, env=environment, check=False)
            os.close(child)
            text = b""
            try:
                while piece := os.read(parent, 65536):
                    text += piece
            except OSError:
                pass
            os.close(parent)
            assert done.returncode == 0
            return text.decode().splitlines()

        for words in ((), ("endpoint",)):
            found = lines(*words)
            assert found
            assert [line for line in found if len(line) > 80 and not line.startswith("more:")] == []


class TestKinds:
    def test_all_has_the_internal_ones_too(self, capsys, echo):
        text = " ".join(said(capsys, "--all").split())
        for entry in plugins.iter_entries():
            assert f" {entry.name} {entry.package} " in text
        assert "zmq_proxy: What passes messages on. not open; in its place: nothing; generators and processors share files" in text
        found = {kind["name"]: kind for kind in as_json(capsys, "--all")["categories"]}
        assert list(found) == list(plugins.categories())
        assert found["service"]["replaced_by"]
        assert [one["name"] for one in found["cluster"]["plugins"]] == ["local", "inline"]

    @pytest.mark.parametrize("typed", ["endpoint", "ENDPOINT", "custom-dataset_Loader"])
    def test_one_kind_however_it_is_written(self, capsys, typed):
        assert said(capsys, typed).startswith(plugins.folded(typed))

    def test_who_is_in_the_shadow(self, capsys, echo):
        text = said(capsys, "endpoint")
        assert "  chat of zz-echo is used, and not aiperf.endpoints.chat:ChatEndpoint of aiperf\n" in text
        found = {one["name"]: one for one in as_json(capsys, "endpoint")["plugins"]}
        assert [one["class_path"] for one in found["chat"]["shadows"]] == ["aiperf.endpoints.chat:ChatEndpoint"]
        assert found["my_echo"]["shadows"] == []

    def test_a_kind_without_plugins(self, capsys):
        assert said(capsys, "ramp") == "ramp: How a level or a rate comes up.\n  none yet\n"
        assert as_json(capsys, "ramp")["plugins"] == []

    def test_what_a_stranger_wrote_commands_no_terminal(self, capsys, echo):
        for form in ((), ("--all",), ("endpoint",), ("endpoint", "my_echo"), ("--packages",)):
            assert all(one.isprintable() or one == "\n" for one in said(capsys, *form))


class TestPlugin:
    def test_all_about_one(self, capsys, echo):
        lines = said(capsys, "endpoint", "My-Echo").splitlines()
        assert lines[:3] == [
            "  type        my_echo",
            "  category    endpoint: What is said to a server and how its answers are read.",
            "  package     zz-echo 1.2",
        ]
        assert lines[3:5] == ["  class       zz_echo.mod:Echo", "  priority    5"]
        assert lines[6] == "  metadata    endpoint_path: /echo"
        assert lines[-5:] == [
            "  options     greeting: str, required. What is said first.",
            "              times: int | None, 3 unless set. How often.",
            "              words: list[str], ['a'] unless set.",
            "  shadows     none",
            "  shadowed by none",
        ]

    def test_for_programs(self, capsys, echo):
        found = as_json(capsys, "endpoint", "my_echo")
        assert (found["package"], found["version"], found["class_path"], found["priority"]) == ("zz-echo", "1.2", "zz_echo.mod:Echo", 5)
        assert found["metadata"]["endpoint_path"] == "/echo"
        assert found["options"][1] == {"name": "times", "type": "int | None", "required": False, "default": 3, "description": "How often."}
        assert found["options_error"] is None

    def test_options_may_be_a_dataclass(self, capsys, echo):
        found = as_json(capsys, "endpoint", "chat")
        told = [(one["name"], one["required"], one["default"]) for one in found["options"]]
        assert told == [("volume", True, None), ("names", False, [])]

    def test_both_sides_of_a_shadow(self, capsys, echo):
        winner, loser = as_json(capsys, "endpoint", "chat"), as_json(capsys, "endpoint", "aiperf.endpoints.chat:ChatEndpoint")
        assert ([one["package"] for one in winner["shadows"]], winner["shadowed_by"]) == (["aiperf"], [])
        assert ([one["package"] for one in loser["shadowed_by"]], loser["shadows"]) == (["zz-echo"], [])
        assert "  shadowed by zz_echo.mod:Louder of zz-echo (priority 0)" in said(capsys, "endpoint", "aiperf.endpoints.chat:ChatEndpoint")

    def test_a_class_that_cannot_be_had_does_not_hide_the_rest(self, capsys, install):
        install("zz-fails", f"endpoint:\n{endpoint('fails', 'zz_fails.mod:X')}", module="1 / 0")
        text = said(capsys, "endpoint", "fails")
        assert "  class       zz_fails.mod:X\n" in text
        assert "ZeroDivisionError: division by zero (zz_fails/mod.py:1)" in " ".join(text.split())

    @pytest.mark.parametrize(
        ("argv", "said_"),
        [
            (["endpont"], "there is no category 'endpont' of plugins. Did you mean 'endpoint'? Known: accuracy_benchmark, "),
            (["endpoint", "chatt"], "Type 'chatt' not found for category 'endpoint'.\nDid you mean 'chat'?"),
            (["endpoint", "os:system"], "No installed package declares this class for endpoint."),
            (["ramp", "linear"], "Known: none yet."),
            (["endpoint", "--all"], "these do not go together"),
            (["--all", "--validate"], "these do not go together"),
            (["--import"], "these do not go together"),
            (["--import", "--packages"], "these do not go together"),
            (["a", "b", "c"], "these do not go together"),
            (["--out", "x"], "--out: not for the verb plugins"),
            (["--validat"], "did you mean --validate?"),
            (["new"], "give CATEGORY NAME [DIR] and nothing else"),
            (["new", "endpoint", "echo", "--json"], "give CATEGORY NAME [DIR] and nothing else"),
            (["new", "endpoint", "My Echo"], "'My Echo' cannot be the name of a module; 'my_echo' can"),
        ],
    )
    def test_what_is_wrong_is_one_clear_error(self, capsys, tmp_path, monkeypatch, argv, said_):
        monkeypatch.chdir(tmp_path)
        assert said_ in said(capsys, *argv, code=2)
        assert list(tmp_path.iterdir()) == []

    def test_flags_of_this_verb_are_not_for_others(self, capsys):
        assert main(["query", "--json"]) == 2
        assert main(["run", "--validate"]) == 2
        assert "--validate: not for the verb run" in capsys.readouterr().err


class TestValidate:
    def test_what_is_right(self, capsys, echo):
        imported = [name for name in sys.modules if name.startswith("zz_")]
        expected = f"{BUILT_IN + 2} plugins looked up in their sources, nothing imported: all are right"
        assert said(capsys, "--validate").splitlines()[0] == expected
        assert [name for name in sys.modules if name.startswith("zz_")] == imported == []
        assert as_json(capsys, "--validate") == {"checked": BUILT_IN + 2, "imported": False, "errors": [], "problems": [], "notes": []}
        expected = f"{BUILT_IN + 2} plugins imported and held against their protocols: all are right"
        assert said(capsys, "--validate", "--import").splitlines()[0] == expected
        assert "zz_echo.mod" in sys.modules

    def test_what_is_missing_is_seen_without_an_import(self, capsys, install):
        install("zz-gone", f"endpoint:\n{endpoint('a', 'zz_gone.mod:Ecko')}{endpoint('b', 'zz_gone.nowhere:Echo')}")
        text = said(capsys, "--validate", code=1)
        assert "nothing imported: 2 wrong\n" in text
        assert "  endpoint:a: zz_gone.mod:Ecko: no Ecko is defined at the top of" in text
        assert "  endpoint:b: zz_gone.nowhere:Echo: there is no module zz_gone.nowhere\n" in text
        assert "zz_gone" not in sys.modules

    def test_what_does_not_fit_is_seen_by_an_import(self, capsys, install):
        install("zz-half", f"endpoint:\n{endpoint('half', 'zz_half.mod:Half')}")
        said(capsys, "--validate")
        (error,) = as_json(capsys, "--validate", "--import", code=1)["errors"]
        assert (error["category"], error["name"]) == ("endpoint", "half")
        assert error["error"] == "zz_half.mod:Half has no parse_response(response) of aiperf.endpoints.protocols:EndpointProtocol"

    def test_those_in_the_shadow_are_checked_too(self, capsys, install):
        install("zz-one", f"endpoint:\n{endpoint('same', 'zz_one.mod:Echo', 'priority: 1')}")
        install("zz-two", f"endpoint:\n{endpoint('same', 'zz_two.mod:Gone')}")
        (error,) = as_json(capsys, "--validate", code=1)["errors"]
        assert "zz_two.mod:Gone" in error["error"]

    def test_a_refused_package_is_wrong(self, capsys, install):
        install("zz-broken", "endpoint: [\n")
        text = said(capsys, "--validate", code=1)
        assert text.startswith(f"{BUILT_IN} plugins looked up in their sources, nothing imported: 1 wrong\n")
        assert "zz_broken/plugins.yaml:" in " ".join(text.split())


class TestPackages:
    def test_each_in_full(self, capsys, echo):
        text = said(capsys, "--packages")
        theirs = text[text.index("zz-echo 1.2") :].splitlines()
        assert theirs[:3] == ["zz-echo 1.2", "  description What it is for.", "  plugins     2: 2 endpoint"]
        assert [one["name"] for one in as_json(capsys, "--packages")["packages"]] == ["aiperf", "zz-echo"]


class TestNew:
    def test_it_says_what_was_made_and_what_comes_next(self, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        lines = said(capsys, "new", "endpoint", "echo").splitlines()
        assert lines[0] == "aiperf-echo: a plugin that works"
        for line in lines[1 : lines.index("next")]:
            assert (tmp_path / "aiperf-echo" / line.strip()).is_file()
        assert lines[lines.index("next") + 1 :] == [
            "  cd aiperf-echo", '  python -m pip install -e ".[test]"', "  python -m pytest", "  aiperf plugins endpoint echo",
        ]  # fmt: skip
        assert "is there already" in said(capsys, "new", "endpoint", "echo", code=2)
        assert "  cd 'a b'" in said(capsys, "new", "endpoint", "echo", "a b")


def test_help_names_every_form(capsys):
    assert main(["--help", "plugins"]) == 0
    page = capsys.readouterr().out
    for word in ("--all", "--packages", "--validate", "--import", "--json", "new CATEGORY NAME [DIR]", "CATEGORY [NAME]"):
        assert word in page
    assert max(map(len, page.splitlines())) <= 100


def test_no_heavy_library_is_imported():
    heavy = {"hydra", "numpy", "pyarrow"}
    code = f"import sys; from aiperf.cli.main import main; main(['plugins']); print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_documented_keys_are_those_that_are_there(capsys, echo):
    page = (Path(__file__).parents[2] / "docs/plugins.md").read_text(encoding="utf-8")
    told = page[page.index("## For programs") :]
    common = {"problems", "notes"}
    forms = {
        form: as_json(capsys, *form) for form in ((), ("--packages",), ("endpoint",), ("--all",), ("endpoint", "chat"), ("--validate",))
    }
    assert set(forms["--packages",]) == {"packages", *common}
    assert set(forms["--all",]) == {"categories", *common}
    assert set(forms["--all",]["categories"][0]) == set(forms["endpoint",]) - common
    for found in (*forms.values(), forms["endpoint",]["plugins"][0], forms[()]["packages"][0], forms["endpoint", "chat"]["options"][0]):
        assert [key for key in found if not re.search(rf"\b{key}\b", told)] == []

"""What is declared is there: told from sources without an import, and from the class by its protocol."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from typing import Protocol
from zipfile import ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf import seams
from aiperf.endpoints.base_endpoint import BaseEndpoint
from aiperf.plugin import plugins
from aiperf.plugin.plugins import misfit
from aiperf.plugin.types import Category, PluginEntry
from aiperf.plugin.validation import absent, unfit

SOURCE = """
import os.path, collections as c
from json import loads as parse, dumps
X = Y = 1
A, (B, *C) = 1, (2, 3)
bare: int
full: int = 3
if X:
    class Inside: "..."
else:
    def other(): inner = 1
try:
    from no_such import Thing
except ImportError:
    Thing = None
for looped in (): pass
with open(os.devnull) as held: pass
async def later(): pass
drawn = [hidden for hidden in ()]
if (walrus := 1): pass
type_ = lambda unseen: unseen
"""
THERE = (
    "os",
    "c",
    "parse",
    "dumps",
    "X",
    "Y",
    "A",
    "B",
    "C",
    "full",
    "Inside",
    "other",
    "Thing",
    "looped",
    "held",
    "later",
    "drawn",
    "walrus",
)
ABSENT = ("bare", "inner", "hidden", "unseen", "loads", "json", "path", "nothing")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes modules of a top-level package `far_off`."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(path: str, text: str) -> None:
        file = tmp_path / "far_off" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("__init__.py", "raise SystemExit('imported')")
    yield write
    assert [name for name in sys.modules if name.startswith("far_off")] == []


def looked_up(path: str) -> str | None:
    return absent(path)


class TestBySource:
    @pytest.mark.parametrize("name", THERE)
    def test_names_of_the_top_level_are_found(self, package, name):
        package("deep/__init__.py", "1 / 0")
        package("deep/mod.py", SOURCE)
        assert looked_up(f"far_off.deep.mod:{name}") is None

    @pytest.mark.parametrize("name", ABSENT)
    def test_others_are_not(self, package, name):
        package("mod.py", SOURCE)
        assert looked_up(f"far_off.mod:{name}").startswith(f"far_off.mod:{name}: no {name} is defined at the top of ")

    @pytest.mark.parametrize("text", ["from x import *", "def __getattr__(name): ..."])
    def test_what_the_source_does_not_show_may_be_there(self, package, text):
        package("mod.py", text)
        assert looked_up("far_off.mod:Anything") is None

    def test_a_module_without_source_may_hold_anything(self, package):
        package("mod.abi3.so", "")
        assert looked_up("far_off.mod:Anything") is None

    def test_namespace_packages_and_archives_are_looked_into(self, package, tmp_path, monkeypatch):
        package("space/deeper/mod.py", "class Here: ...")
        assert looked_up("far_off.space.deeper.mod:Here") is None
        assert "no There" in looked_up("far_off.space.deeper.mod:There")
        assert "no Here" in looked_up("far_off.space:Here")
        with ZipFile(tmp_path / "packed.zip", "w") as archive:
            archive.writestr("in_a_zip/__init__.py", "1 / 0")
            archive.writestr("in_a_zip/mod.py", "class Here: ...")
        monkeypatch.syspath_prepend(tmp_path / "packed.zip")
        assert looked_up("in_a_zip.mod:Here") is None
        assert "no There" in looked_up("in_a_zip.mod:There")
        assert "in_a_zip" not in sys.modules

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("far_off", "'far_off' is not of the form module.path:Name"),
            ("far_off:A:B", "not of the form"),
            ("far_off.:A", "not of the form"),
            (".far_off:A", "not of the form"),
            ("far_off:", "not of the form"),
            ("far-off:A", "not of the form"),
            ("far_off.mod:A.B", "not of the form"),
            ("nowhere_at_all.mod:A", "there is no package nowhere_at_all; is it installed?"),
            ("far_off.no.mod:A", "there is no module far_off.no"),
            ("far_off.mod.more:A", "there is no module far_off.mod.more"),
            ("far_off.broken:A", "its module cannot be read: invalid syntax (broken.py, line 2)"),
            ("far_off.bytes:A", "cannot be read"),
        ],
    )
    def test_what_is_wrong_is_said(self, package, tmp_path, path, said):
        package("mod.py", "")
        package("broken.py", "x = 1\nclass (")
        (tmp_path / "far_off/bytes.py").write_bytes(b"# -*- coding: utf-8 -*-\nx = '\xff'")
        assert said in looked_up(path)

    def test_deep_expressions_are_no_mistake(self, package):
        package("mod.py", "x = " + "+".join(["1"] * 900) + "\nclass Here: ...")
        assert looked_up("far_off.mod:Here") is None

    def test_a_warning_in_a_source_is_nobodys_business(self, package):
        package("mod.py", "x = '\\d'\nclass Here: ...")
        assert looked_up("far_off.mod:Here") is None

    @given(st.text(max_size=30))
    def test_any_text_is_judged(self, text):
        assert isinstance(looked_up(f"{text}:A"), str | None)
        assert (looked_up(f"aiperf.seams:{text}") is None) == (text.partition(".")[0] in vars(seams))

    def test_all_that_is_built_in_is_there_and_nothing_is_imported(self):
        code = (
            "import sys; from aiperf.plugin import plugins; from aiperf.plugin.validation import absent; before = set(sys.modules)\n"
            "print([entry for entry in plugins.iter_entries() if absent(entry.class_path)], "
            "[name for name in set(sys.modules) - before if name.startswith('aiperf')])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[] []\n"


class Alike(Protocol):
    says: str

    def body(self, turn: int, *, warmup: bool) -> bytes: ...
    @staticmethod
    def claims(row: dict) -> bool: ...
    def __len__(self) -> int: ...


class Other(Protocol):
    def write(self, one: int, /) -> None: ...


class Function(Protocol):
    def __call__(self, records: int, /, *, name: str) -> int: ...


CLASSES = Category("k", "K", "", f"{__name__}:Alike", (f"{__name__}:Other",))
FUNCTIONS = Category("f", "F", "", f"{__name__}:Function")


class Good:
    def body(self, turn, *, warmup=False, more=None): ...
    @staticmethod
    def claims(row): ...
    def __len__(self): ...


class Wide(list):
    def said(self, *args, **kwargs): ...

    body = partialmethod(said, 1)

    @classmethod
    def claims(cls, row): ...


class Second:
    def write(self, one): ...


class TestByProtocol:
    @pytest.mark.parametrize("cls", [Good, Wide, Second, type("Child", (Good,), {})])
    def test_what_fits(self, cls):
        assert unfit(cls, CLASSES) is None

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"body": None}, "has no body(turn, *, warmup)"),
            ({"body": Alike.body}, "has no body(turn, *, warmup)"),
            ({"body": lambda self, turn: 0}, "has a body that does not take body(turn, *, warmup)"),
            ({"body": lambda self, warmup: 0}, "has a body that does not take body(turn, *, warmup)"),
            ({"body": lambda self, turn, more, *, warmup: 0}, "has a body that does not take body(turn, *, warmup)"),
            ({"claims": lambda self, row: 0}, "has a claims that does not take claims(row)"),
            ({"__len__": lambda: 0}, "has a __len__ that does not take __len__()"),
        ],
    )
    def test_what_does_not_is_said(self, changed, said):
        assert unfit(type("Bad", (Good,), changed), Category("k", "K", "", f"{__name__}:Alike")) == f"{said} of {__name__}:Alike"

    def test_all_that_is_missing_is_said_at_once(self):
        assert unfit(object, Category("k", "K", "", f"{__name__}:Alike")) == (
            f"has no __len__(), has no body(turn, *, warmup), has no claims(row) of {__name__}:Alike"
        )

    def test_the_nearest_of_several_protocols_is_named(self):
        class Nearly:
            def body(self, turn, *, warmup): ...
            def __len__(self): ...

        assert unfit(Nearly, CLASSES) == f"has no claims(row) of {__name__}:Alike"
        assert unfit(object, CLASSES) == f"has no write(one, /) of {__name__}:Other"

    def test_what_nobody_awaits_does_not_fit(self):
        class Late(Good):
            async def body(self, turn, *, warmup): ...

        assert "async body, which nobody awaits" in unfit(Late, CLASSES)

    def test_an_abstract_method_is_missing(self):
        class Half(BaseEndpoint):
            def format_payload(self, request_info): ...

        why = unfit(Half, plugins.categories()["endpoint"])
        assert why == "has no parse_response(response) of aiperf.endpoints.protocols:EndpointProtocol"

    @pytest.mark.parametrize("found", [print, lambda: 0, Good(), "text", None])
    def test_a_class_is_a_class(self, found):
        assert unfit(found, CLASSES) == f"is no class, which {__name__}:Alike asks for"

    def test_functions(self):
        class Instance:
            def __call__(self, records, *, name): ...

        for good in (lambda records, name: 0, lambda *a, **k: 0, Instance(), lambda r, *, name, more=1: 0):
            assert unfit(good, FUNCTIONS) is None
        assert unfit(Good, FUNCTIONS) == f"is no function, which {__name__}:Function asks for"
        assert unfit("text", FUNCTIONS) == f"is no function, which {__name__}:Function asks for"
        for bad in (lambda: 0, lambda records: 0, lambda name: 0, lambda a, b, *, name: 0):
            assert unfit(bad, FUNCTIONS) == f"does not take (records, /, *, name), as {__name__}:Function does"

    def test_without_a_protocol_anything_that_can_be_called_fits(self):
        assert unfit(Good, Category("n", "N", "")) is None
        assert unfit(3, Category("n", "N", "")) == "is neither a class nor a function"

    def test_a_protocol_that_cannot_be_had_is_said(self):
        assert unfit(Good, Category("n", "N", "", "no_such_place:P")) == (
            "cannot be held against no_such_place:P: ModuleNotFoundError: No module named 'no_such_place'"
        )

    @pytest.mark.parametrize("entry", list(plugins.iter_entries()), ids=lambda entry: f"{entry.category}:{entry.name}")
    def test_all_that_is_built_in_fits(self, entry):
        assert misfit(entry) is None

    def test_what_is_no_plugin_is_told(self):
        assert misfit(PluginEntry("endpoint", "x", "far-off", "os:system")) == (
            "os:system is no class, which aiperf.seams:Endpoint asks for"
        )

    def test_an_import_that_fails_is_one_line(self, tmp_path, monkeypatch):
        (tmp_path / "far_away").mkdir()
        (tmp_path / "far_away/__init__.py").write_text("print('hello')\nraise ValueError('no\\nmore')")
        monkeypatch.syspath_prepend(tmp_path)
        why = misfit(PluginEntry("endpoint", "x", "far-away", "far_away:X"))
        assert why == "Failed to import module for endpoint:x of far-away: ValueError: no more (far_away/__init__.py:2)"

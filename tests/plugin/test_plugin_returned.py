"""What plugins from outside return and raise is looked at where it crosses the border."""

import pickle
import threading
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiperf.plugin.border import Guarded, border, failure, told
from aiperf.plugin.types import PluginEntry, PluginError
from aiperf.seams import Answer, Said
from aiperf.workload import Lengths, Phase, Schedule, Turn

ENTRY = PluginEntry("endpoint", "odd", "odd-plugins", "odd:Odd")
ASKED = np.arange(3)
NUMBERS = np.array([0, 4, 9])
ANSWER = Answer(200, "application/json", [b"{}"], complete=True)
SAID = Said(reads=[0], at_end=[True], channels=[2], tokens=[1], text="a")
PHASE = Phase("profiling", NUMBERS)
RIGHT = {
    "body": (b"{}", Turn()), "answer": (SAID, ANSWER), "turn": (Turn(("a",), 3), 0), "rows": (NUMBERS, ASKED),
    "lengths": (Lengths(NUMBERS, NUMBERS), ASKED), "due_ns": (NUMBERS,), "offsets": (NUMBERS, 3), "until": (NUMBERS, 10**9),
    "schedule": (Schedule((PHASE,), 0), None),
}  # fmt: skip
WRONG = {
    "body": ["{}", None], "answer": [None, {}, replace(SAID, reads=[1]), replace(SAID, tokens=[])],
    "turn": [None, Turn(5), Turn(("a",), -1), Turn(("a",), 2**40), Turn(("a",), 3, "x"), Turn(payload="{}")],
    "rows": [None, [0, 1, 2], NUMBERS[1:], NUMBERS - 1, NUMBERS / 1, NUMBERS.reshape(3, 1)],
    "lengths": [None, Lengths(NUMBERS, NUMBERS[1:]), Lengths(NUMBERS - 1, NUMBERS), Lengths(None, NUMBERS)],
    "due_ns": [[0, 1], NUMBERS[::-1], "soon"], "offsets": [None, NUMBERS[1:], NUMBERS[::-1]], "until": [None, NUMBERS[::-1]],
    "schedule": [None, Schedule((), 0), Schedule((Phase("later", NUMBERS),), 0), Schedule((Phase("profiling", NUMBERS[::-1]),), 0)],
}  # fmt: skip


class Odd:
    """Returns what it is told to."""

    says = frozenset({"texts"})

    def __init__(self, found):
        self.found = found

    def __getattr__(self, name):
        if name in RIGHT:
            return lambda *_: self.found
        raise AttributeError(name)


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes(name):
    found, *asked = RIGHT[name]
    passed = getattr(Guarded(ENTRY, Odd(found)), name)(*asked)
    assert type(passed) is type(found)
    assert isinstance(found, Lengths | np.ndarray) or passed == found


@pytest.mark.parametrize(("name", "found"), [(name, found) for name, several in WRONG.items() for found in several])
def test_what_is_wrong_names_plugin_and_method(name, found):
    with pytest.raises(PluginError, match=rf"^endpoint:odd of odd-plugins: ({name} returned |ValidationError: )"):
        getattr(Guarded(ENTRY, Odd(found)), name)(*RIGHT[name][1:])


@given(
    st.sampled_from(sorted(RIGHT)),
    st.none() | st.integers() | st.text() | st.binary() | st.lists(st.integers()) | st.floats() | st.just(Turn),
)
def test_anything_passes_or_is_told_as_the_plugins_own(name, found):
    with suppress(PluginError):  # and nothing else
        getattr(Guarded(ENTRY, Odd(found)), name)(*RIGHT[name][1:])


@pytest.mark.parametrize(
    ("name", "found"), [("token_hint", "data"), ("token_hint", b"("), ("says", "texts"), ("says", 5), ("notes", 5), ("reopened", None)]
)
def test_attributes_too(name, found):
    with pytest.raises(PluginError, match=r"^endpoint:odd of odd-plugins: "):
        getattr(Guarded(ENTRY, type("Odd", (), {name: found})()), name)


def test_an_attribute_that_is_not_there_can_be_asked_for():
    made = Guarded(ENTRY, Odd(None))
    assert getattr(made, "wears", None) is None
    with pytest.raises(PluginError, match="AttributeError: wears"):
        made.wears  # noqa: B018 - it is asked for here


def test_one_that_cannot_be_packed_is_named():
    made = Guarded(ENTRY, Odd(b"{}"))
    assert isinstance(again := pickle.loads(pickle.dumps(made)), Guarded)  # noqa: S301 - our own
    assert again.body(Turn()) == b"{}"
    with pytest.raises(PluginError, match="odd-plugins: TypeError: cannot pickle"):
        pickle.dumps(Guarded(ENTRY, Odd(threading.Lock())))


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("and not even that")


class OwnError(BaseException):
    """Not an Exception."""


@pytest.mark.parametrize("raised", [MuteError(), OwnError("x"), SystemExit(3), MemoryError(), RecursionError("deep"), StopIteration(1)])
def test_whatever_is_raised_names_the_plugin(raised):
    with pytest.raises(PluginError, match=rf"^endpoint:odd of odd-plugins: {type(raised).__name__}"), border(ENTRY):
        raise raised


def test_ctrl_c_is_the_users():
    with pytest.raises(KeyboardInterrupt), border(ENTRY):
        raise KeyboardInterrupt


@given(st.text(st.characters(exclude_categories=[]), max_size=40))
def test_what_an_error_says_is_one_line_that_a_file_takes(text):
    said = told(ValueError(text))
    assert said.isprintable()
    assert str(failure(ENTRY, ValueError(text))).encode()


def test_bytes_can_be_printed(capsys):
    with border(ENTRY):
        import sys  # noqa: PLC0415 - standard output as it is within

        sys.stdout.buffer.write(b"\xff\n")
        assert sys.stdout.fileno() == 2
    assert capsys.readouterr().out == ""

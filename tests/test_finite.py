import ast
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from aiperf.finite import FiniteFloat, is_finite_value, nan_safe_mean, nan_safe_std, scrub_non_finite

NUMPY_FLOATS = (np.float16, np.float32, np.float64, np.longdouble)
NUMPY_INTS = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
NOT_FINITE = (math.nan, math.inf, -math.inf)

numbers = st.one_of(st.floats(), st.integers(), st.none(), st.booleans(), st.text(max_size=3), st.binary(max_size=3))
trees = st.recursive(
    numbers,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.tuples(inner, inner), st.dictionaries(st.text(max_size=3), inner, max_size=4)),
)
arrays = st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30)


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_finite_float_refuses_what_is_none(value: float) -> None:
    with pytest.raises(ValidationError, match="must be a finite number"):
        TypeAdapter(FiniteFloat).validate_python(value)


def test_a_missing_float_may_be_said_explicitly() -> None:
    assert TypeAdapter(FiniteFloat | None).validate_python(None) is None
    assert TypeAdapter(FiniteFloat).validate_python(1) == 1.0


@pytest.mark.parametrize("kind", NUMPY_FLOATS)
@pytest.mark.parametrize("value", NOT_FINITE)
def test_numpy_scalars_of_any_width_are_scrubbed(kind: type, value: float) -> None:
    assert not is_finite_value(kind(value))
    assert scrub_non_finite({"a": [kind(value)]}) == {"a": [None]}


@pytest.mark.parametrize("kind", NUMPY_FLOATS + NUMPY_INTS)
def test_numpy_scalars_become_pythons(kind: type) -> None:
    assert is_finite_value(kind(3))
    found = scrub_non_finite(kind(3))
    assert found == 3
    assert type(found) in (int, float)


def test_numpy_arrays_and_truths_become_pythons() -> None:
    assert scrub_non_finite(np.array([1.0, math.nan])) == [1.0, None]
    assert scrub_non_finite((np.bool_(True), np.array([[True]]))) == (True, [[True]])


@pytest.mark.parametrize("value", ["1", b"1", None, True, np.bool_(True), [1.0], {}, object(), 1j, math.nan, np.float16("inf")])
def test_what_is_no_number_is_not_finite(value: object) -> None:
    assert is_finite_value(value) is False


def test_a_huge_int_is_a_number() -> None:
    assert is_finite_value(10**400)
    assert nan_safe_mean([10**400, 2]) == 2.0


@given(trees)
def test_scrubbing_leaves_nothing_that_json_cannot_say_and_changes_nothing_else(tree: object) -> None:
    def same(before: object, after: object) -> bool:
        if isinstance(before, float) and not math.isfinite(before):
            return after is None
        if isinstance(before, dict):
            return isinstance(after, dict) and before.keys() == after.keys() and all(same(before[k], after[k]) for k in before)
        if isinstance(before, (list, tuple)):
            return type(before) is type(after) and len(before) == len(after) and all(map(same, before, after))
        return type(before) is type(after) and before == after

    assert same(tree, scrub_non_finite(tree))


@given(arrays)
def test_the_mean_is_none_or_between_the_least_and_the_largest(values: list[float]) -> None:
    kept = [v for v in values if math.isfinite(v)]
    for found in (nan_safe_mean(values), nan_safe_mean(np.array(values, np.float64))):
        if not kept:
            assert found is None
        else:
            slack = 1e-9 * max(abs(v) for v in kept)
            assert min(kept) - slack <= found <= max(kept) + slack


@given(arrays)
def test_the_deviation_is_none_or_finite_and_not_negative(values: list[float]) -> None:
    kept = [v for v in values if math.isfinite(v)]
    for found in (nan_safe_std(values), nan_safe_std(np.array(values, np.float64))):
        assert (found is None) if len(kept) < 2 else (found is None or 0 <= found < math.inf)


def test_means_and_deviations_of_known_numbers() -> None:
    assert nan_safe_mean([1.0, math.nan, None, 3.0]) == 2.0
    assert nan_safe_std([1.0, math.inf, 3.0]) == pytest.approx(math.sqrt(2))
    assert nan_safe_std(np.array([1.0, math.inf, 3.0])) == pytest.approx(math.sqrt(2))
    assert nan_safe_std([1.0, None]) is None


def test_numpy_is_not_imported_for_it() -> None:
    code = "import sys, aiperf.finite as f; assert f.scrub_non_finite([1.0, float('nan')]) == [1.0, None]; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The rule, checked by reading our own source.

SOURCE = Path(__file__).parents[1] / "src" / "aiperf"
ROOMS_OF_NUMBERS = ("metrics", "report", "search")
"""Rooms whose arithmetic must not let a NaN through."""

IS_FINITE = {"math.isfinite", "np.isfinite", "numpy.isfinite"}
JSON_WRITERS = {"json.dump", "json.dumps", "orjson.dumps", "msgspec.json.encode", "msgspec.json.Encoder"}
BARE = {"mean", "std", "var", "average", "polyfit"}

FINITE_ALREADY = ("intervals.py", "precision.py", "steady.py")
"""Exceptions from the rule on arithmetic: files of metrics that are handed finite values alone (`metrics.rows.numbers`), by the million."""

UNSCRUBBED: dict[str, str] = {
    "app/run.py": "values of a point as the grammar of overrides reads them; what is no number is refused there",
    "config/endpoint.py": "asks whether a value can be JSON, NaN refused, and writes nothing",
    "config/keys.py": "shows in a message what someone typed, a NaN as well",
    "dataset/rows.py": "shows in a message what a row of a data file holds",
    "endpoints/foreign.py": "a request's body; NaN is refused there",
    "endpoints/openai.py": "a request's body, no result: it says what the experiment says, and msgspec writes what is no number as null",
    "metrics/asides.py": "what is written there was scrubbed by its one caller",
    "report/grid.py": "shows a nested value in a cell of a table, a NaN as well",
    "report/streams.py": "msgspec writes what is no number as null, and rows are many",
    "testing/contracts.py": "rows of a sample data file, some of them bad on purpose",
    "store/parquet.py": "msgspec writes what is no number as null, and rows are many",
    "simulator": "a server's answers and its log: names and whole numbers that it makes itself",
}
"""Exceptions from the rule on JSON writers: files or rooms below src/aiperf, and why nothing needs to be scrubbed there."""


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def dotted(node: ast.expr) -> str:
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else "?"


def is_bare(call: ast.Call) -> bool:
    return dotted(call.func) in IS_FINITE or (isinstance(call.func, ast.Attribute) and call.func.attr in BARE)


def bare_arithmetic(path: Path) -> list[str]:
    return [f"{path.name}:{call.lineno} {dotted(call.func)}" for call in calls(path) if is_bare(call)]


def writes_json(call: ast.Call) -> bool:
    name = dotted(call.func)
    return name in JSON_WRITERS or name.endswith(".model_dump_json")


def scrubbed(call: ast.Call) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Call) and dotted(call.args[0].func).endswith("scrub_non_finite")


def unscrubbed_writers(path: Path) -> list[str]:
    found = [call for call in calls(path) if writes_json(call) and not scrubbed(call)]
    return [f"{path.relative_to(SOURCE)}:{call.lineno} {dotted(call.func)}" for call in found]


@pytest.mark.parametrize("room", ROOMS_OF_NUMBERS)
def test_no_bare_arithmetic(room: str) -> None:
    found = [offence for path in sorted((SOURCE / room).rglob("*.py")) for offence in bare_arithmetic(path)]
    kept = [offence for offence in found if offence.partition(":")[0] not in FINITE_ALREADY]
    assert not kept, f"use aiperf.finite: {kept}"


def test_no_json_is_written_unscrubbed() -> None:
    found = [
        offence
        for path in sorted(SOURCE.rglob("*.py"))
        if not any(path.is_relative_to(SOURCE / name) for name in UNSCRUBBED)
        for offence in unscrubbed_writers(path)
    ]
    assert not found, f"wrap what is written in scrub_non_finite, or give a reason in UNSCRUBBED: {found}"


def test_every_exception_is_still_needed() -> None:
    files = {name: [SOURCE / name] if name.endswith(".py") else sorted((SOURCE / name).rglob("*.py")) for name in UNSCRUBBED}
    assert [name for name, paths in files.items() if not any(map(unscrubbed_writers, paths))] == []
    assert [name for name in FINITE_ALREADY if not bare_arithmetic(SOURCE / "metrics" / name)] == []


@pytest.mark.parametrize(
    ("code", "offences"),
    [
        ("import math\nmath.isfinite(1)", 1),
        ("import numpy as np\nnp.mean([1]); np.std([1]); np.polyfit([1], [1], 1)", 3),
        ("x.mean()", 1),
        ("nan_safe_mean([1])", 0),
    ],
)
def test_the_rule_on_arithmetic_finds_what_it_should(tmp_path: Path, code: str, offences: int) -> None:
    (tmp_path / "a.py").write_text(code)
    assert len(bare_arithmetic(tmp_path / "a.py")) == offences


@pytest.mark.parametrize(
    ("code", "offends"),
    [
        ("json.dumps(x)", True),
        ("msgspec.json.encode(x)", True),
        ("m.model_dump_json()", True),
        ("json.dumps(scrub_non_finite(x), indent=2)", False),
        ("json.loads(x)", False),
    ],
)
def test_the_rule_on_json_finds_what_it_should(code: str, offends: bool) -> None:
    (call,) = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call) and dotted(node.func) != "scrub_non_finite"]
    assert (writes_json(call) and not scrubbed(call)) is offends

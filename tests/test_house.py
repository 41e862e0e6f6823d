"""The whole check in one command: linters, types, import contracts, and the budgets that keep the code small and flat.

Each budget has a table of exceptions, place to reason; an entry that is no longer needed fails too.
"""

import ast
import io
import re
import shutil
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "aiperf"

MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 40
MOST_MEDIAN_LINES = 10
MOST_NESTING = 3
MOST_LINES = 20_000

LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
DEEP_FUNCTIONS: dict[str, str] = {}
SEVERAL_BASES = {
    "plugin/types.py PluginImportError": "callers written for the incumbent catch ImportError",
    "plugin/types.py PluginAttributeError": "callers written for the incumbent catch AttributeError",
}
BROAD_HANDLERS: dict[str, str] = {
    "dataset/tokenizer.py": "tokenizers raises bare Exception for a broken file, a model's code raises anything; both are a ConfigError",
}
TIME_READERS = {"clock.py": "the only module that reads time"}
BARE_STATISTICS: dict[str, str] = {}

BROAD_ROOMS = ("cli/", "plugin/", "telemetry/")
"""The three borders at which anything may be caught."""
PRINTING_ROOMS = ("cli/", "ui/")
ENVIRONMENT_ROOMS = ("config/", "cluster/", "dataset/")
NUMBER_ROOMS = ("metrics/", "search/", "report/")

BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
EMPTY_TOKENS = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING}


# What is read is put together here, so that this file does not hold the words that it looks for.
WORDS = ("compre" + "hensive", "ro" + "bust", "power" + "ful")
PLACES = (
    r"(?<![\w./-])/(?:wo" + r"rk|ro" + r"ot|ho" + r"me)/",
    r"/tm" + r"p/w\b",
    "py" + r"pi\.org",
    "python" + "hosted",
    "index" + "-url",
)
PROSE = (".py", ".md", ".yaml", ".yml", ".toml", ".c", ".txt", ".sh", "")


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def sources() -> Mapping[str, ast.Module]:
    """Every module of ours by its path below src/aiperf."""
    return {path.relative_to(SOURCE).as_posix(): parsed(path) for path in sorted(SOURCE.rglob("*.py"))}


@cache
def all_python() -> Mapping[str, ast.Module]:
    """Every Python file of the checkout by its path in it."""
    folders = (ROOT / "src", ROOT / "tests", ROOT / "benchmarks")
    paths = (path for folder in folders for path in sorted(folder.rglob("*.py")))
    return {path.relative_to(ROOT).as_posix(): parsed(path) for path in paths}


@cache
def kept_files() -> tuple[Path, ...]:
    """Files that belong to the project: git's and those that it would take; without git the folders that we know."""
    words = ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(words, capture_output=True, text=True, check=False) if shutil.which("git") else None
    if listed is not None and listed.returncode == 0 and listed.stdout:
        return tuple(path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file())
    folders = ("src", "conf", "experiments", "tests", "benchmarks", "docs")
    return tuple(path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def prose() -> Iterator[tuple[str, str]]:
    """Path and text of every file that is written by hand."""
    for path in kept_files():
        if path.suffix in PROSE and path.name != "LICENSE":
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8", errors="replace")


def functions() -> Iterator[tuple[str, str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Module, name and node of every function, inner ones too."""
    for module, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                yield module, f"{module} {node.name}", node


@cache
def code_lines(module: str) -> frozenset[int]:
    """Numbers of the lines that hold code: neither blank nor comment alone."""
    text = (SOURCE / module).read_text(encoding="utf-8")
    found = tokenize.generate_tokens(io.StringIO(text).readline)
    return frozenset(line for token in found if token.type not in EMPTY_TOKENS for line in range(token.start[0], token.end[0] + 1))


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> range:
    first = node.body[0]
    said = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return range(first.lineno, (first.end_lineno or first.lineno) + 1) if said else range(0)


def length(module: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Code lines of a function with its signature, without its docstring."""
    return len((code_lines(module) & set(range(node.lineno, (node.end_lineno or node.lineno) + 1))) - set(docstring_lines(node)))


def nesting(node: ast.AST, depth: int = 0) -> int:
    """Deepest stack of blocks within a function; an `elif` is as deep as its `if`, a function within starts anew."""
    deepest = depth
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
                continue
            chained = isinstance(node, ast.If) and name == "orelse" and len(value) == 1 and isinstance(child, ast.If)
            deepest = max(deepest, nesting(child, depth + (isinstance(child, BLOCKS) and not chained)))
    return deepest


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every import statement with the full name of the module that it names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node, node.module
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def asks(text: str) -> bool:
    """Whether the comment that a file begins with has a question for its first sentence."""
    lines = takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = " ".join(line.lstrip("# ") for line in lines)
    end = re.search(r"[.?!](\s|$)", comment)
    return end is not None and end[0][0] == "?"


def calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the dotted name of what is called, as it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def excused(found: Mapping[str, object], exceptions: Mapping[str, str]) -> None:
    """Nothing was found that is not excepted, and nothing is excepted that was not found."""
    assert {place: what for place, what in found.items() if place not in exceptions} == {}
    assert [place for place in exceptions if place not in found] == [], "these exceptions are no longer needed"


def run_tool(*words: str) -> None:
    """A checker that has to end well; what it said is the failure."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"


def beside_python(name: str) -> str:
    """A program of the environment that runs the tests."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else name


class TestTools:
    def test_ruff_finds_nothing(self):
        run_tool(sys.executable, "-m", "ruff", "check", "--no-cache")

    def test_ruff_would_format_nothing(self):
        run_tool(sys.executable, "-m", "ruff", "format", "--check", "--no-cache")

    @pytest.mark.timeout(600)
    def test_types_hold(self):
        run_tool(sys.executable, "-m", "mypy")

    def test_imports_point_down(self):
        run_tool(beside_python("lint-imports"), "--no-cache")


class TestSize:
    def test_files(self):
        lines = {module: len((SOURCE / module).read_text(encoding="utf-8").splitlines()) for module in sources()}
        excused({module: n for module, n in lines.items() if n > MOST_FILE_LINES}, LONG_FILES)
        assert sum(lines.values()) < MOST_LINES

    def test_functions(self):
        lengths = {name: length(module, node) for module, name, node in functions()}
        excused({name: n for name, n in lengths.items() if n > MOST_FUNCTION_LINES}, LONG_FUNCTIONS)
        assert statistics.median(lengths.values()) < MOST_MEDIAN_LINES

    def test_nesting(self):
        excused({name: n for _, name, node in functions() if (n := nesting(node)) > MOST_NESTING}, DEEP_FUNCTIONS)


class TestShape:
    def test_one_base(self):
        classes = {
            f"{module} {node.name}": node for module, tree in sources().items() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
        }
        excused({name: len(node.bases) for name, node in classes.items() if len(node.bases) > 1}, SEVERAL_BASES)

    def test_nothing_is_swallowed(self):
        found = {}
        for module, tree in sources().items():
            caught = [node.type and ast.unparse(node.type) for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)]
            broad = [name for name in caught if name is None or re.search(r"\b(Base)?Exception\b", name)]
            if broad and not module.startswith(BROAD_ROOMS):
                found[module] = broad
        excused(found, BROAD_HANDLERS)

    def test_no_mocks(self):
        banned = ("unittest.mock", "mock")
        assert [path for path, tree in all_python().items() for _, name in imports(tree) if name in banned] == []


class TestBorders:
    def test_time_is_read_in_one_place(self):
        found = {}
        for module, tree in sources().items():
            named = [name for _, name in imports(tree) if name == "time" or name.startswith("time.")]
            named += [name for _, name in calls(tree) if re.fullmatch(r"(\w+\.)*(datetime|date)\.(now|utcnow|today)", name)]
            if named:
                found[module] = named
        excused(found, TIME_READERS)

    def test_only_cli_and_ui_print(self):
        silent = {module: tree for module, tree in sources().items() if not module.startswith(PRINTING_ROOMS)}
        assert [module for module, tree in silent.items() for _, name in calls(tree) if name == "print"] == []

    def test_the_environment_is_read_at_the_rim(self):
        rim = {module: tree for module, tree in sources().items() if not module.startswith(ENVIRONMENT_ROOMS)}
        read = [(module, ast.unparse(node)) for module, tree in rim.items() for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert [(module, name) for module, name in read if name in ("os.environ", "os.getenv", "os.environb")] == []

    def test_numbers_are_known_to_be_numbers(self):
        """In rooms that compute, a mean over a NaN makes no sound."""
        banned = ("math.isfinite", "np.mean", "np.std", "np.polyfit", "numpy.mean", "numpy.std", "numpy.polyfit")
        rooms = {module: tree for module, tree in sources().items() if module.startswith(NUMBER_ROOMS)}
        excused({module: name for module, tree in rooms.items() for _, name in calls(tree) if name in banned}, BARE_STATISTICS)


class TestWords:
    def test_what_is_switched_off_has_a_reason(self):
        """`# noqa: CODE - why`, and the same for types; what follows the codes has to be words."""
        bare = {}
        for module in sources():
            for number, line in enumerate((SOURCE / module).read_text(encoding="utf-8").splitlines(), 1):
                said = re.search(r"#\s*(?:noqa(?::\s*[A-Z0-9, ]+)?|type:\s*ignore(?:\[[\w, -]+\])?)(.*)", line)
                if said and len(re.findall(r"[A-Za-z]{2,}", said[1])) < 2:
                    bare[f"{module}:{number}"] = line.strip()
        assert bare == {}

    def test_late_imports_are_marked(self):
        late = {}
        for module, _, function in functions():
            lines = (SOURCE / module).read_text(encoding="utf-8").splitlines()
            for node in ast.walk(function):
                if isinstance(node, (ast.Import, ast.ImportFrom)) and "PLC0415" not in " ".join(lines[node.lineno - 1 : node.end_lineno]):
                    late[f"{module}:{node.lineno}"] = ast.unparse(node)
        assert late == {}

    def test_experiments_begin_with_their_question(self):
        files = [*(ROOT / "experiments").glob("*.yaml"), *(ROOT / "sweeps").glob("*.yaml")]
        assert files
        assert [file.name for file in files if not asks(file.read_text(encoding="utf-8"))] == []

    def test_no_praise(self):
        praise = re.compile(rf"\b({'|'.join(WORDS)})", re.IGNORECASE)
        assert [(path, found[0]) for path, text in prose() if (found := praise.search(text))] == []

    def test_no_place_of_one_machine(self):
        place = re.compile("|".join(PLACES))
        assert [(path, found[0]) for path, text in prose() if (found := place.search(text))] == []


class TestTheChecksThemselves:
    """A check that cannot fail is none."""

    def test_nesting_counts_blocks(self):
        source = """
def f(x):
    if x:
        for y in x:
            with y:
                try:
                    pass
                except ValueError:
                    pass
    elif y:
        pass
    elif z:
        if a:
            def g():
                while b:
                    pass
"""
        outer = ast.parse(source).body[0]
        assert nesting(outer) == 4
        assert nesting(outer.body[0].orelse[0].orelse[0].body[0].body[0]) == 1

    def test_docstrings_and_comments_are_no_code(self, monkeypatch, tmp_path):
        (tmp_path / "a.py").write_text('def f(x):\n    """Say.\n\n    More."""\n    # why\n\n    y = """a\n    b"""\n    return x\n')
        monkeypatch.setattr(f"{__name__}.SOURCE", tmp_path)
        code_lines.cache_clear()
        node = ast.parse((tmp_path / "a.py").read_text()).body[0]
        assert length("a.py", node) == 4

    def test_an_exception_that_is_not_needed_fails(self):
        with pytest.raises(AssertionError, match="no longer needed"):
            excused({}, {"a.py": "once"})
        with pytest.raises(AssertionError):
            excused({"a.py": 401}, {})
        excused({"a.py": 401}, {"a.py": "a table"})

    def test_a_question_is_told_from_a_statement(self):
        assert asks("# Does it\n# work? For 10 s.\nname: x\n")
        assert not asks("# It works. Does it?\nname: x\n")
        assert not asks("name: x  # does it?\n")
        assert not asks("")

    def test_places_are_found(self):
        place = re.compile("|".join(PLACES))
        assert place.search("see /wo" + "rk/main")
        assert not place.search("the net/wo" + "rk/layer")

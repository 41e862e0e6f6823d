"""A package's manifest as plain values: nothing in it builds objects, grows without bound, or is said twice unnoticed."""

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import yaml

from aiperf.plugin.types import PluginError

MOST_BYTES, MOST_VALUES, MOST_DEPTH = 1_000_000, 100_000, 32
"""Of a manifest; an alias counts as what it stands for."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_TEXT = f"{_TAG}str"
_PLAIN = yaml.SafeLoader("")
_SCALARS: dict[str, Any] = {_TAG + kind: getattr(_PLAIN, f"construct_yaml_{kind}") for kind in ("null", "bool", "int", "float")}
_SCALARS[f"{_TAG}timestamp"] = _PLAIN.construct_yaml_str


class ManifestError(PluginError):
    """A manifest that is not right; line and column count from 1."""

    def __init__(self, line: int, column: int, what: str) -> None:
        self.line, self.column, self.what = line, column, what
        super().__init__(f"{line}:{column}: {what}")


def decoded(content: bytes) -> str:
    """A manifest's text. Raises ManifestError for what is too large, or no UTF-8."""
    if len(content) > MOST_BYTES:
        raise ManifestError(1, 1, f"it has {len(content):,} bytes, a manifest has at most {MOST_BYTES:,}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _after(content[: exc.start], f"the byte 0x{content[exc.start]:02x} is no UTF-8") from exc


def read(text: str) -> Any:
    """What a manifest says. Raises ManifestError for what is no plain YAML, or too much of it."""
    root = composed(text)
    return None if root is None else _built(root, 0, count())


def located(node: yaml.Node | None, path: Iterable[str | int]) -> tuple[int, int]:
    """Line and column of a key in a text that was parsed; of the nearest one above it where it is not there."""
    found = node
    for part in path:
        items: Any = node.value if isinstance(node, yaml.CollectionNode) else []
        named: dict[Any, Any] = dict(enumerate(zip(items, items)))
        if isinstance(node, yaml.MappingNode):
            named = {key.value: (key, value) for key, value in items if key.tag == _TEXT}
        if part not in named:
            break
        found, node = named[part]
    return (1, 1) if found is None else _place(found.start_mark)


def composed(text: str) -> yaml.Node | None:
    """The text parsed, but not built. Raises ManifestError."""
    try:
        if sum(map(text.count, "[{-?")) > 1000:
            _check_depth(text)
        root: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    except yaml.reader.ReaderError as exc:
        raise _after(text.encode("utf-8", "replace")[: exc.position], f"YAML: {exc.reason}") from exc
    except (yaml.YAMLError, RecursionError, UnicodeEncodeError) as exc:
        mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
        raise ManifestError(*(_place(mark) if mark else (1, 1)), f"YAML: {getattr(exc, 'problem', None) or exc}") from exc
    return root


def _check_depth(text: str) -> None:
    """The loader in C nests as the text does, and takes the process along when its stack ends: these are too many openers to trust."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH:
            raise _at(event, f"nested deeper than {MOST_DEPTH} levels")


def _place(mark: Any) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _at(thing: Any, reason: str) -> ManifestError:
    return ManifestError(*_place(thing.start_mark), reason)


def _after(before: bytes, reason: str) -> ManifestError:
    return ManifestError(before.count(b"\n") + 1, len(before) - before.rfind(b"\n"), reason)


def _built(node: Any, depth: int, counted: Iterator[int]) -> Any:
    """A node as a value, in half the time of the loader's own constructor."""
    if next(counted) >= MOST_VALUES or depth > MOST_DEPTH:
        raise _at(node, f"more than {MOST_VALUES:,} values, or nested deeper than {MOST_DEPTH} levels")
    if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
        return _mapping(node, depth + 1, counted)
    if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
        return [_built(item, depth + 1, counted) for item in node.value]
    if isinstance(node, yaml.ScalarNode) and node.tag == _TEXT:
        return node.value
    try:
        return _SCALARS[node.tag](node)
    except (ValueError, KeyError, yaml.YAMLError) as exc:
        raise _at(node, f"this is no {node.tag.removeprefix(_TAG)} that a manifest can hold") from exc


def _mapping(node: yaml.MappingNode, depth: int, counted: Iterator[int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    for key, value in node.value:
        if key.tag == f"{_TAG}merge" and isinstance(value, yaml.MappingNode):
            merged |= _built(value, depth, counted)
        elif key.tag != _TEXT:
            raise _at(key, "the key is no text: put it into quotes")
        elif key.value in found:
            raise _at(key, f"{key.value[:40]!r} is here a second time")
        else:
            found[key.value] = _built(value, depth, counted)
    return merged | found if merged else found

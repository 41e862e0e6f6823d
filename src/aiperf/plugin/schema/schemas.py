"""A package's manifest as plain values: nothing in it builds objects, grows without bound, or is said twice unnoticed; and models of it."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from aiperf.plugin.types import Category, PluginError, folded
from aiperf.plugin.types import PackageInfo as PackageInfo
from aiperf.plugin.types import PluginEntry as PluginEntry

MOST_BYTES, MOST_VALUES, MOST_DEPTH = 1_000_000, 100_000, 32
"""Of a manifest; an alias counts as what it stands for."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_TEXT = f"{_TAG}str"
_PLAIN = yaml.SafeLoader("")
_SCALARS: dict[str, Any] = {_TAG + kind: getattr(_PLAIN, f"construct_yaml_{kind}") for kind in ("null", "bool", "int", "float")}
_SCALARS[f"{_TAG}timestamp"] = _PLAIN.construct_yaml_str
VERSION = "1.0"
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$", max_length=100)]
CategoryName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)]
ClassPath = Annotated[str, StringConstraints(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$")]
_HEAD = ("schema_version", "plugin", "categories")


class AIPerfBaseModel(BaseModel):
    """The base of models that plugins make for themselves: it takes further fields, of any type."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="allow")


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class _Open(_Said):
    model_config = ConfigDict(extra="allow")


class PluginSpec(_Said):
    """A plugin. Its name is what an experiment says; nothing is imported before it is used."""

    class_: ClassPath = Field(alias="class", description="Where it is: module.path:Name.")
    description: str = Field("", description="What it is, in a sentence.")
    priority: int = Field(0, description="Of several of one name that with the highest is used, of equals that from outside.")
    metadata: dict[str, Any] | None = Field(None, description="What it says of itself; the category knows which keys there are.")


class CategorySpec(_Said):
    """A kind of plugin."""

    enum: str = Field(pattern=r"^[A-Z][A-Za-z0-9_]*$", description="What the enum of its names is called.")
    description: str = Field(description="What its plugins do, in a sentence.")
    protocol: ClassPath | None = Field(None, description="What a class must fit: module.path:Name. Without one there are no plugins yet.")
    accepts: list[ClassPath] = Field([], description="Protocols that will do as well.")
    metadata_class: ClassPath | None = Field(None, description="The pydantic model of what its plugins say of themselves.")
    internal: bool = Field(False, description="Nothing can be registered.")
    replaced_by: str | None = Field(None, description="What does the job of an internal one.")
    shares: CategoryName | None = Field(None, description="A category with which it has its names in common.")
    reserved: list[str] = Field([], description="Names that no plugin can have.")


class PluginsManifest(_Open):
    """The plugins of a package: category, name, and where the class is."""

    __pydantic_extra__: dict[str, dict[Name, PluginSpec]]

    schema_version: str | float = Field(VERSION, description="The version of this form.")
    plugin: dict[str, Any] | None = Field(None, description="Anything that people should know of the package.")
    categories: dict[CategoryName, CategorySpec] | None = Field(None, description="Kinds of plugin that the package brings itself.")


class EndpointMetadata(_Open):
    """What an endpoint says of itself; further keys are its own."""

    endpoint_path: str | None = Field(description="The path below the server's URL; null if there is none that all servers use.")
    supports_streaming: bool = Field(description="Whether answers can be streamed.")
    produces_tokens: bool = Field(description="Whether answers are made of tokens.")
    tokenizes_input: bool = Field(description="Whether the server turns the input into tokens.")
    metrics_title: str | None = Field(None, description="What stands above its numbers.")
    streaming_path: str | None = Field(None, description="The path for answers that are streamed, if it is another one.")
    service_kind: str = Field("openai", description="The kind of service that files are named after.")
    supports_audio: bool = Field(False, description="Whether it takes audio.")
    supports_images: bool = Field(False, description="Whether it takes images.")
    supports_videos: bool = Field(False, description="Whether it takes videos.")
    produces_audio: bool = Field(False, description="Whether answers hold audio.")
    produces_images: bool = Field(False, description="Whether answers hold images.")
    produces_videos: bool = Field(False, description="Whether answers hold videos.")
    requires_polling: bool = Field(False, description="Whether an answer is a job that is asked for until it is done.")
    requires_form_data: bool = Field(False, description="Whether bodies are multipart/form-data.")
    requires_inline_media: bool = Field(False, description="Whether media must be within the body, not URLs.")
    consumes_system_message: bool = Field(False, description="Whether a system message has a place in its bodies.")
    supports_cache_bust: bool = Field(False, description="Whether a mark that no cache knows can be put into its bodies.")
    takes: list[Literal["texts", "messages", "payload", "tools", "batches", "token_ids"]] | None = Field(
        None, description="What it takes of a turn besides one text."
    )


class TransportMetadata(_Open):
    """What a transport says of itself."""

    transport_type: str = Field(description="Its own name.")
    url_schemes: list[str] = Field([], description="The schemes of URLs that it can reach.")


class PlotMetadata(_Open):
    """What a plot says of itself."""

    display_name: str = Field(description="What stands above it.")
    category: str = Field(description="What it is of: per_request, aggregated, combined or comparison.")


class ServiceMetadata(_Open):
    """What the incumbent's services say of themselves; there are none here."""

    required: bool = Field(description="Whether no run goes without it.")
    auto_start: bool = Field(description="Whether it is started with a run.")
    disable_gc: bool = Field(False, description="Whether its garbage collection is off.")
    replicable: bool = Field(False, description="Whether there may be several.")


class GPUTelemetryCollectorMetadata(_Open):
    """What a collector of GPU telemetry says of itself."""

    is_local: bool = Field(description="Whether it sees the GPUs of its own machine alone.")


class TimingStrategyMetadata(_Said):
    """What a timing strategy says of itself."""

    uses: list[str] = Field([], description="Keys of `timing` that it reads; another one that is set is an error.")
    requires: list[str] = Field([], description="Keys of `timing` that it cannot do without.")
    recorded: bool = Field(False, description="Whether times are the data's own, and end the run.")


class DatasetComposerMetadata(_Said):
    """What a composer says of itself."""

    needs_file: bool = Field(False, description="Whether it cannot do without `dataset.path`.")


class MetricMetadata(_Said):
    """What a metric says of itself."""

    unit: str = Field(description="The unit of its values.")
    better: Literal["lower", "higher", "neither"] = Field(description="Which way is better.")
    population: str = Field(description="The requests that it is of.")
    needs: list[Literal["streaming", "slos"]] = Field(description="What a run must have for it to have a value.")
    list_: bool = Field(False, alias="list", description="Whether a request has a list of values.")


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
        return yaml.compose(text, Loader=_LOADER)
    except yaml.reader.ReaderError as exc:
        raise _after(text.encode("utf-8", "replace")[: exc.position], f"YAML: {exc.reason}") from exc
    except (yaml.YAMLError, RecursionError, UnicodeEncodeError) as exc:
        mark = getattr(exc, "problem_mark", None) or getattr(exc, "context_mark", None)
        raise ManifestError(*(_place(mark) if mark else (1, 1)), f"YAML: {getattr(exc, 'problem', None) or exc}") from exc


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


_Wrong = Iterator[tuple[tuple[str | int, ...], str]]
Closed = Callable[[Category, str], str | None]
"""Why a category takes no plugin of this name."""


def mistakes(
    text: str, loaded: object, categories: Mapping[str, Category], closed: Closed, others: Iterable[Mapping[str, Any]] = ()
) -> list[ManifestError]:
    """All that is wrong with what `read` made of `text`, by its lines, beside other manifests of its package. Imports nothing."""
    found = list(_wrong(loaded, categories, closed, others))
    root = composed(text) if found else None
    return sorted((ManifestError(*located(root, path), what) for path, what in found), key=lambda one: (one.line, one.column))


def _wrong(loaded: object, categories: Mapping[str, Category], closed: Closed, others: Iterable[Mapping[str, Any]]) -> _Wrong:
    if not isinstance(loaded, dict):
        yield (), f"a manifest says category, name and class, this one is {_short(loaded)}"
        return
    if (version := str(loaded.get("schema_version", VERSION))) != VERSION:
        known = "newer than 1.0: update aiperf" if re.fullmatch(r"\d+\.\d+", version) and version > VERSION else "not known; 1.0 is"
        yield ("schema_version",), f"schema_version {_short(version)} is {known}"
        return
    brought = loaded.get("categories")
    brought = brought if isinstance(brought, dict) else {}
    shut = {name: why for name in loaded if name not in (*_HEAD, *brought) and (why := _shut(name, categories))}
    yield from (((name,), why) for name, why in shut.items())
    try:
        sections = PluginsManifest.model_validate(loaded, strict=True).__pydantic_extra__
    except ValidationError as exc:
        yield from (_told(error) for error in exc.errors() if error["loc"][0] not in shut)
        return
    own = {name: Category(name, **said) for name, said in brought.items()}
    for name, kind in own.items():
        enums = {"PluginType", *(other.enum for other in (*categories.values(), *own.values()) if other.name != name)}
        if name in _HEAD or kind.enum in enums:
            yield ("categories", name), f"categories.{name}: the name {name if name in _HEAD else kind.enum} is taken"
        if categories.get(name, kind) != kind:
            yield ("categories", name), f"a category {name} is there already, and is another one"
    for name in sections.keys() - shut:
        kind = categories.get(name) or own[name]
        sharing = [plugin for one in (loaded, *others) for plugin in one.get(kind.shares) or ()]
        yield from _wrong_within(kind, sections[name], sharing, closed)


def _shut(name: str, categories: Mapping[str, Category]) -> str | None:
    """Why nothing can be declared in a category; None if it can."""
    if name not in categories:
        known = sorted(one for one, kind in categories.items() if not kind.internal)
        return f"there is no category {_short(name)}{_near(name, known)}; known: {', '.join(known)}"
    return f"the category {name} is not open: {categories[name].replaced_by}" if categories[name].internal else None


def _wrong_within(kind: Category, plugins: Mapping[str, PluginSpec], sharing: Iterable[str], closed: Closed) -> _Wrong:
    module, _, attribute = (kind.metadata_class or "").partition(":")
    model = globals().get(attribute) if module == __name__ else None
    if module == __name__ and not (isinstance(model, type) and issubclass(model, BaseModel)):
        yield ("categories", kind.name, "metadata_class"), f"categories.{kind.name}: there is no model {kind.metadata_class}"
        return
    seen = {folded(name): f"that of {kind.shares}" for name in sharing}
    for name, spec in plugins.items():
        if (same := seen.setdefault(folded(name), name)) != name:
            yield (kind.name, name), f"{kind.name}.{name}: {same} is the same name, since case and - or _ make no difference"
        if why := closed(kind, name):
            yield (kind.name, name), why
        try:
            _ = model and model.model_validate(spec.metadata or {}, strict=True)
        except ValidationError as exc:
            yield from (_told(error, kind.name, name, "metadata") for error in exc.errors())


def _told(error: Any, *above: str) -> tuple[tuple[str | int, ...], str]:
    path = (*above, *(part for part in error["loc"] if part != "[key]"))
    kind, last = error["type"], str(error["loc"][-1])
    what = f"{error['msg'][:1].lower()}{error['msg'][1:]}, it is {_short(error['input'])}"
    if kind == "missing":
        what = "is missing" + "; expected module.path:Name" * (last == "class")
    elif kind == "extra_forbidden":
        what = f"is not known{_near(last, [*PluginSpec.model_fields, *CategorySpec.model_fields, 'class'])}"
    elif kind == "string_pattern_mismatch":
        forms = {"[key]": "letters, digits, - _ and ., with a letter or a digit at both ends", "enum": "LettersAndDigits"}
        form = forms.get(last, "module.path:Name")
        what = f"{_short(error['input'])} is not of the form {form}"
    return path, f"{repr('.'.join(map(str, path)))[1:-1][:200]}: {what}"


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f", did you mean {near[0]}?" if near else ""


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]} …"

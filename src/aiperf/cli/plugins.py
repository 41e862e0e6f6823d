"""`aiperf plugins`: what there is to choose from, whether it is all there, and a package to begin one's own with.

Each form is a mapping first, which is what `--json` prints; its keys stay, and more may come.
"""

import inspect
import json
import shlex
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiperf.cli import output
from aiperf.config.terminal import terminal
from aiperf.errors import AiperfError, ConfigError
from aiperf.finite import scrub_non_finite
from aiperf.plugin import plugins, registry, scaffold
from aiperf.plugin.border import border
from aiperf.plugin.types import Category
from aiperf.report.grid import cell, grid

_PLACE = "  {:<11} "
View = dict[str, Any]


def main(words: Sequence[str], flags: Mapping[str, str]) -> int:
    """Answer one form; 1 if `--validate` found something. Raises ConfigError for forms and names that are not there."""
    if words[:1] == ("new",):
        return _new(words[1:], flags)
    forms = [name for name in ("--all", "--packages", "--validate") if name in flags]
    if len(forms) + bool(words) > 1 or len(words) > 2 or ("--import" in flags and forms != ["--validate"]):
        raise ConfigError("plugins: these do not go together; one of --all, --packages, --validate [--import], CATEGORY [NAME], or new")
    form = forms[0] if forms else ("", "CATEGORY", "NAME")[len(words)]
    look, told = _FORMS[form]
    view = {"schema_version": "1.0", **look(*words, *([True] if "--import" in flags else []))}
    view |= {"problems": list(plugins.problems()), "notes": list(plugins.notes())}
    said = (line for text in (*view["problems"], *view["notes"]) for line in _wrapped(text))
    output.say(json.dumps(scrub_non_finite(view), indent=2, default=str) if "--json" in flags else "\n".join([*told(view), *said]))
    return int(form == "--validate" and bool(view["errors"] or view["problems"]))


def _new(words: Sequence[str], flags: Mapping[str, str]) -> int:
    if len(words) not in (2, 3) or flags:
        raise ConfigError("plugins new: give CATEGORY NAME [DIR] and nothing else, as in aiperf plugins new endpoint echo")
    folder, made = scaffold.write(words[0], words[1], Path(words[2]) if words[2:] else None)
    again = f"aiperf plugins {words[0]} {words[1]}"
    steps = (f"cd {shlex.quote(str(folder))}", 'python -m pip install -e ".[test]"', "python -m pytest", again)
    output.say("\n".join([f"{folder}: a plugin that works", *(f"  {path}" for path in made), "next", *(f"  {step}" for step in steps)]))
    return 0


def _packages() -> View:
    entries = list(registry.current().every())
    counts = {name: Counter(entry.category for entry in entries if entry.package == name) for name in plugins.list_packages()}
    found = [{**asdict(plugins.get_package_metadata(name)), "count": n.total(), "by_category": n} for name, n in counts.items()]
    return {"packages": found}


def _category(typed: str) -> View:
    kind = plugins.find(typed)
    ranked = [registry.current().ranked(kind.name, entry.name) for entry in plugins.iter_entries(kind.name)]
    return {**_kind(kind), "plugins": [{**asdict(first), "shadows": [asdict(one) for one in rest]} for first, *rest in ranked]}


def _plugin(typed: str, name: str) -> View:
    entry = plugins.get_entry(typed, name)
    ranked = [asdict(one) for one in registry.current().ranked(entry.category, entry.name)]
    place = ranked.index(asdict(entry))
    found: View = {**ranked[place], "shadows": ranked[place + 1 :], "shadowed_by": ranked[:place], "options": [], "options_error": None}
    about, version = plugins.categories()[entry.category].description, plugins.get_package_metadata(entry.package).version
    found |= {"category_description": about, "version": version}
    try:
        with border(entry):
            found["options"] = list(_options(plugins.options_of(plugins.get_class(entry.category, entry.class_path))))
    except AiperfError as exc:
        found["options_error"] = str(exc)
    return found


def _validation(imports: bool = False) -> View:
    wrong = plugins.validate_all(check_class=imports)
    errors = [{"category": kind, "name": name, "error": why} for kind, found in wrong.items() for name, why in found]
    return {"checked": len(list(registry.current().every())), "imported": imports, "errors": errors}


def _kind(kind: Category) -> View:
    return {**asdict(kind), "count": len(list(plugins.iter_entries(kind.name)))}


def _options(model: Any) -> Iterator[View]:
    if model is None:
        return
    from pydantic.dataclasses import dataclass  # noqa: PLC0415 - only for a plugin that has options

    fields = model.model_fields if hasattr(model, "model_fields") else dataclass(model).__pydantic_fields__
    for name, field in fields.items():
        said = {"name": name, "type": inspect.formatannotation(field.annotation), "description": field.description or ""}
        required = field.is_required()
        yield {**said, "required": required, "default": None if required else field.get_default(call_default_factory=True)}


def _overview_text(view: View) -> Iterator[str]:
    yield from _table(["package", "version", "plugins", "description"], view["packages"], package="name", plugins="count")
    yield ""
    yield from _table(["category", "plugins", "description"], view["categories"], category="name", plugins="count")
    yield ""
    yield from _wrapped("more: aiperf plugins CATEGORY [NAME], --all, --packages, --validate; your own: aiperf plugins new", "")


def _category_text(view: View) -> Iterator[str]:
    fits = " or ".join(filter(None, (view["protocol"], *view["accepts"])))
    yield from _wrapped(f"{view['name']}: {view['description']}{f' ({fits})' if fits else ''}", "", "  ")
    if view["internal"]:
        yield from _wrapped(f"not open; in its place: {view['replaced_by']}")
    elif not view["plugins"]:
        yield "  none yet"
    else:
        yield from _table(["name", "package", "description"], view["plugins"])
    for entry in view["plugins"]:
        for other in entry["shadows"]:
            yield from _wrapped(f"{entry['name']} of {entry['package']} is used, and not {other['class_path']} of {other['package']}")


def _plugin_text(view: View) -> Iterator[str]:
    about = f"{view['category']}: {view['category_description']}"
    lines = {"type": view["name"], "category": about, "package": f"{view['package']} {view['version']}", "class": view["class_path"]}
    lines |= {"priority": str(view["priority"]), "description": view["description"]}
    lines["metadata"] = "\n".join(f"{key}: {cell(value)}" for key, value in view["metadata"].items())
    lines["options"] = view["options_error"] or "\n".join(map(_option_text, view["options"]))
    for name in ("shadows", "shadowed_by"):
        others = (f"{one['class_path']} of {one['package']} (priority {one['priority']})" for one in view[name])
        lines[name.replace("_", " ")] = "\n".join(others)
    for name, text in lines.items():
        for number, line in enumerate((text or "none").split("\n")):
            yield from _wrapped(line, _PLACE.format("" if number else name), _PLACE.format("") + ("  " if "\n" in text else ""))


def _option_text(option: View) -> str:
    value = "required" if option["required"] else f"{option['default']!r} unless set"
    return " ".join(f"{option['name']}: {option['type']}, {value}. {option['description']}".split())


def _packages_text(view: View) -> Iterator[str]:
    for package in view["packages"]:
        yield cell(f"{package['name']} {package['version']}")
        counted = ", ".join(f"{n} {kind}" for kind, n in package["by_category"].items())
        said = {name: package[name] for name in ("description", "author", "license", "homepage") if package[name] != "unknown"}
        for name, text in {**said, "plugins": f"{package['count']}{f': {counted}' if counted else ''}"}.items():
            yield from _wrapped(text, _PLACE.format(name), _PLACE.format(""))


def _validation_text(view: View) -> Iterator[str]:
    how = "imported and held against their protocols" if view["imported"] else "looked up in their sources, nothing imported"
    wrong = len(view["errors"]) + len(view["problems"])
    yield from _wrapped(f"{view['checked']} plugins {how}: {f'{wrong} wrong' if wrong else 'all are right'}", "")
    for error in view["errors"]:
        yield from _wrapped(f"{error['category']}:{error['name']}: {error['error']}")


def _table(titles: Sequence[str], found: Sequence[View], **keys: str) -> list[str]:
    """Columns by their titles, which are the keys but where `keys` names another."""
    rows = [[one[keys.get(title, title)] for title in titles] for one in found]
    return grid(titles, rows, width=terminal(sys.stdout).columns).splitlines()


def _wrapped(text: str, first: str = "  ", others: str = "    ") -> list[str]:
    width = terminal(sys.stdout).columns or 100
    return textwrap.TextWrapper(width, first, others, break_long_words=False, break_on_hyphens=False).wrap(cell(text))


_FORMS: Mapping[str, tuple[Callable[..., View], Callable[[View], Iterator[str]]]] = {
    "": (lambda: {**_packages(), "categories": [_kind(one) for one in plugins.categories().values() if not one.internal]}, _overview_text),
    "--all": (
        lambda: {"categories": [_category(name) for name in plugins.categories()]},
        lambda view: (line for kind in view["categories"] for line in (*_category_text(kind), "")),
    ),
    "--packages": (_packages, _packages_text),
    "--validate": (_validation, _validation_text),
    "CATEGORY": (_category, _category_text),
    "NAME": (_plugin, _plugin_text),
}

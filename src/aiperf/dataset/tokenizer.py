"""A tokenizer of the model under test, by transformers; the only place that knows that library, imported when one is named."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aiperf.config.dataset import Tokenizer as Options
from aiperf.dataset.bank import COMMON
from aiperf.dataset.hub import VOCABULARIES, Hub, as_ours, is_vocabulary
from aiperf.errors import ConfigError

_MESSAGES = (1, 3, 40)  # words of the messages that a chat template is tried with


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A Tokenizer of seams: what AutoTokenizer made of a name."""

    name: str
    inner: Any
    template_tokens: int | None

    def __str__(self) -> str:
        return self.name

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without special tokens."""
        ids: list[list[int]] = self.inner(list(texts), add_special_tokens=False)["input_ids"] if texts else []
        return ids

    def vocabulary(self) -> Sequence[str]:
        """Every token as text, in the tokenizer's own spelling."""
        return list(self.inner.get_vocab())


def load(options: Options, say: Callable[[str], None], hub: Hub | None = None) -> Loaded:
    """Load a folder, or an id of the hub from its cache or by a download that `say` is told of; `hub` None is the usual one.

    A folder needs no network, a cached id neither. Raises ConfigError for a name, revision or file that cannot be used.
    """
    hub, name = hub or Hub(), options.name or ""
    with _quiet():
        inner = _from_folder(options, folder) if (folder := _folder(name)) is not None else _from_hub(options, hub, say)
        loaded = Loaded(name, inner, None)
        return replace(loaded, template_tokens=_template_tokens(loaded, say))


def _folder(name: str) -> Path | None:
    """The folder of that name, if there is one."""
    with as_ours(f"{name} cannot be read"):
        path = Path(name).expanduser()
        is_folder, is_there = path.is_dir(), path.exists()
    if is_there and not is_folder:
        raise ConfigError(f"tokenizer.name: {name} is a file; give the folder that it lies in")
    return path if is_folder else None


def _from_folder(options: Options, folder: Path) -> Any:
    if options.revision != Options().revision:
        raise ConfigError(f"tokenizer.revision={options.revision} is for the hub, and tokenizer.name={options.name} is a folder")
    with as_ours(f"{options.name} cannot be read"):
        files = sorted(path.name for path in folder.iterdir())
    if not (any(map(is_vocabulary, files)) or options.trust_remote_code):
        wanted = ", ".join(VOCABULARIES)
        raise ConfigError(f"tokenizer.name: {options.name} holds no tokenizer, no file of {wanted}; it holds {_listed(files)}")
    return _opened(options, str(folder), folder)


def _from_hub(options: Options, hub: Hub, say: Callable[[str], None]) -> Any:
    """A tokenizer of the hub: from its cache, into which it is brought if it is not there."""
    name = options.name or ""
    if name.startswith(("/", "./", "../", "~")):
        raise ConfigError(f"tokenizer.name: there is no folder {name} (looked in {Path.cwd()})")
    if (folder := hub.found(name, options.revision)) is None:
        hub.fetch(name, options.revision, say)
        folder = hub.found(name, options.revision)
    if folder is None:
        raise ConfigError(f"tokenizer.name: {name} has no vocabulary under a name that is known; give a folder that holds it")
    if not (folder / "config.json").exists():  # asked for by its id, it would be looked for on the network
        return _opened(options, str(folder), folder)
    return _opened(options, name, folder, revision=options.revision, cache_dir=hub.cache)


def _opened(options: Options, source: str, folder: Path, **where: Any) -> Any:
    """What AutoTokenizer makes of a folder, or of an id that the cache keeps in it; without the network."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - takes a second, and is needed only where a tokenizer is named

    if (folder / "tekken.json").exists() and not (folder / "tokenizer.json").exists() and find_spec("mistral_common"):
        where["mistral_format"] = True  # else its chat template is lost
    with as_ours(f"{options.name} cannot be loaded"):
        return AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=options.trust_remote_code, **where)


def _template_tokens(loaded: Loaded, say: Callable[[str], None]) -> int | None:
    """What the chat template adds to the one message of a user; None if that hangs on the message, or there is no template."""
    texts = [COMMON.text(COMMON.words(size, size)) for size in _MESSAGES]
    try:
        with as_ours(f"{loaded} has a chat template that says no plain message"):
            added = {len(_chat(loaded.inner, text)) - len(ids) for text, ids in zip(texts, loaded.encode(texts))}
    except ConfigError as exc:
        if not isinstance(exc.__cause__, ValueError):  # else there is no template
            say(str(exc))
        return None
    return added.pop() if len(added) == 1 else None


def _chat(inner: Any, text: str) -> Sequence[int]:
    said = [{"role": "user", "content": text}]
    ids: Sequence[int] = inner.apply_chat_template(said, add_generation_prompt=True, tokenize=True, return_dict=False)
    return ids


@contextmanager
def _quiet() -> Iterator[None]:
    """No hints on what is not installed and no warnings, from libraries that have many; their own variables bring them back."""
    for variable in ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY"):
        os.environ.setdefault(variable, "error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _listed(files: Sequence[str]) -> str:
    return ", ".join(files[:8]) + (f" and {len(files) - 8} more" if len(files) > 8 else "") or "nothing"

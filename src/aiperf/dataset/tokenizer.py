"""A tokenizer of the model under test, by transformers, out of a folder or the hub's cache; imported when one is named.

The cache is shared with everyone else's programs, and what is there is not asked for again.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Thread
from typing import Any

from aiperf.config.dataset import Tokenizer as Options
from aiperf.dataset.bank import COMMON
from aiperf.errors import ConfigError

_MESSAGES = (1, 3, 40)  # words of the messages that a chat template is tried with
_INSTEAD = "set tokenizer.name to a folder that holds one"
_VOCABULARIES = ("tokenizer.json", "tekken.json", "vocab.json", "vocab.txt", "*.model", "*.tiktoken")
_BESIDE = (
    "config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", "chat_template*",
    "additional_chat_templates/*", "*.py",
)  # fmt: skip


def _is_of(patterns: Sequence[str], file: str) -> bool:
    return any(fnmatchcase(file, like) and file.count("/") == like.count("/") for like in patterns)


_is_vocabulary = partial(_is_of, _VOCABULARIES)


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


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub and its cache; unset is what HF_ENDPOINT and HF_HOME say. `start_s` is what a download may take to begin."""

    endpoint: str | None = None
    cache: Path | None = None
    start_s: float = 10.0

    def found(self, name: str, revision: str) -> Path | None:
        """The cache's folder of this tokenizer, if it has one; the network is not asked. Raises ConfigError for what is no name."""
        from huggingface_hub import errors, snapshot_download  # noqa: PLC0415 - only with a tokenizer of the hub

        try:
            folder = Path(snapshot_download(name, cache_dir=self.cache, revision=revision, local_files_only=True))
        except errors.LocalEntryNotFoundError:
            return None
        except errors.HFValidationError as exc:
            raise ConfigError(f"tokenizer.name: {name} is neither a folder (looked in {Path.cwd()}) nor an id as Qwen/Qwen3-8B") from exc
        return folder if any(_is_vocabulary(file.name) for file in folder.iterdir()) else None

    def fetch(self, name: str, revision: str, say: Callable[[str], None]) -> Path:
        """Download into the cache's folder, with the hub's own bars on a terminal; `say` is told before.

        Raises ConfigError for what the hub refuses, and where nothing has come after `start_s`.
        """
        from huggingface_hub import constants  # noqa: PLC0415 - only with a tokenizer of the hub

        where = self.endpoint or constants.ENDPOINT
        if constants.HF_HUB_OFFLINE:
            raise ConfigError(f"tokenizer.name: {name} is no folder and not in the cache, and HF_HUB_OFFLINE is set; {_INSTEAD}")
        say(f"tokenizer {name}: downloading from {where}")
        begun, came = Event(), list[Path | ConfigError]()

        def download() -> None:
            try:
                with _as_ours("download"):
                    came.append(self._download(name, revision, begun))
            except ConfigError as exc:
                came.append(exc)
            begun.set()

        thread = Thread(target=download, name="tokenizer", daemon=True)  # a daemon: a server that hangs does not keep us
        thread.start()
        if not begun.wait(self.start_s):
            advice = f"{_INSTEAD}, HF_ENDPOINT to another hub, or HF_HUB_OFFLINE=1 to ask none"
            raise ConfigError(f"tokenizer.name: nothing came from {where} for {name} ({revision}) within {self.start_s:g} s; {advice}")
        thread.join()
        if isinstance(found := came[0], ConfigError):
            raise ConfigError(_refused(found.__cause__, f"{name} ({revision})", where)) from found.__cause__
        return found

    def _download(self, name: str, revision: str, begun: Event) -> Path:
        """Fetch the files one after the other, vocabularies last, so that a cache that has one has all."""
        from huggingface_hub import HfApi, hf_hub_download  # noqa: PLC0415 - only with a tokenizer of the hub
        from huggingface_hub.utils.tqdm import tqdm  # noqa: PLC0415 - as above

        class Bar(tqdm):  # the hub's own, which tells when the first byte has come
            def update(self, n: float | None = 1) -> bool | None:
                begun.set()
                shown: bool | None = super().update(n)
                return shown

        listed = HfApi(endpoint=self.endpoint).model_info(name, revision=revision, timeout=2 * self.start_s)
        names = [file.rfilename for file in listed.siblings or ()]
        if not any(map(_is_vocabulary, names)):
            raise ValueError(f"it holds no tokenizer, no file of {', '.join(_VOCABULARIES)}")
        wanted = [file for file in names if _is_of(_BESIDE + _VOCABULARIES, file)]
        for file in sorted(wanted, key=_is_vocabulary):
            path = hf_hub_download(name, file, revision=revision, cache_dir=self.cache, endpoint=self.endpoint, tqdm_class=Bar)
        return Path(path).parent


def load(options: Options, say: Callable[[str], None], hub: Hub | None = None) -> Loaded:
    """Load a folder, or an id of the hub from its cache or by a download that `say` is told of; `hub` None is the usual one.

    A folder needs no network, a cached id neither. Raises ConfigError for a name, revision or file that cannot be used.
    """
    name, revision, hub = options.name or "", options.revision, hub or Hub()
    with _quiet():
        folder = _folder(options) or hub.found(name, revision) or hub.fetch(name, revision, say)
        loaded = Loaded(name, _opened(options, folder), None)
        return replace(loaded, template_tokens=_template_tokens(loaded, say))


def _folder(options: Options) -> Path | None:
    """The folder of that name; None if it may be an id of the hub."""
    name = options.name or ""
    with _as_ours(f"{name} cannot be read"):
        path = Path(name).expanduser()
        is_there, files = path.exists(), sorted(file.name for file in path.iterdir()) if path.is_dir() else None
    if files is None:
        if is_there:
            raise ConfigError(f"tokenizer.name: {name} is a file; give the folder that it lies in")
        if name.startswith(("/", "./", "../", "~")):
            raise ConfigError(f"tokenizer.name: there is no folder {name} (looked in {Path.cwd()})")
        return None
    if options.revision != Options().revision:
        raise ConfigError(f"tokenizer.revision={options.revision} is for the hub, and tokenizer.name={name} is a folder")
    if not (any(map(_is_vocabulary, files)) or options.trust_remote_code):
        listed = ", ".join(files[:8]) + (f" and {len(files) - 8} more" if len(files) > 8 else "")
        wanted = ", ".join(_VOCABULARIES)
        raise ConfigError(f"tokenizer.name: {name} holds no tokenizer, no file of {wanted}; it holds {listed or 'nothing'}")
    return path


def _opened(options: Options, folder: Path) -> Any:
    """What AutoTokenizer makes of a folder, without the network: an id that is cached without its model would be looked for there."""
    from transformers import AutoTokenizer  # noqa: PLC0415 - takes a second, and is needed only where a tokenizer is named

    more: dict[str, Any] = {"local_files_only": True, "trust_remote_code": options.trust_remote_code}
    if (folder / "tekken.json").exists() and not (folder / "tokenizer.json").exists() and find_spec("mistral_common"):
        more["mistral_format"] = True  # else its chat template is lost
    with _as_ours(f"{options.name} cannot be loaded"):
        return AutoTokenizer.from_pretrained(str(folder), **more)


def _template_tokens(loaded: Loaded, say: Callable[[str], None]) -> int | None:
    """What the chat template adds to the one message of a user; None if that hangs on the message, or there is no template."""
    texts = [COMMON.text(COMMON.words(size, size)) for size in _MESSAGES]
    said = [[{"role": "user", "content": text}] for text in texts]
    try:
        with _as_ours(f"{loaded} has a chat template that says no plain message"):
            chats = loaded.inner.apply_chat_template(said, add_generation_prompt=True, tokenize=True, return_dict=False)
            added = {len(chat) - len(ids) for chat, ids in zip(chats, loaded.encode(texts))}
    except ConfigError as exc:
        if not isinstance(exc.__cause__, ValueError):  # else there is no template
            say(str(exc))
        return None
    return added.pop() if len(added) == 1 else None


@contextmanager
def _quiet() -> Iterator[None]:
    """No hints on what is not installed and no warnings, from libraries that have many; their own variables bring them back."""
    for variable in ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY"):
        os.environ.setdefault(variable, "error")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _refused(error: BaseException | None, name: str, where: str) -> str:
    """What the hub's error means for a person."""
    from huggingface_hub import errors  # noqa: PLC0415 - only with a tokenizer of the hub

    if isinstance(error, errors.GatedRepoError):
        return f"tokenizer.name: {name} is gated: accept its terms at {where}/{name.split(' ')[0]} and set HF_TOKEN, or {_INSTEAD}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"tokenizer.revision: {where} has no such revision of {name}"
    seen = f"could not be had from {where} ({_first_line(error)}); {_INSTEAD}"
    if isinstance(error, errors.RepositoryNotFoundError):
        advice = f"check its spelling, set HF_TOKEN if it is private, or {_INSTEAD}"
        seen = f"is no folder (looked in {Path.cwd()}), and {where} has no such model that may be read; {advice}"
    return f"tokenizer.name: {name} {seen}"


@contextmanager
def _as_ours(what: str) -> Iterator[None]:
    """Turn whatever goes wrong with a tokenizer into our error: `what`, the foreign error's first line and some advice."""
    try:
        yield
    except Exception as exc:  # a broken file is a bare Exception of tokenizers, and code that comes with a model raises anything
        advice = "; is one of its files broken or missing, or written for a package (sentencepiece, tiktoken) that is not installed?"
        if "trust_remote_code" in str(exc):
            advice = "; it comes with code of its own: read it, then set tokenizer.trust_remote_code=true to run it"
        elif isinstance(exc, ImportError):
            advice = "; a package is not installed"
        raise ConfigError(f"tokenizer.name: {what} ({_first_line(exc)}){advice}") from exc


def _first_line(error: BaseException | None) -> str:
    """An error's kind and the first line that it says, cut to what fits on one of ours."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__

"""Brings a tokenizer's files from the hub into its cache, which is shared with everyone else's; what is there is not asked for again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Event, Thread
from typing import Any

from aiperf.errors import ConfigError

_INSTEAD = "set tokenizer.name to a folder that holds one"

VOCABULARIES = ("tokenizer.json", "tekken.json", "vocab.json", "vocab.txt", "*.model", "*.tiktoken")
"""One of these is what a tokenizer is made of."""

_BESIDE = (
    "config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", "chat_template*",
    "additional_chat_templates/*", "*.py",
)  # fmt: skip
_CACHED = (
    "tokenizer.json", "tekken.json", "vocab.json", "vocab.txt", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
    "tiktoken.model", "qwen.tiktoken",
)  # fmt: skip


def is_vocabulary(file: str) -> bool:
    """Whether a file at the top of a folder may hold a vocabulary."""
    return "/" not in file and any(fnmatchcase(file, pattern) for pattern in VOCABULARIES)


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub and its cache; unset is what HF_ENDPOINT and HF_HOME say. `start_s` is what a download may take to begin."""

    endpoint: str | None = None
    cache: Path | None = None
    start_s: float = 10.0

    def found(self, name: str, revision: str) -> Path | None:
        """The cache's folder of this tokenizer, None if it has none; the network is not asked.

        Raises ConfigError for a name that can be none.
        """
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - only with a tokenizer of the hub
        from huggingface_hub.errors import HFValidationError  # noqa: PLC0415 - as above

        try:
            paths = [try_to_load_from_cache(name, file, cache_dir=self.cache, revision=revision) for file in _CACHED]
        except HFValidationError as exc:
            looked = f"a folder (looked in {Path.cwd()})"
            raise ConfigError(f"tokenizer.name: {name} is neither {looked} nor an id on the hub (as in Qwen/Qwen3-8B)") from exc
        return next((Path(path).parent for path in paths if isinstance(path, str)), None)

    def fetch(self, name: str, revision: str, say: Callable[[str], None]) -> None:
        """Download into the cache, with the hub's own bars on a terminal; `say` is told before.

        Raises ConfigError for what the hub refuses, and where nothing has come after `start_s`.
        """
        from huggingface_hub import constants  # noqa: PLC0415 - only with a tokenizer of the hub

        where = self.endpoint or constants.ENDPOINT
        if constants.HF_HUB_OFFLINE:
            raise ConfigError(f"tokenizer.name: {name} is no folder and not in the cache, and HF_HUB_OFFLINE is set; {_INSTEAD}")
        say(f"tokenizer {name}: downloading from {where}")
        begun = Event()
        error: BaseException | None = None

        def download() -> None:
            nonlocal error
            try:
                with as_ours("download"):
                    self._download(name, revision, begun)
            except ConfigError as exc:
                error = exc.__cause__
            finally:
                begun.set()

        thread = Thread(target=download, name="tokenizer", daemon=True)  # a daemon: a server that hangs does not keep us
        thread.start()
        if not begun.wait(self.start_s):
            raise ConfigError(
                f"tokenizer.name: nothing came from {where} for {name} ({revision}) within {self.start_s:g} s; "
                f"{_INSTEAD}, HF_ENDPOINT to another hub, or HF_HUB_OFFLINE=1 to ask none"
            )
        thread.join()
        if error is not None:
            raise ConfigError(_refused(error, f"{name} ({revision})", where)) from error

    def _download(self, name: str, revision: str, begun: Event) -> None:
        """Fetch the files one after the other, vocabularies last, so that a cache that has one has all."""
        from huggingface_hub import HfApi, hf_hub_download  # noqa: PLC0415 - only with a tokenizer of the hub

        bar = _bar(begun)
        listed = HfApi(endpoint=self.endpoint).model_info(name, revision=revision, timeout=self.start_s)
        names = [file.rfilename for file in listed.siblings or ()]
        vocabularies = [name for name in names if is_vocabulary(name)]
        if not vocabularies:
            raise ValueError(f"it holds no tokenizer, no file of {', '.join(VOCABULARIES)}")
        beside = [file for file in names if any(fnmatchcase(file, like) and file.count("/") == like.count("/") for like in _BESIDE)]
        for file in beside + vocabularies:
            hf_hub_download(name, file, revision=revision, cache_dir=self.cache, endpoint=self.endpoint, tqdm_class=bar)


def _bar(begun: Event) -> Any:
    """The hub's progress bar, which tells when the first byte has come."""
    from huggingface_hub.utils.tqdm import tqdm  # noqa: PLC0415 - only with a tokenizer of the hub

    class Bar(tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            begun.set()
            shown: bool | None = super().update(n)
            return shown

    return Bar


def _refused(error: BaseException, name: str, where: str) -> str:
    """What the hub's error means for a person."""
    from huggingface_hub import errors  # noqa: PLC0415 - only with a tokenizer of the hub

    if isinstance(error, errors.GatedRepoError):
        return f"tokenizer.name: {name} is gated: accept its terms at {where}/{name.split(' ')[0]} and set HF_TOKEN, or {_INSTEAD}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"tokenizer.revision: {where} has no such revision of {name}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"tokenizer.name: {name} is no folder (looked in {Path.cwd()}), and {where} has no such model that may be read; "
            f"check its spelling, set HF_TOKEN if it is private, or {_INSTEAD}"
        )
    return f"tokenizer.name: {name} could not be had from {where} ({_first_line(error)}); {_INSTEAD}"


@contextmanager
def as_ours(what: str) -> Iterator[None]:
    """Turn whatever goes wrong with a tokenizer into our error: `what`, the foreign error's first line and some advice."""
    try:
        yield
    except Exception as exc:  # a broken file is a bare Exception of tokenizers, and code that comes with a model raises anything
        raise ConfigError(f"tokenizer.name: {what} ({_first_line(exc)}){_advice(exc)}") from exc


def _advice(error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "; it comes with code of its own: read it, then set tokenizer.trust_remote_code=true to run it"
    if isinstance(error, ImportError):
        return "; a package is not installed"
    return "; is one of its files broken or missing, or written for a package (sentencepiece, tiktoken) that is not installed?"


def _first_line(error: BaseException) -> str:
    """An error's kind and the first line that it says, cut to what fits on one of ours."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line[:200]}" if line else type(error).__name__

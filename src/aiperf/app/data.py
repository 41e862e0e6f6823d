"""What is to be said, loaded before anything heavy is: most mistakes are in it, and whoever made one should not wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiperf.config.checks import taken
from aiperf.config.experiment import Experiment
from aiperf.dataset.bank import Wording, bank_of
from aiperf.errors import ConfigError, MeasureError
from aiperf.paths import data_file
from aiperf.plugin.plugins import make
from aiperf.seams import Source


@dataclass(frozen=True, slots=True)
class Counting:
    """What a named tokenizer says of the run's lengths; `template_tokens` is what its chat template adds (None: ask the server).

    `expected_extra` is what the server is then expected to count beyond the asked lengths, where that is known beforehand.
    """

    name: str | None = None
    template_tokens: int | None = None
    expected_extra: int | None = None

    def notes(self, measured: int | None) -> list[str]:
        """A word on a server that adds another number of tokens than its tokenizer's template does."""
        if self.template_tokens is None or measured is None or measured == self.template_tokens:
            return []
        return [f"the server adds {measured} tokens to a prompt, the chat template of {self.name} {self.template_tokens}"]


@dataclass(frozen=True, slots=True)
class Data:
    """The conversations, before it is decided when they are due."""

    source: Source
    wording: Wording
    counting: Counting


def data(experiment: Experiment, salt: str, say: Callable[[str], None]) -> Data:
    """Load what is to be said. Raises ConfigError and DataError, before anything is sent."""
    wording, counting = _worded(experiment, salt, say)
    options = experiment.dataset
    source = make("dataset_composer", options.type, options, seed=experiment.seed, wording=wording, options=options.options)
    takes = taken(experiment.endpoint.type)
    if strangers := sorted(source.says - set(takes)):
        raise ConfigError(
            f"{options.path or f'dataset.type={options.type}'} holds {', '.join(strangers)}, "
            f"and endpoint.type={experiment.endpoint.type} takes {', '.join(takes)}"
        )
    return Data(source, wording, counting)


def _worded(experiment: Experiment, salt: str, say: Callable[[str], None]) -> tuple[Wording, Counting]:
    """Load the tokenizer, if one is named. Raises ConfigError where it cannot be had or used."""
    options = experiment.tokenizer
    if options.name is None:
        return Wording(salt=salt), Counting()
    from aiperf.dataset.tokenizer import load  # noqa: PLC0415 - only with a tokenizer

    tokenizer = load(options, say)
    bank = bank_of(tokenizer, with_ids=experiment.endpoint.prompt == "token_ids")
    template = tokenizer.template_tokens if "messages" in taken(experiment.endpoint.type) else None
    if not options.apply_chat_template:
        return Wording(bank, salt), Counting(options.name, template, template)
    if template is None:
        raise ConfigError(
            f"tokenizer.apply_chat_template: {options.name} has no chat template that adds a constant number of tokens, "
            f"or endpoint.type={experiment.endpoint.type} uses none; leave it off"
        )
    return Wording(bank, salt, template), Counting(options.name, template, 0)


def salt_of(word: str, run: str) -> str:
    """What the texts are salted with: the run's own name, nothing, or the word that was given."""
    return {"run": run, "none": ""}.get(word, word)


@contextmanager
def enough_memory(path: str | None) -> Iterator[None]:
    """Raises MeasureError where the memory does not hold the run; `path` is its data's."""
    try:
        yield
    except MemoryError as exc:
        size = None if path is None else data_file(path, "dataset.path").stat().st_size / 1e6
        hint = "fewer requests need less" if size is None else f"dataset.path={path} has {size:,.0f} MB; fewer rows need less"
        raise MeasureError(f"the run needs more memory than there is ({hint})") from exc

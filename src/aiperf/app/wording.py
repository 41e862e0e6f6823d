"""How the run's texts are drawn and counted: from common words, or from the vocabulary of the tokenizer that is named."""

from collections.abc import Callable
from dataclasses import dataclass

from aiperf.config.declared import taken
from aiperf.config.experiment import Experiment
from aiperf.dataset.bank import Wording
from aiperf.errors import ConfigError


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


def worded(experiment: Experiment, salt: str, say: Callable[[str], None]) -> tuple[Wording, Counting]:
    """Load the tokenizer, if one is named. Raises ConfigError where it cannot be had or used."""
    options = experiment.tokenizer
    if options.name is None:
        return Wording(salt=salt), Counting()
    from aiperf.dataset.tokenizer import load  # noqa: PLC0415 - only with a tokenizer
    from aiperf.dataset.vocabulary import bank_of  # noqa: PLC0415 - as above

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

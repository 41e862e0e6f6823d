"""How tokens are counted on our side."""

from pydantic import Field

from aiperf.config.base import Model


class Tokenizer(Model):
    """The tokenizer of the model under test; without a name prompts are words that are one token in all common vocabularies."""

    name: str | None = Field(None, min_length=1)
    """A folder, or a model's id on the hub; unset: none is needed."""
    revision: str = Field("main", min_length=1)
    """Branch, tag or commit on the hub."""
    trust_remote_code: bool = False
    """Whether code that comes with the tokenizer may run on this machine."""
    apply_chat_template: bool = False
    """Whether asked prompt lengths include what the chat template adds, so that the text is that much shorter."""

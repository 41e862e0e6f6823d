"""What is said to the server, and how its tokens are counted on our side."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from aiperf.config.base import Model, short_for
from aiperf.plugin.plugins import declared


class InputTokens(Model):
    """Prompt lengths; a scalar in place of this group is the mean."""

    mean: float = Field(100, ge=1, le=10_000_000)
    """Mean length of a prompt in tokens."""
    stddev: float = Field(0, ge=0, le=10_000_000)
    """Standard deviation (normal, at least 1 token)."""


class OutputTokens(Model):
    """Answer lengths; a scalar in place of this group is the mean."""

    mean: float | None = Field(None, ge=1, le=10_000_000)
    """Mean length that is asked for by `max_tokens`; unset asks for none. A trace has its own."""
    stddev: float = Field(0, ge=0, le=10_000_000)
    """Standard deviation (normal, at least 1 token)."""
    exact: bool = False
    """Send `min_tokens` and `ignore_eos` too, and check the lengths against the server's usage."""


class Dataset(Model):
    """Where conversations come from."""

    type: str = "synthetic"
    """A name of the category `dataset_composer`: `synthetic`, or `custom` for a file."""
    format: str | None = Field(None, min_length=1)
    """How the file is read: a name of the category `custom_dataset_loader`; unset: recognised by its first row."""
    path: str | None = Field(None, min_length=1)
    """The file; `pkg://…` is one that comes with aiperf."""
    input_tokens: Annotated[InputTokens, short_for("mean")] = Field(default_factory=InputTokens)
    """Prompt lengths of synthetic conversations."""
    output_tokens: Annotated[OutputTokens, short_for("mean")] = Field(default_factory=OutputTokens)
    """Answer lengths."""
    entries: int | None = Field(None, ge=1, le=100_000_000)
    """Distinct conversations; after the last comes the first again. Unset: no two are alike, or all rows of the file."""
    sampling: str = "sequential"
    """Which conversation is next: a name of the category `dataset_sampler`: `sequential`, `random` or `shuffle`."""
    batch_size: int = Field(1, ge=1, le=4096)
    """Texts in a request, for endpoints that take several at once."""
    on_bad_row: Literal["stop", "skip"] = "stop"
    """What a row that cannot be used means: `stop` refuses the file with the reason, `skip` leaves it out, counts it and says so."""
    salt: str = Field("run", min_length=1)
    """`run` makes every text unique to the run, so that a cache of yesterday does not answer; `none`, or a word of your own."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What a plugin that is used here has of its own: a composer, a loader (with `format`), a sampler."""

    def _broken(self) -> Iterator[str]:
        needs_file, lengths = declared("dataset_composer", self.type).get("needs_file"), self.output_tokens
        drawn = needs_file is False
        shuffled, without = f"sampling={self.sampling}", "since no two synthetic conversations are alike without"
        faults = {
            "a custom dataset needs path, as in dataset=mooncake_trace dataset.path=FILE": needs_file and not self.path,
            f"{shuffled} needs entries, {without}": drawn and self.sampling != "sequential" and self.entries is None,
            "on_bad_row is for files; synthetic conversations have no rows": drawn and self.on_bad_row != "stop",
            "path and format are for custom datasets; did you mean dataset=mooncake_trace?": drawn and (self.path or self.format),
            "output_tokens.exact needs output_tokens.mean": lengths.exact and lengths.mean is None and drawn,
            "output_tokens.stddev needs output_tokens.mean": lengths.stddev and lengths.mean is None,
        }
        return (text for text, found in faults.items() if found)


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

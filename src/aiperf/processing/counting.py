"""Counts the tokens of answers whose server did not say, with the tokenizer that the client was given."""

from collections.abc import Callable
from dataclasses import dataclass, field

from aiperf.config.dataset import Tokenizer as Options
from aiperf.dataset import tokenizer
from aiperf.processing.derive import Row
from aiperf.records import PHASES
from aiperf.seams import Said, Tokenizer

_ROOM_CHARS = 4_000_000
_RUN = PHASES[-1]

Load = Callable[[Options], Tokenizer]


def load(options: Options) -> Tokenizer:
    """The tokenizer of a name; what is to be said of it was said when prompts were made with it. Raises ConfigError."""
    return tokenizer.load(options, lambda _: None)


@dataclass(slots=True)
class Counting:
    """Takes texts of rows and counts many at a time; the tokenizer is loaded with the first of them, and never without a name.

    `counted` is how many answers of the run were counted.
    """

    options: Options
    load: Load = load
    counted: int = 0
    _tokenizer: Tokenizer | None = None
    _texts: dict[int, str] = field(default_factory=dict)
    _chars: int = 0

    def take(self, rows: list[Row], said: Said) -> None:
        """Note what the last row said, if it is a good answer that its server did not count."""
        if not said.text or self.options.name is None or rows[-1]["error"] is not None:
            return
        self._texts[len(rows) - 1] = said.text
        rows[-1]["reasoning_tokens"] = said.reasoning_tokens  # by events it would not be in proportion to the count
        self._chars += len(said.text)
        if self._chars >= _ROOM_CHARS:
            self.count(rows)

    def count(self, rows: list[Row]) -> None:
        """Put the counts of what was noted into these rows."""
        if not self._texts:
            return
        if self._tokenizer is None:
            self._tokenizer = self.load(self.options)
        for place, ids in zip(self._texts, self._tokenizer.encode(list(self._texts.values()))):
            rows[place]["output_tokens"] = len(ids)
            self.counted += rows[place]["phase"] == _RUN
        self._texts, self._chars = {}, 0

"""Colours of a terminal, or none."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paint:
    """Wraps text in ANSI codes where `colour` is on; for pipes and files it is off and the text stays as it is."""

    colour: bool

    def bold(self, text: str) -> str:
        """What is looked for first."""
        return self._in(text, 1)

    def dim(self, text: str) -> str:
        """What means less."""
        return self._in(text, 2)

    def red(self, text: str) -> str:
        """What is wrong."""
        return self._in(text, 31)

    def green(self, text: str) -> str:
        """What is as it should be."""
        return self._in(text, 32)

    def _in(self, text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

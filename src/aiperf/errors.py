"""The error tree. What is in it is data or a person's mistake; anything else that is raised is a bug and stops the run."""

from collections.abc import Sequence
from typing import ClassVar


class AiperfError(Exception):
    """Anything that the project expects to go wrong; `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 1


class ConfigError(AiperfError):
    """An experiment or a command line that cannot be run; holds every mistake that was found, one line each."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class DataError(ConfigError):
    """A row of a data file that cannot be used; the message names file, line, field and value."""


class MeasureError(AiperfError):
    """Nothing could be measured, for a reason outside of the experiment: no server, no model, no disk."""


class SpoolError(AiperfError):
    """A spool that cannot be read past an offset, which the message names."""


class ClientError(AiperfError):
    """A request that cannot be made or read because of code of ours or a plugin's; becomes the error class `client`."""

"""What is to be said, loaded before anything heavy is: most mistakes are in it, and whoever made one should not wait."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiperf.app.wording import Counting, worded
from aiperf.config.declared import taken
from aiperf.config.experiment import Experiment
from aiperf.dataset.bank import Wording
from aiperf.errors import ConfigError, MeasureError
from aiperf.paths import data_file
from aiperf.plugin.plugins import make
from aiperf.seams import Source


@dataclass(frozen=True, slots=True)
class Data:
    """The conversations, before it is decided when they are due."""

    source: Source
    wording: Wording
    counting: Counting


def data(experiment: Experiment, salt: str, say: Callable[[str], None]) -> Data:
    """Load what is to be said. Raises ConfigError and DataError, before anything is sent."""
    wording, counting = worded(experiment, salt, say)
    options = experiment.dataset
    source = make("dataset_composer", options.type, options, seed=experiment.seed, wording=wording, options=options.options)
    takes = taken(experiment.endpoint.type)
    if strangers := sorted(source.says - set(takes)):
        raise ConfigError(
            f"{options.path or f'dataset.type={options.type}'} holds {', '.join(strangers)}, "
            f"and endpoint.type={experiment.endpoint.type} takes {', '.join(takes)}"
        )
    return Data(source, wording, counting)


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

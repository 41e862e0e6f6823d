"""What a processor is asked to do."""

from dataclasses import dataclass, field
from pathlib import Path

from aiperf.config.dataset import Tokenizer
from aiperf.config.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class ProcessTask:
    """Turn the requests with `number % shards == shard` of these spools (one a generator, in order) into Parquet files, one a spool.

    `records` is the folder of the files. `plan` is plan.parquet where every arrival was planned before the start (else None): a
    planned request of which no spool knows becomes a record of class `unsent`. `urls` are the servers' addresses by index,
    `model` the one asked for. `tokenizer` counts answers that their server did not; without a name each event with tokens is one.
    """

    spools: tuple[Path, ...]
    records: Path
    endpoint: Endpoint
    urls: tuple[str, ...]
    model: str
    plan: Path | None = None
    shard: int = 0
    shards: int = 1
    tokenizer: Tokenizer = field(default_factory=Tokenizer)

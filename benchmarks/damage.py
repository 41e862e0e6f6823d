"""One flipped byte in each of a hundred places of a spool: its frame is named with the offset, and every frame before it is used."""

import random
import sys
import tempfile
from pathlib import Path

import pyarrow.compute as pc

from aiperf.app.repeat import again
from aiperf.spool import SpoolReader
from aiperf.store.campaign import Campaign
from aiperf.store.parquet import read_records
from harness import Table, play

PLACES = 100
RUN = (
    "endpoint=simulator", "endpoint.simulator.clock=virtual", "endpoint.simulator.ttft_ms=20", "endpoint.simulator.itl_ms=5",
    "timing=request_rate", "timing.rate=200", "timing.stop.duration_s=60", "dataset.output_tokens=16", "output.level=raw",
)  # fmt: skip


def frames(spool: Path) -> list[tuple[int, int, set[int]]]:
    """Where each frame begins and ends, and the requests whose last part is in it."""
    reader, found, began, ended = SpoolReader(spool), [], 0, set[int]()
    for frame in reader.frames():
        if ended:
            found.append((began, reader.offset, ended))
        began, ended = reader.offset, {row.request for row in frame.rows if row.last}
    return [*found, (began, spool.stat().st_size, ended)]


def main() -> None:
    places = int(sys.argv[sys.argv.index("--goes") + 1]) if "--goes" in sys.argv else PLACES
    table, drawn = Table(f"a flipped byte in {places} places of a spool of 12,000 requests"), random.Random(3)
    with tempfile.TemporaryDirectory(prefix="aiperf-benchmark-") as folder:
        campaign = Campaign(play(Path(folder), *RUN).folder)
        (spool,) = campaign.spool.glob("*.spool")
        whole, known = spool.read_bytes(), frames(spool)
        before = (campaign.trial / "summary.json").read_bytes()
        named = used = invalid = 0
        for at in sorted(drawn.sample(range(len(whole)), places)):
            spool.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << drawn.randrange(8))]) + whole[at + 1 :])
            said: list[str] = []
            ended = again(campaign, "process", said.append)
            offset = next(began for began, end, _ in known if began <= at < end)
            named += f"byte {offset} " in "\n".join(ended.summary.verdict.notes)
            invalid += "lost_frames" in {reason.reason for reason in ended.summary.verdict.reasons}
            good = read_records(campaign.records).filter(pc.field("error").is_null())["request"].to_pylist()
            used += set(good) == set().union(*(requests for began, _, requests in known if began < offset))
        spool.write_bytes(whole)
        again(campaign, "process", print if "-v" in sys.argv else lambda _: None)
        table.note("frames", len(known))
        table.equal("damage named with the offset of its frame", named, places)
        table.equal("verdicts with lost_frames", invalid, places)
        table.equal("of every frame before it, and of none behind, all answers used", used, places)
        table.equal("mended, the summary is the same to the byte", (campaign.trial / "summary.json").read_bytes() == before, True)
    table.close()


if __name__ == "__main__":
    main()

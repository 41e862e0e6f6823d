"""An open loop that asks for more than the server carries, on real sockets: its numbers are no steady state, and the verdict says so."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import NOISE, ran

SERVICE_S = 0.02
ANSWER = json.dumps({"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}).encode()


async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, turn: asyncio.Lock) -> None:
    """Answers one request after the other, whichever connection they come by."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        lengths = [int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        await reader.readexactly(*lengths)
        async with turn:
            await asyncio.sleep(SERVICE_S)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))


async def ended() -> None:
    """Hang up on who is still connected."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@pytest.fixture
def one_at_a_time() -> Iterator[str]:
    """The address of a server that carries less than 1 / SERVICE_S requests a second."""
    loop, turn = asyncio.new_event_loop(), asyncio.Lock()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def handled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await served(reader, writer, turn)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(handled, "127.0.0.1", 0), loop).result()
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    asyncio.run_coroutine_threadsafe(ended(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_queue_that_grows_all_the_while_is_a_trend(one_at_a_time: str, tmp_path: Path) -> None:
    done = ran(
        tmp_path / "out", "endpoint=openai", f"endpoint.url={one_at_a_time}", "endpoint.model=m", "endpoint.streaming=false", NOISE,
        "timing=request_rate", "timing.rate=120", "timing.stop.duration_s=2.5", "timing.stop.grace_s=0.5", "ui.type=none",
    )  # fmt: skip
    assert done.code == 3, done.out + done.err
    (trend,) = (reason for reason in done.summary["verdict"]["reasons"] if reason["reason"] == "trend")
    assert "in flight went from" in trend["detail"]
    assert "lower timing.rate" in trend["advice"]

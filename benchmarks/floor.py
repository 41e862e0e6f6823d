"""The least that a Python client can cost: bare clients against truth, nothing kept but stamps.

    python benchmarks/floor.py KIND PORT CONCURRENCY REQUESTS TOKENS [--stream] [--rate PER_S [--arrival constant]]

aiohttp  one shared ClientSession: what a library client costs
wire     asyncio.Protocol and httptools on uvloop
kernel   a bare socket and httptools; the arrival of each read is the kernel's own stamp (SO_TIMESTAMPNS, Linux), so that
         a client that gets round to reading 20 ms late still reports when the bytes arrived

Closed loop; with --rate (kernel only) open loop, each request at its absolute time by a timerfd that fires 200 us early
and a look at the clock until it has come. It is a measuring stick, not a design: it parses no event, renders no prompt,
keeps no session and survives no error. Prints one line of JSON.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from functools import partial

import aiohttp
import httptools
import numpy as np
import uvloop

SO_TIMESTAMPNS = 35
SPIN_NS = 200_000
SECOND = 1_000_000_000
now = time.time_ns
timespec = struct.Struct("qq").unpack_from

Sent = tuple[int, list[int]]
"""When a request was sent and the arrivals of the reads that carried its body (CLOCK_REALTIME nanoseconds)."""


def request(port: int, tokens: int, *, stream: bool) -> tuple[bytes, bytes]:
    """Head and body with a place for the request's number in the head."""
    said = {"model": "truth", "stream": stream, "max_tokens": tokens, "messages": [{"role": "user", "content": "x" * 200}]}
    body = json.dumps(said).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Request-ID: floor-%d\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode(), body


class Exchange:
    """One connection's response: stamps of the reads that carried body bytes."""

    def __init__(self, port: int, whole: bytes):
        self.port, self.whole = port, whole
        self.chunk = self.done = False
        self.stamps: list[int] = []
        self.over: Callable[[], object] = lambda: None

    def begin(self, over: Callable[[], object]):
        self.parser, self.stamps, self.over = httptools.HttpResponseParser(self), [], over

    def on_body(self, _):
        self.chunk = True

    def on_message_complete(self):
        self.done = True

    def feed(self, data: bytes, stamp: int):
        self.parser.feed_data(data)
        if self.chunk:
            self.stamps.append(stamp)
            self.chunk = False
        if self.done:
            self.done = False
            self.over()


class Wire(Exchange, asyncio.Protocol):
    async def open(self):
        self.transport, _ = await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self.port)

    def send(self, number: int):
        self.transport.write(self.whole % number)

    def data_received(self, data):
        self.feed(data, now())


class Kernel(Exchange):
    async def open(self):
        loop = asyncio.get_running_loop()
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        await loop.sock_connect(self.sock, ("127.0.0.1", self.port))
        loop.add_reader(self.sock, self.readable)

    def send(self, number: int):
        self.sock.send(self.whole % number)

    def readable(self):
        data, ancillary, _, _ = self.sock.recvmsg(65536, 64)
        seconds, nanos = timespec(ancillary[0][2])
        self.feed(data, seconds * SECOND + nanos)


async def closed(exchanges: list[Exchange], seats: Iterator[int], out: list[Sent]):
    """Each connection sends its next request as soon as it has its answer."""

    async def user(exchange: Exchange):
        await exchange.open()
        for number in seats:
            finished = asyncio.get_running_loop().create_future()
            exchange.begin(partial(finished.set_result, None))
            sent = now()
            exchange.send(number)
            await finished
            out.append((sent, exchange.stamps))

    await asyncio.gather(*(user(exchange) for exchange in exchanges))


class Pacer:
    """Calls `fire` with each number at its absolute CLOCK_MONOTONIC time, within what the clock allows."""

    def __init__(self, due_ns: list[int], fire: Callable[[int], None]):
        self.due, self.fire, self.place, self.libc = due_ns, fire, 0, ctypes.CDLL(None)
        self.fd = self.libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        asyncio.get_running_loop().add_reader(self.fd, self.expired)
        self.wake()

    def wake(self):
        early = max(self.due[self.place] - SPIN_NS, 1)
        self.libc.timerfd_settime(self.fd, 1, (ctypes.c_long * 4)(0, 0, *divmod(early, SECOND)), None)

    def expired(self):
        os.read(self.fd, 8)
        while self.place < len(self.due) and (left := self.due[self.place] - time.monotonic_ns()) < SPIN_NS:
            if left <= 0:
                self.fire(self.place)
                self.place += 1
        if self.place < len(self.due):
            self.wake()


async def paced(idle: list[Kernel], due_ns: np.ndarray, out: list[Sent], late: list[int]):
    """Each request goes out at its time on a connection that is idle; `due_ns` counts from the start."""
    finished = asyncio.get_running_loop().create_future()
    for exchange in idle:
        await exchange.open()
    due = (time.monotonic_ns() + 50_000_000 + due_ns).tolist()

    def go(number: int):
        late.append(time.monotonic_ns() - due[number])
        exchange, sent = idle.pop(), now()
        exchange.begin(lambda: landed(exchange, sent))
        exchange.send(number)

    def landed(exchange: Kernel, sent: int):
        out.append((sent, exchange.stamps))
        idle.append(exchange)
        if len(out) == len(due):
            finished.set_result(None)

    pacer = Pacer(due, go)
    await finished
    asyncio.get_running_loop().remove_reader(pacer.fd)


async def with_aiohttp(options: argparse.Namespace, seats: Iterator[int], out: list[Sent]):
    url = f"http://127.0.0.1:{options.port}/v1/chat/completions"
    _, body = request(options.port, options.tokens, stream=options.stream)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def user():
            for number in seats:
                sent, headers = now(), {"Content-Type": "application/json", "X-Request-ID": f"floor-{number}"}
                async with session.post(url, data=body, headers=headers) as response:
                    out.append((sent, [now() async for _ in response.content.iter_any()]))

        await asyncio.gather(*(user() for _ in range(options.concurrency)))


def arrivals(rate: float, requests: int, kind: str) -> np.ndarray:
    """Arrival times as int64 nanoseconds from the start."""
    gaps = np.full(requests, SECOND / rate) if kind == "constant" else np.random.default_rng(7).exponential(SECOND / rate, requests)
    return np.cumsum(gaps).astype(np.int64)


def load(options: argparse.Namespace, out: list[Sent], late: list[int]):
    """The coroutine that plays the asked load."""
    seats = iter(range(options.requests))
    if options.kind == "aiohttp":
        return with_aiohttp(options, seats, out)
    whole = b"".join(request(options.port, options.tokens, stream=options.stream))
    exchanges = [{"wire": Wire, "kernel": Kernel}[options.kind](options.port, whole) for _ in range(options.concurrency)]
    if options.rate is None:
        return closed(exchanges, seats, out)
    return paced(exchanges, arrivals(options.rate, options.requests, options.arrival), out, late)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("aiohttp", "wire", "kernel"))
    for name in ("port", "concurrency", "requests", "tokens"):
        parser.add_argument(name, type=int)
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--rate", type=float)
    parser.add_argument("--arrival", choices=("poisson", "constant"), default="poisson")
    options = parser.parse_args()
    out, late = [], []
    gc.disable()
    began, cpu = time.perf_counter(), time.process_time()
    uvloop.run(load(options, out, late))
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    said = {"kind": options.kind, "req_per_s": round(len(out) / wall, 1), "cpu_us_per_request": round(cpu / len(out) * 1e6, 1)}
    said["sleeps_per_request"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw / len(out), 2)
    said["reads_per_request"] = round(sum(len(stamps) for _, stamps in out) / len(out), 2)
    ttft = np.array([stamps[0] - sent for sent, stamps in out])
    said |= {name: quantiles(values) for name, values in (("ttft_ms", ttft), ("lateness_ms", np.array(late))) if len(values)}
    print(json.dumps(said))


def quantiles(nanoseconds: np.ndarray) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(nanoseconds, q)) / 1e6, 4) for q in (50, 99)}


if __name__ == "__main__":
    main()

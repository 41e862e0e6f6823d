"""A simulator in a thread of the test, with its port, its log, and bare sockets to speak to it."""

import contextlib
import http.client
import json
import os
import queue
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path

from aiperf.config.simulator import Simulator
from aiperf.simulator.server import serve_job

HELLO = {"model": "simulator", "messages": [{"role": "user", "content": "one two three"}]}
PROMPT = {"model": "simulator", "prompt": "one two three"}
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


@dataclass
class Line:
    """A channel whose two ends are in one process."""

    closed: bool = False
    up: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)
    down: list = field(default_factory=list)
    ends: tuple = field(default_factory=os.pipe)
    watched: bool = True

    def tell(self, message):
        self.up.put(message)

    def told(self):
        if self.watched and (self.down or self.closed):
            os.read(self.ends[0], 1)
        messages, self.down = self.down, []
        return messages

    def fileno(self):
        return self.ends[0] if self.watched else -1

    def say(self, message):
        self.down.append(message)
        os.write(self.ends[1], b"x")

    def hang_up(self):
        self.closed = True
        os.write(self.ends[1], b"x")


@dataclass
class Running:
    port: int
    log: Path

    def rows(self):
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def rows_so_far(self):
        """While it runs: the last line may be half written."""
        return [json.loads(line) for line in self.log.read_text().rpartition("\n")[0].splitlines()]

    def client(self):
        return contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)


@contextlib.contextmanager
def simulator(log, **options):
    """Ended by "stop"; the log is whole afterwards."""
    line, errors = Line(), []

    def work():
        try:
            serve_job(line, Simulator(log=str(log), **({"ttft_ms": 0, "itl_ms": 0} | options)))
        except BaseException as exc:
            errors.append(exc)
            line.up.put(exc)
            raise

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield Running(line.up.get(timeout=60)["port"], Path(log))
    finally:
        line.say("stop")
        thread.join(60)
        for end in line.ends:
            os.close(end)
    assert not thread.is_alive()
    assert not errors


def begin(client, number=None, path=CHAT, **body):
    """An answer whose body has not been read."""
    headers = {"Content-Type": "application/json"} | ({} if number is None else {"X-Request-ID": f"test-{number:06d}"})
    client.request("POST", path, json.dumps((HELLO if path == CHAT else PROMPT) | body), headers)
    return client.getresponse()


def post(client, number=None, path=CHAT, **body):
    """The answer to a request, read whole: status, body."""
    answer = begin(client, number, path, **body)
    return answer.status, answer.read()


def request(number, path=CHAT, **body):
    """A request as bytes."""
    said = json.dumps((HELLO if path == CHAT else PROMPT) | body).encode()
    return f"POST {path} HTTP/1.1\r\nX-Request-ID: a-{number}\r\nContent-Length: {len(said)}\r\n\r\n".encode() + said


def events(body):
    """The data of a stream's events, parsed but for [DONE]."""
    *found, last = body.split(b"\n\n")
    assert last == b""
    assert all(event.startswith(b"data: ") for event in found)
    return [event[6:] if event == b"data: [DONE]" else json.loads(event[6:]) for event in found]

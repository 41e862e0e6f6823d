"""The least that a client can cost that sends given bodies at given times: connections open beforehand, nothing kept but lateness.

    python benchmarks/replay_floor.py PORT PLAN

PLAN is a file of pickled `(due_ns, bodies)`: offsets from the start and whole bodies, all held in memory. It waits by a
timerfd that fires 200 us early and by looking at the clock until the time has come, sends what the socket takes and the
rest when it takes more, and throws away what comes back. Prints one line of JSON: `late_us`, a value a request.
"""

import ctypes
import gc
import json
import os
import pickle
import select
import socket
import sys
import time
from pathlib import Path

import httptools

SPIN_NS, SECOND, LEAD_NS = 200_000, 1_000_000_000, 100_000_000
HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Request-ID: floor-%d\r\n"
    "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


class Line:
    """A connection: what it has still to send, and whether its answer has ended."""

    def __init__(self, port: int, poll: select.epoll):
        self.poll, self.rest = poll, memoryview(b"")
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        poll.register(self.sock, select.EPOLLIN)
        self.done = True

    def begin(self, head: bytes, body: bytes) -> None:
        self.done, self.parser = False, httptools.HttpResponseParser(self)
        sent = self.sock.sendmsg([head, body]) - len(head)
        self.rest = memoryview(body)[max(0, sent) :]
        if self.rest:
            self.poll.modify(self.sock, select.EPOLLIN | select.EPOLLOUT)

    def on_message_complete(self) -> None:
        self.done = True

    def ready(self, mask: int) -> bool:
        """Go on; true when the answer has just ended."""
        if mask & select.EPOLLOUT:
            self.rest = self.rest[self.sock.send(self.rest) :]
            if not self.rest:
                self.poll.modify(self.sock, select.EPOLLIN)
        if mask & select.EPOLLIN:
            was, _ = self.done, self.parser.feed_data(self.sock.recv(65536))
            return self.done and not was
        return False


def replay(port: int, due_ns: list[int], bodies: list[bytes]) -> list[int]:
    poll, libc = select.epoll(), ctypes.CDLL(None)
    timer = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    poll.register(timer, select.EPOLLIN)
    lines = {line.sock.fileno(): line for line in (Line(port, poll) for _ in range(len(bodies)))}
    idle = list(lines.values())
    heads = [(HEAD % (port, number, len(body))).encode() for number, body in enumerate(bodies)]
    late, place, ended = [], 0, 0
    start = time.monotonic_ns() + LEAD_NS
    due = [start + at for at in due_ns]
    gc.disable()
    while ended < len(bodies):
        if place < len(due):
            libc.timerfd_settime(timer, 1, (ctypes.c_long * 4)(0, 0, *divmod(max(1, due[place] - SPIN_NS), SECOND)), None)
        for fd, mask in poll.poll():
            if fd == timer:
                os.read(fd, 8)
            elif lines[fd].ready(mask):
                ended += 1
                idle.append(lines[fd])
        while place < len(due) and (left := due[place] - time.monotonic_ns()) < SPIN_NS:
            if left <= 0:
                late.append(-left)
                idle.pop().begin(heads[place], bodies[place])
                place += 1
    return late


if __name__ == "__main__":
    due_ns, bodies = pickle.loads(Path(sys.argv[2]).read_bytes())  # noqa: S301 - made a moment ago
    print(json.dumps({"late_us": [ns / 1000 for ns in replay(int(sys.argv[1]), due_ns, bodies)]}))

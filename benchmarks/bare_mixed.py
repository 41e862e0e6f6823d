"""The least that a Python client can cost that sends at given times while many streams are open: nothing kept but lateness.

    python benchmarks/bare_mixed.py PORT PLAN

PLAN is a file of JSON `[[due_ns, tokens], ...]`, ascending offsets from the start. One epoll loop on the last core: before each
read what is due is sent; it waits by a timerfd that fires 200 us early and by polls without a timeout until the time has come.
Reads bring the kernel's stamp and are thrown away, an answer is over when its last chunk's end is seen. It ends with the last
send. Prints one line of JSON: `late_us`, a value a request, the `reads` and the `events` in them.
"""

import ctypes
import gc
import json
import os
import select
import socket
import sys
import time
from pathlib import Path

from floor import SECOND, SO_TIMESTAMPNS, SPIN_NS, now, request, timespec

LEAD_NS, SIZE = 100_000_000, 65536
LAST = b"0\r\n\r\n"


class Mixed:
    """Lines by descriptor, those that are idle, and what is due."""

    def __init__(self, port: int, plan: list[list[int]]):
        self.port, self.plan, self.place, self.reads, self.events = port, plan, 0, 0, 0
        self.poll, self.libc, self.late = select.epoll(), ctypes.CDLL(None), list[int]()
        self.timer = self.libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        self.poll.register(self.timer, select.EPOLLIN)
        self.whole = {tokens: b"".join(request(port, tokens, stream=True)) for _, tokens in plan}
        self.lines: dict[int, socket.socket] = {}
        self.idle = [self.opened() for _ in range(sum(tokens > 1 for _, tokens in plan) + 64)]
        start = time.monotonic_ns() + LEAD_NS
        self.due = [start + at for at, _ in plan] + [1 << 62]

    def opened(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setblocking(False)
        self.poll.register(sock, select.EPOLLIN)
        self.lines[sock.fileno()] = sock
        return sock

    def fire(self) -> None:
        """Send what is due."""
        while (at := time.monotonic_ns()) >= self.due[self.place]:
            self.late.append(at - self.due[self.place])
            sock = self.idle.pop() if self.idle else self.opened()
            sock.send(self.whole[self.plan[self.place][1]] % self.place)
            self.place += 1

    def hear(self, sock: socket.socket) -> None:
        data, ancillary, _, _ = sock.recvmsg(SIZE, 64)
        seconds, nanos = timespec(ancillary[0][2])
        assert seconds * SECOND + nanos < now()
        self.reads += 1
        self.events += data.count(b"data:")
        if data.endswith(LAST):
            self.idle.append(sock)

    def run(self) -> None:
        while self.place < len(self.plan):
            early = self.due[self.place] - SPIN_NS
            self.libc.timerfd_settime(self.timer, 1, (ctypes.c_long * 4)(0, 0, *divmod(early, SECOND)), None)
            for fd, _ in self.poll.poll(0 if early <= time.monotonic_ns() else None, 1024):
                self.fire()
                if fd != self.timer:
                    self.hear(self.lines[fd])
            self.fire()


if __name__ == "__main__":
    os.sched_setaffinity(0, [max(os.sched_getaffinity(0))])  # where our generator is (cluster.pin)
    mixed = Mixed(int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
    gc.disable()
    mixed.run()
    print(json.dumps({"late_us": [ns / 1000 for ns in mixed.late], "reads": mixed.reads, "events": mixed.events}))

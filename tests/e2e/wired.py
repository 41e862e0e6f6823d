"""A server that follows a script on real sockets, and a transport against it: wire, if no other is named."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.chat import ChatEndpoint
from aiperf.load.loop import EpollLoop
from aiperf.plugin.plugins import get_class
from aiperf.spool import Exchange
from aiperf.transports.origin import origins

Script = Callable[[socket.socket, int], None]
"""Handles one connection; the number counts connections from 0."""

EVENT = b'data: {"choices":[{"delta":{"content":"word"}}]}\n\n'
ROLE = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n'
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def read_request(sock: socket.socket) -> bytes:
    """One request, whole; empty when the client has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [int(line.partition(b":")[2]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    while len(body) < sum(lengths):
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


class Scripted:
    """Listens on loopback and runs the script for each connection in a thread."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.script, self.tls, self.connections = script, tls, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.errors: list[BaseException] = []
        self.threads: list[threading.Thread] = []
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                thread = threading.Thread(target=self.serve, args=(sock, self.connections), daemon=True)
                self.connections += 1
                self.threads.append(thread)
                thread.start()

    def serve(self, sock: socket.socket, number: int) -> None:
        try:
            wrapped = self.tls.wrap_socket(sock, server_side=True) if self.tls else sock
            with wrapped:
                self.script(wrapped, number)
        except (OSError, ssl.SSLError):
            pass  # the client went away, which some scripts are about
        except BaseException as exc:
            self.errors.append(exc)
            raise

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # ends the wait for a connection, which else goes on at whoever has the number next
        self.acceptor.join(60)
        self.listener.close()
        for thread in self.threads:
            thread.join(2)
        assert not self.errors, self.errors


class Client:
    """Sends requests one after the other or together, and keeps what landed."""

    def __init__(self, port: int, **options: object) -> None:
        scheme = str(options.pop("scheme", "http"))
        streaming = bool(options.get("streaming", True))
        made = Endpoint.model_validate({"url": f"{scheme}://127.0.0.1:{port}", **options})
        self.endpoint = ChatEndpoint(made, model="m", exact=False)
        self.loop = EpollLoop()
        hint = self.endpoint.token_hint if streaming else None
        where = origins(made, made.url, path="/v1/chat/completions", run="abc")
        self.wire = get_class("transport", made.transport)(made, where, hint=hint, sockets=self.loop)
        self.wire.tell(self)
        self.over: list[Exchange] = []
        self.parts: list[Exchange] = []
        self.sweeping = self.beating = False

    def part(self, exchange: Exchange) -> None:
        self.parts.append(exchange)

    def landed(self, exchange: Exchange) -> None:
        self.over.append(exchange)

    def send(self, number: int, body: bytes = b"{}") -> Exchange:
        exchange = Exchange(request=number)
        self.wire.send(exchange, b"%d" % number, body)
        return exchange

    def until(self, count: int, seconds: float = 60) -> None:
        """Turn the loop until so many have landed, and meet deadlines meanwhile."""
        self.sweeping = True
        self.reach(lambda: len(self.over) >= count, seconds)
        assert len(self.over) >= count, f"{len(self.over)} of {count} landed"

    def reach(self, true: Callable[[], bool], seconds: float = 60) -> None:
        """Turn the loop until it is so; before the first `until` no deadline is looked at, however slow the machine is."""
        deadline = time.monotonic() + seconds
        if not self.beating:
            self.beating = True
            self.beat()
        self.loop.run(lambda: true() or time.monotonic() > deadline)
        assert true()

    def beat(self) -> None:
        if self.sweeping:
            self.wire.sweep()
        self.loop.at(self.loop.monotonic_ns() + 10_000_000, self.beat)

    def ask(self, number: int = 0, body: bytes = b"{}") -> Exchange:
        exchange = self.send(number, body)
        self.until(len(self.over) + (exchange not in self.over))
        return exchange

    def turn(self, seconds: float) -> None:
        """Let the loop run for a while."""
        deadline = time.monotonic() + seconds
        self.loop.at(self.loop.monotonic_ns() + round(seconds * 1e9), lambda: None)
        self.loop.run(lambda: time.monotonic() >= deadline)

    def close(self) -> None:
        self.wire.close()
        self.loop.close()


@contextlib.contextmanager
def against(script: Script, tls: ssl.SSLContext | None = None, **options: object) -> Iterator[tuple[Client, Scripted]]:
    """A client and its server."""
    server = Scripted(script, tls)
    client = Client(server.port, **options)
    try:
        yield client, server
    finally:
        client.close()
        server.close()


def body(exchange: Exchange) -> bytes:
    return b"".join(exchange.bodies)

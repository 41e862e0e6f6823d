"""The server itself: connections in, routes, the model's tokens out. Loopback only."""

import asyncio
import errno
import socket
from http import HTTPStatus
from typing import Any

import msgspec

from aiperf.clock import SECOND, monotonic_ns, offset_ns
from aiperf.config.simulator import Simulator
from aiperf.errors import ConfigError, MeasureError
from aiperf.simulator.alarm import Alarm
from aiperf.simulator.answers import speaker
from aiperf.simulator.bodies import chat_plan, completion_plan
from aiperf.simulator.connection import HAS_STAMPS, SO_TIMESTAMPNS, Connection, Request
from aiperf.simulator.draws import RACED, Fates, refused_places
from aiperf.simulator.exchange import Exchange
from aiperf.simulator.log import RequestLog
from aiperf.simulator.model import Ask, FixedModel, Model
from aiperf.simulator.plan import Plan, Refusal
from aiperf.simulator.script import http_answer, refused

LOOPBACK = "127.0.0.1"
APIS = {b"/v1/chat/completions": chat_plan, b"/v1/completions": completion_plan}
"""What is served by path, and who reads its bodies."""

_BACKLOG = 65535
_FLUSH_S = 0.5
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


class SimulatorHost:
    """Listens from its making until `close`. Raises MeasureError if the port cannot be had, ConfigError if the log cannot be written."""

    def __init__(self, options: Simulator, loop: asyncio.AbstractEventLoop, model: Model | None = None) -> None:
        self.loop = loop
        self._options, self._model = options, FixedModel(options) if model is None else model
        self._fates = Fates(options.faults, options.seed)
        self._name = msgspec.json.encode(options.model)
        self._listener = _listen(options.port)
        self.port: int = self._listener.getsockname()[1]
        self._log = self._open_log(options)
        self._loaded_ns = monotonic_ns() + round(options.load_s * SECOND)
        self._alarm = Alarm(loop, self._pump)
        self._pumping = False
        self._connections: set[Connection] = set()
        self._requests = self._tokens = 0
        self._pages = {b"/v1/models": self._models, b"/health": lambda: http_answer(200, b"{}"), b"/metrics": self._metrics}
        self._hear()
        self._flusher = loop.call_later(_FLUSH_S, self._flush)

    def close(self) -> None:
        """Close every connection; what is under way is logged as it stands."""
        self._flusher.cancel()
        self._deafen()
        self._listener.close()
        for connection in tuple(self._connections):
            connection.close()
        self._alarm.close()
        self._log.close()

    def serve(self, connection: Connection, request: Request) -> None:
        """Answer a page now; a request for tokens when they come out."""
        if request.path in APIS and request.method == b"POST":
            self._generate(connection, request)
            return
        connection.send(self._page(request))
        connection.done(keep_alive=request.keep_alive and request.method != b"HEAD")  # a HEAD's body would be taken for the next answer

    def crossed(self, request: Request) -> None:
        """Log a request that is lost with the connection that it came on."""
        if request.path in APIS and request.method == b"POST":
            self._log.add(_row(request, fault=RACED))

    def gone(self, connection: Connection) -> None:
        """Forget it, and log what was under way as it stands."""
        self._connections.discard(connection)
        exchange: Exchange | None = connection.busy
        if exchange is not None:
            if exchange.ask is not None:
                self._model.leave(exchange.ask)
            self._over(exchange, False)
        if self._deaf and self._listener.fileno() >= 0:
            self._hear()

    def _open_log(self, options: Simulator) -> RequestLog:
        """Only once the port is ours: the log may be that of the server which has it. Its first line tells who never gets here."""
        try:
            log = RequestLog(options.log)
        except ConfigError:
            self._listener.close()
            raise
        every, places = refused_places(options.faults, options.seed)
        if places:
            log.add({"refused": {"every": every, "places": places}})
        return log

    def _generate(self, connection: Connection, request: Request) -> None:
        self._requests += 1
        plan = self._plan(request)
        if isinstance(plan, Refusal):
            self._log.add(_row(request, status=plan.status))
            connection.send(refused(plan))
            connection.done(keep_alive=request.keep_alive)
            return
        options = self._options
        exchange = Exchange(connection, request, plan, self._over, self._requests, options.model, options.faults)
        connection.busy = exchange
        emit = speaker(exchange, self._name)
        if connection.busy is not exchange:  # the client went away while the head was sent
            return
        arrived_ns = request.arrived_ns - offset_ns()
        if plan.fault == "slow_headers":
            arrived_ns += round(options.faults.stall_s * SECOND)
        exchange.ask = Ask(request.number, plan.prompt_tokens, plan.brought_forth, arrived_ns, plan.streamed)
        self._model.arrive(exchange.ask, emit)
        self._pump()

    def _plan(self, request: Request) -> Plan | Refusal:
        if self._loading():
            return _LOADING
        plan = APIS[request.path](request.body, self._options, self._fates.of(request.number))
        if isinstance(plan, Plan) and plan.streamed and request.version == "1.0":
            return Refusal(400, "a stream needs HTTP/1.1")
        return plan

    def _pump(self) -> None:
        if self._pumping:  # an answer that ended has let the next request of its connection in; the outer call goes on with it
            return
        self._pumping = True
        due_ns = self._model.advance(monotonic_ns())
        self._pumping = False
        self._alarm.set(due_ns)

    def _over(self, exchange: Exchange, complete: bool) -> None:
        exchange.connection.busy = None
        self._tokens += exchange.generated
        plan, stamps = exchange.plan, {"first_ns": exchange.first_ns, "last_ns": exchange.last_ns}
        counts = {"tokens": exchange.generated, "prompt_tokens": plan.prompt_tokens}
        self._log.add(_row(exchange.request, **stamps, **counts, fault=plan.fault, status=exchange.status, complete=complete))

    def _page(self, request: Request) -> bytes:
        page = self._pages.get(request.path)
        if self._loading() and request.path != b"/metrics":
            return refused(_LOADING)
        if page is None and request.path not in APIS:
            return refused(Refusal(404, f"there is nothing at {request.path.decode('ascii', 'replace')}", "NotFoundError"))
        if page is None or request.method != b"GET":
            allowed = "POST" if request.path in APIS else "GET"
            return refused(Refusal(405, f"only {allowed} is allowed here", "MethodNotAllowedError"))
        return page()

    def _loading(self) -> bool:
        return monotonic_ns() < self._loaded_ns

    def _models(self) -> bytes:
        model = {"id": self._options.model, "object": "model", "created": 0, "owned_by": "aiperf"}
        return http_answer(200, msgspec.json.encode({"object": "list", "data": [model]}))

    def _metrics(self) -> bytes:
        running: list[Exchange] = [connection.busy for connection in self._connections if connection.busy is not None]
        values = (self._requests, len(running), self._tokens + sum(exchange.generated for exchange in running))
        lines = (f"# HELP {name} {what}\n# TYPE {name} {kind}\n{name} {value}\n" for (name, kind, what), value in zip(_METRICS, values))
        return http_answer(200, "".join(lines).encode(), b"text/plain; version=0.0.4; charset=utf-8")

    def _flush(self) -> None:
        self._log.flush()
        self._flusher = self.loop.call_later(_FLUSH_S, self._flush)

    def _hear(self) -> None:
        self._deaf = False
        self.loop.add_reader(self._listener.fileno(), self._accept)

    def _deafen(self) -> None:
        self._deaf = True
        self.loop.remove_reader(self._listener.fileno())

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _FULL:
                    raise
                self._deafen()  # until a connection is closed: what waits would wake the loop for nothing
                return
            self._connections.add(Connection(sock, self))


_LOADING = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the model is still loading", "ServiceUnavailableError")
_UNKNOWN = {"first_ns": None, "last_ns": None, "tokens": 0, "prompt_tokens": None, "fault": None, "status": None, "complete": False}
_METRICS = (
    ("simulator_requests_total", "counter", "Requests for tokens that have arrived."),
    ("simulator_requests_running", "gauge", "Requests for tokens that are being answered."),
    ("simulator_generation_tokens_total", "counter", "Tokens sent."),
)


def _row(request: Request, **known: Any) -> dict[str, Any]:
    """A line of the log; little is known of a request that was refused, or lost with its connection."""
    return {"request": request.number, "arrived_ns": request.arrived_ns, **_UNKNOWN, **known}


def _listen(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what is accepted, as is the next
        if HAS_STAMPS:  # set from the start because the kernel turns stamping on some milliseconds late
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind((LOOPBACK, port))
        sock.listen(_BACKLOG)
    except OSError as exc:
        sock.close()
        why = "is in use; choose another, or 0 for a free one" if exc.errno == errno.EADDRINUSE else f"cannot be used: {exc.strerror}"
        raise MeasureError(f"the simulator's port {LOOPBACK}:{port} {why}") from exc
    sock.setblocking(False)
    return sock

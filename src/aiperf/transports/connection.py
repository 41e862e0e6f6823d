"""One connection: connects, writes a request, reads its answer with the kernel's stamps, and is used again.

Until a request's first token has come its reads peek, find the end of the first event, and read only to there: the
stamp of such a read is exact if nothing waits behind it, if the byte behind it has a later stamp, or if only one
segment came. What is known goes into the exchange's marks, beside the earliest time at which the read could have come.
"""

import errno
import os
import select
import socket
import ssl

import httptools

from aiperf import spool
from aiperf.clock import SECOND
from aiperf.spool import PART_BYTES, READ_BYTES, Exchange
from aiperf.transports import stamps
from aiperf.transports.home import Home
from aiperf.transports.origin import Origin
from aiperf.transports.response import Response
from aiperf.transports.stamps import ROOM, timespec
from aiperf.transports.stamps import stamp as stamp_of
from aiperf.transports.tls import Cipher, record_end

SIZE = 65536
HEAD_BYTES = 256 * 1024
_CONNECTING, _SHAKING, _BUSY, _IDLE, _CLOSED = range(5)
_READABLE, _WRITABLE = select.EPOLLIN, select.EPOLLOUT
_NONE = (b"", b"")
_NO_HTTP = (httptools.HttpParserError, httptools.HttpParserUpgrade)
_ONE_SEGMENT = (spool.DRAINED, spool.TOGETHER)
_IN_PROGRESS = (errno.EINPROGRESS, errno.EWOULDBLOCK)


class Connection:
    """A socket and what is happening on it. Told of readiness by the loop, it tells its home when a request is over."""

    __slots__ = (
        "_before", "_calm", "_cipher", "_home", "_out", "_request", "_response", "_room", "_segments", "_size", "_sock",
        "_state", "_written", "exchange", "heard", "origin", "urgent",
    )  # fmt: skip

    def __init__(self, home: Home, origin: Origin) -> None:
        self._home, self.origin = home, origin
        self._response = Response()
        self._cipher: Cipher | None = None
        self._out: bytes | memoryview = b""
        self._segments = self._size = self._room = self._written = self._before = self.heard = 0
        self.urgent = self._calm = False
        self._state = _CLOSED
        self.exchange: Exchange | None = None
        self._request: tuple[bytes, bytes] = _NONE

    @property
    def connecting(self) -> bool:
        """Whether the connection does not stand yet."""
        return self._state in (_CONNECTING, _SHAKING)

    @property
    def idle(self) -> bool:
        """Whether it may carry another request."""
        return self._state == _IDLE

    def begin(self, exchange: Exchange, head: bytes, body: bytes) -> None:
        """Send a request on this connection, which is new or idle."""
        home = self._home
        self.exchange, self._request = exchange, (head, body)
        self._size, self._room, self._calm = 0, min(PART_BYTES, home.most_bytes), False
        self.urgent = home.hint is not None
        self.heard = home.now()
        if exchange.started is None:  # it is set where the request goes out once more, on a new connection
            exchange.started = self.heard
        exchange.reused = self._state == _IDLE
        if exchange.reused:
            self._response.begin()
            self._write(head, body)
        else:
            self._open()

    def ready(self, mask: int, low_ns: int) -> None:
        """The loop's word that something can be read or written."""
        if self._calm and mask == _READABLE:
            self._read()
        elif self._state == _BUSY:
            self._busy(mask, low_ns)
        elif self._state == _IDLE:
            self._idle_read()
        elif self._state == _CONNECTING:
            self._connected()
        elif self._state == _SHAKING:
            self._shake()

    def fail(self, error: str, reason: str) -> None:
        """End the request with this class; the connection is closed."""
        exchange = self.exchange
        self.close()
        if exchange is not None:
            exchange.error, exchange.reason = error, reason
            exchange.end = self._home.now()  # no stamp tells when a connection ended; the last bytes may have come long before
            self._over(exchange)

    def close(self) -> None:
        """Close the socket; says nothing to anyone."""
        if self._state != _CLOSED:
            self._state, self._calm = _CLOSED, False
            self._home.sockets.forget(self._sock.fileno())
            self._sock.close()
            self._response.release()

    # -- connecting

    def _open(self) -> None:
        origin = self.origin
        try:
            self._sock = socket.socket(origin.family, socket.SOCK_STREAM)
        except OSError as exc:
            self.fail("client", f"no socket: {exc.strerror}; raise the limit on open files (ulimit -n)")
            return
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stamps.switch_on(self._sock)
        self._state = _CONNECTING
        self._home.sockets.watch(self._sock.fileno(), self)
        code = self._sock.connect_ex(origin.address)
        if code in _IN_PROGRESS:
            self._home.sockets.want_write(self._sock.fileno(), True)
        else:
            self._connected(code)

    def _connected(self, code: int | None = None) -> None:
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if code is None else code
        if code:
            self.fail("connect", f"{self.origin.url}: {os.strerror(code)}")
            return
        self._home.sockets.want_write(self._sock.fileno(), False)
        assert self.exchange is not None  # noqa: S101 - a connection is opened for a request
        self.exchange.connect = self._home.now()
        if self.origin.trust is None:
            self._write(*self._request)
            return
        self._state = _SHAKING
        self._cipher = Cipher(self.origin.trust, self.origin.host)
        self._shake(reads=False)

    def _shake(self, *, reads: bool = True) -> None:
        cipher, exchange = self._cipher, self.exchange
        assert cipher is not None  # noqa: S101 - made when the connection stood
        assert exchange is not None  # noqa: S101 - only a request brings us here
        try:
            data = self._sock.recv(SIZE) if reads else b""
            if reads and not data:
                self.fail("tls", f"{self.origin.url}: closed during the handshake")
                return
            self._written += self._sock.send(cipher.shake(data))  # handshake messages are far smaller than the send buffer
        except BlockingIOError:
            return
        except ssl.SSLError as exc:
            self.fail("tls", f"{self.origin.url}: {exc.reason or exc}: {getattr(exc, 'verify_message', '') or exc.strerror}")
            return
        except OSError as exc:
            self.fail("tls", f"{self.origin.url}: {exc.strerror} during the handshake")
            return
        if cipher.done:
            exchange.tls = self._home.now()
            self._write(*self._request)

    # -- writing

    def _write(self, head: bytes, body: bytes) -> None:
        exchange = self.exchange
        assert exchange is not None  # noqa: S101 - only a request brings us here
        self._state = _BUSY
        now = self._home.now
        if self.urgent:
            self._segments = stamps.segments_in(self._sock)
        if self._cipher is not None:
            head, body = self._cipher.seal(head + body), b""
        self._before = self._written
        exchange.sent = self.heard = now()
        try:
            gone = self._sock.sendmsg((head, body))
        except BlockingIOError:
            gone = 0
        except OSError as exc:
            self._broken(exc, " while sending")
            return
        self._written += gone
        if gone == len(head) + len(body):
            exchange.body_sent = now()
            return
        self._out = memoryview(head + body)[gone:]
        self._home.sockets.want_write(self._sock.fileno(), True)

    def _flush(self) -> None:
        try:
            gone = self._sock.send(self._out)
        except BlockingIOError:
            return
        except OSError as exc:
            self._broken(exc, " while sending")
            return
        self._written += gone
        self._out = self._out[gone:]
        if not self._out and self.exchange is not None:
            self._home.sockets.want_write(self._sock.fileno(), False)
            self.exchange.body_sent = self._home.now()

    # -- reading

    def _busy(self, mask: int, low_ns: int) -> None:
        if mask != _WRITABLE:  # first, since a server may refuse a body before it has it, and close
            if self.urgent:
                self._read_first(low_ns)
            else:
                self._read()
        if mask & _WRITABLE and self._out:
            self._flush()

    def _read(self) -> None:
        """All that waits; what follows a first token in plain bytes, as most reads do, without what is settled by then."""
        try:
            data, ancillary, _, _ = self._sock.recvmsg(SIZE, ROOM)
        except BlockingIOError:
            return
        except OSError as exc:
            self._broken(exc)
            return
        if not ancillary:
            self._take(data, self._home.now(), spool.USER)
            return
        seconds, nanos = timespec(ancillary[0][2])
        stamp = seconds * SECOND + nanos
        if not self._calm:
            self._take(data, stamp)
            return
        response, self.heard = self._response, stamp
        try:
            piece = response.feed(data)
        except _NO_HTTP as exc:
            self._malformed(exc)
            return
        if piece:
            self._keep(piece, stamp)
        if not response.passing:
            self._settle(closed=False)

    def _read_first(self, low: int) -> None:
        """Event by event, until the one with the first token or until nothing waits."""
        while self.urgent and self._state == _BUSY:
            try:
                data, stamp = self._peek(SIZE)
                end = record_end(data) if self._cipher is not None else self._response.unit_end(data)
                if end == len(data):
                    self._take(self._sock.recv(max(end, 1)), stamp or self._home.now(), spool.DRAINED if stamp else spool.USER, low)
                    return
                if stamp and stamps.segments_in(self._sock) == self._segments + 1:
                    self._take(self._sock.recv(len(data)), stamp, spool.TOGETHER, low)
                    return
                behind = self._peek(end + 1)[1]  # before the read: a merge meanwhile may cost the proof, not fake it
                data, ancillary, _, _ = self._sock.recvmsg(end, ROOM)
            except BlockingIOError:
                return
            except OSError as exc:
                self._broken(exc)
                return
            stamp = stamp_of(ancillary)
            if stamp is None or behind is None:
                self._take(data, self._home.now(), spool.USER, low)
            else:
                self._take(data, stamp, spool.APART if stamp < behind else spool.MERGED, low)

    def _peek(self, size: int) -> tuple[bytes, int | None]:
        data, ancillary, _, _ = self._sock.recvmsg(size, ROOM, socket.MSG_PEEK)
        return data, stamp_of(ancillary)

    def _take(self, data: bytes, stamp: int, kind: int = spool.WHOLE, low: int = 0) -> None:
        """Parse a read, keep its body bytes and what is known of their arrival."""
        exchange, response, cipher = self.exchange, self._response, self._cipher
        assert exchange is not None  # noqa: S101 - only a busy connection reads
        if data:
            self.heard = stamp
        try:
            plain = data if cipher is None else cipher.open(data)
            if exchange.first_byte is None and plain:
                exchange.first_byte = stamp
            piece = response.feed(plain)
        except _NO_HTTP as exc:
            self._malformed(exc)
            return
        except ssl.SSLError as exc:
            self.fail("tls", exc.reason or str(exc))
            return
        if kind and plain:
            self._segments += kind in _ONE_SEGMENT  # what TLS says for itself may have been counted when we wrote
            exchange.marks += (len(exchange.stamps), kind, low) if piece else ()
        if piece:
            self.urgent = self.urgent and not self._home.is_token(piece)
            self._keep(piece, stamp)
        self._calm = response.passing and cipher is None and not self.urgent and self._state == _BUSY
        if not response.passing or not data or cipher is not None:
            self._settle(closed=not data or (cipher is not None and cipher.shut))

    def _settle(self, *, closed: bool) -> None:
        """See whether the answer is over, and how."""
        self._calm = False
        if self._response.complete:
            self._done(reusable=self._response.keep_alive and not closed)
        elif closed and self._response.headed and not self._response.framed:  # the close is a proper end
            self.heard = self._home.now()  # it has no stamp
            self._done(reusable=False)
        elif closed:
            self._lost("closed", shut=True)
        elif self._size > self._home.most_bytes:
            self.fail("too_large", f"more than {self._home.most_bytes} bytes")
        elif self._response.head_bytes > HEAD_BYTES:
            self.fail("too_large", f"more than {HEAD_BYTES} bytes of headers")

    def _keep(self, piece: bytes, stamp: int) -> None:
        exchange = self.exchange
        assert exchange is not None  # noqa: S101 - only a busy connection reads
        exchange.stamps.append(stamp)
        exchange.bodies.append(piece)
        self._room -= len(piece) + READ_BYTES
        if self._room < 0:
            self.cut()

    def cut(self) -> None:
        """Hand what has come so far to the spool."""
        exchange = self.exchange
        if exchange is not None and exchange.stamps:
            self._size += sum(map(len, exchange.bodies))
            self._room = min(PART_BYTES, left := self._home.most_bytes - self._size)
            if left < 0:  # as if it were over
                self._response.passing = False
            self._head(exchange)
            self._home.flights.part(exchange)

    # -- ending

    def _head(self, exchange: Exchange) -> None:
        if exchange.first_body is None and exchange.stamps:
            exchange.first_body = exchange.stamps[0]
        exchange.status, exchange.content_type = self._response.status, self._response.content_type

    def _malformed(self, exc: Exception) -> None:
        self.fail("malformed", f"no HTTP: {exc}")

    def _done(self, *, reusable: bool) -> None:
        exchange = self.exchange
        assert exchange is not None  # noqa: S101 - only a busy connection is done
        exchange.end = self.heard
        if reusable and not self._out:
            self._state = _IDLE
        else:
            self.close()
        self._over(exchange)

    def _over(self, exchange: Exchange) -> None:
        self._head(exchange)
        self.exchange, self.urgent, self._out, self._request = None, False, b"", _NONE
        self._home.over(self, exchange)

    def _broken(self, exc: OSError, doing: str = "") -> None:
        """The system's word that the connection is gone; a broken pipe is one that the other side had closed before."""
        self._lost(f"{exc.strerror}{doing}", shut=exc.errno == errno.EPIPE)

    def _lost(self, why: str | None, *, shut: bool) -> None:
        """The connection is gone in the middle of a request. Where none of it was taken in, it goes out on a new one, once.

        `shut`: the other side has closed in the proper way, so that its last word says what of ours had reached it. A bare
        reset does not say, so the request may have been taken in and must not be sent again.
        """
        exchange = self.exchange
        assert exchange is not None  # noqa: S101 - only a request brings us here
        if shut and exchange.reused and exchange.first_byte is None and stamps.bytes_acked(self._sock) <= self._before + 1:
            self.close()
            request, self.exchange, self._request = self._request, None, _NONE
            exchange.sent = exchange.body_sent = None
            self._home.again(exchange, *request)
            return
        if exchange.first_byte is None:
            self.fail("reset", f"{why or 'reset'} before the first byte")
        elif shut:
            self.fail("truncated", "closed in the middle of the answer")
        else:
            self.fail("reset", f"{why or 'reset'} in the middle of the answer")

    def _idle_read(self) -> None:
        """Something on an idle connection: the other side has closed it, or speaks out of turn."""
        try:
            data = self._sock.recv(SIZE)
            if data and self._cipher is not None and not self._cipher.open(data) and not self._cipher.shut:
                return  # a session ticket
        except BlockingIOError:
            return
        except OSError:
            pass
        self.close()

"""One connection's HTTP/1.1 answers: bytes in, body pieces and the end of the message out."""

import re
from collections.abc import Callable

import httptools

_EVENT_END = re.compile(rb"\n\r?\n|\r\r")


class Response:
    """Parses the answers of a connection, one after the other. Bodies may be chunked, length-delimited or close-delimited.

    `passing` is true from the end of an answer's head to the end of its body, where that has one.
    """

    __slots__ = (
        "_parse", "_parser", "_pieces", "complete", "content_type", "framed", "head_bytes", "headed", "keep_alive", "on_body",
        "passing", "status",
    )  # fmt: skip

    def __init__(self) -> None:
        self._pieces = list[bytes]()
        self.on_body = self._pieces.append  # for the parser
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._parse: Callable[[bytes], object] = self._parser.feed_data
        self.begin()

    def begin(self) -> None:
        """Await the next answer."""
        self._pieces.clear()
        self.head_bytes = 0
        self.headed = self.complete = self.keep_alive = self.framed = self.passing = False
        self.status: int | None = None
        self.content_type: str | None = None

    def release(self) -> None:
        """Let go of the parser, which holds on to this object: the load runs without a garbage collector."""
        self._parser, self._parse = None, bytes

    def feed(self, data: bytes) -> bytes | None:
        """The body bytes in what was read, framing removed. Raises httptools.HttpParserError for what is no HTTP."""
        if not self.headed:
            self.head_bytes += len(data)
        if data:
            self._parse(data)
        pieces = self._pieces
        if len(pieces) == 1:
            return pieces.pop()
        if not pieces:
            return None
        piece = b"".join(pieces)
        pieces.clear()
        return piece

    def unit_end(self, data: bytes) -> int:
        """Where the first event in waiting bytes ends, its chunk's line end included; all of them, if none does."""
        start = 0
        if not self.headed:
            start = data.find(b"\r\n\r\n") + 4
            if start in (3, len(data)):
                return len(data)
        match = _EVENT_END.search(data, start)
        if match is None:
            return len(data)
        end = match.end()
        return end + 2 if data[end : end + 2] == b"\r\n" else end

    def on_header(self, name: bytes, value: bytes) -> None:
        """For the parser."""
        lower = name.lower()
        if lower == b"content-type":
            self.content_type = value.decode("latin-1")
        elif lower in (b"content-length", b"transfer-encoding"):
            self.framed = True

    def on_headers_complete(self) -> None:
        """For the parser."""
        if self._parser is not None:
            self.status = self._parser.get_status_code()
            self.headed = self.passing = self.status >= 200

    def on_message_complete(self) -> None:
        """For the parser."""
        if self.headed and self._parser is not None:
            self.keep_alive = bool(self._parser.should_keep_alive())
            self.complete, self.passing = True, False

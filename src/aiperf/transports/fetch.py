"""A plain GET or POST, for readiness, probes and a server's own /metrics; never for load."""

import http.client
import select
from collections.abc import Mapping
from urllib.parse import urlsplit

from aiperf.errors import MeasureError
from aiperf.seams import Response
from aiperf.transports import tls

_MOST = 16 * 1024 * 1024
_WATCH_S = 0.02
_CONNECT_S = 5.0


class HttpFetch:
    """Fetches with the headers of the experiment, a connection a request; at most 16 MiB of an answer are read."""

    def __init__(self, headers: Mapping[str, str], ca_path: str | None = None) -> None:
        self._headers, self._ca_path = dict(headers), ca_path

    def __call__(self, url: str, body: bytes | None = None, *, timeout_s: float = 5.0) -> Response:
        """Status, headers (lower case) and body. Raises MeasureError with what was tried."""
        return self.watched(url, body, timeout_s=timeout_s, watch_s=None)[0]

    def watched(self, url: str, body: bytes | None, *, timeout_s: float, watch_s: float | None = _WATCH_S) -> tuple[Response, bool]:
        """The same, and whether the server then, within `watch_s`, closed a connection that it had promised to keep."""
        parts = urlsplit(url)
        method = "GET" if body is None else "POST"
        host, wait_s = parts.hostname or "", min(timeout_s, _CONNECT_S)
        connection = http.client.HTTPConnection(host, parts.port, timeout=wait_s)
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, parts.port, timeout=wait_s, context=tls.context(self._ca_path))
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        try:
            connection.connect()
            connection.sock.settimeout(timeout_s)
            connection.request(method, path, body, self._headers)
            answer = connection.getresponse()
            said = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read(_MOST)
            promised = watch_s is not None and not answer.will_close and connection.sock is not None
            return said, promised and bool(select.select([connection.sock], [], [], watch_s)[0])
        except (OSError, http.client.HTTPException) as exc:
            raise MeasureError(f"{method} {url}: {_why(exc)}") from exc
        finally:
            connection.close()


def _why(exc: Exception) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError):
        return getattr(exc, "verify_message", None) or exc.strerror or str(exc)
    return f"no proper HTTP answer ({type(exc).__name__}: {exc})"

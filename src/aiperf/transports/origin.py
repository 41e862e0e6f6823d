"""The servers that requests go to: addresses, and the head that all requests to one have in common."""

import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiperf.config.endpoint import Endpoint as Options
from aiperf.errors import MeasureError
from aiperf.transports import tls

_VERSION = "/v1"
_REACH_S = 1.0

Place = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""What `socket.getaddrinfo` says of an address."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A server: where it is, the head of every request up to its number, and, for https, what to trust."""

    url: str
    host: str
    address: tuple[str, int]
    family: socket.AddressFamily
    head: bytes
    trust: ssl.SSLContext | None = None


def request_headers(options: Options) -> dict[str, str]:
    """The headers of every request; the experiment's own take the place of those of the same name, however it is written."""
    headers = {"Content-Type": "application/json", "Accept": "text/event-stream" if options.streaming else "application/json"}
    if options.api_key is not None:
        headers["Authorization"] = f"Bearer {options.api_key}"
    given = {name.lower() for name in options.headers}
    return {name: value for name, value in headers.items() if name.lower() not in given} | options.headers


def origins(options: Options, urls: Sequence[str], *, path: str, run: str) -> list[Origin]:
    """The servers behind these addresses. `run` stands before the number in `X-Request-ID`."""
    headers = request_headers(options)
    return [_origin(full(url, path), headers=headers, run=run, ca_path=options.ca_path) for url in urls]


def full(url: str, path: str) -> str:
    """Base address and path as one; `/v1` at the end of the one and the start of the other stands once."""
    return url.removesuffix(_VERSION) + path if path.startswith(f"{_VERSION}/") else url + path


def reached(places: Sequence[Place]) -> Place:
    """The first address that takes a connection, where a name has several (`localhost` is often ::1 too); else the first."""
    for place in places if len(places) > 1 else ():
        with suppress(OSError), socket.socket(*place[:3]) as sock:
            sock.settimeout(_REACH_S)
            sock.connect(place[4])
            return place
    return places[0]


def _origin(url: str, *, headers: Mapping[str, str], run: str, ca_path: str | None) -> Origin:
    parts = urlsplit(url)
    if parts.scheme == "memory":  # a server in this process has a path alone
        return Origin(url, "", ("", 0), socket.AF_UNSPEC, b"POST %b" % parts.path.encode())
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        family, _, _, _, address = reached(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as exc:
        raise MeasureError(f"{url}: the host {host!r} has no address ({exc})") from exc
    if not any(name.lower() == "host" for name in headers):
        headers = {"Host": parts.netloc.rpartition("@")[2], **headers}
    lines = [f"POST {parts.path}{f'?{parts.query}' if parts.query else ''} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
    head = "\r\n".join([*lines, f"X-Request-ID: {run}-"]).encode("latin-1")
    return Origin(url, host, (str(address[0]), int(address[1])), family, head, tls.context(ca_path) if secure else None)

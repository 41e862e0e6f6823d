"""A hub on a port of this machine, as its client sees it: what it has, what it refuses, and one that says nothing."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """`files` of every model by name, `refusals` by model: status and the hub's error code; `hangs` on what ends like this."""

    files: dict[str, bytes] = field(default_factory=dict)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    hangs: str | None = None
    seen: list[str] = field(default_factory=list)
    released: Event = field(default_factory=Event)
    url: str = ""

    @contextmanager
    def serving(self) -> Iterator["FakeHub"]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            self.released.set()
            server.shutdown()
            server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path of the hub's interface."""
        model = "/".join(path.removeprefix("/api/models").strip("/").split("/")[:2])
        if model in self.refusals:
            status, code = self.refusals[model]
            return status, {"X-Error-Code": code, "X-Error-Message": "no"}, b'{"error": "no"}'
        if path.startswith("/api/models/"):
            listed = {"id": model, "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]}
            return 200, {"Content-Type": "application/json"}, json.dumps(listed).encode()
        body = self.files[path.partition("/resolve/main/")[2]]
        return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{abs(hash(body)):x}"'}, body


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.seen.append(f"{self.command} {path}")
            if hub.hangs is not None and f"{self.command} {path}".endswith(hub.hangs):
                hub.released.wait(60)
                return
            status, headers, body = hub.answer(path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Nothing goes to the terminal."""

    return Handler

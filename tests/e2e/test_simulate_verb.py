import signal
import subprocess
import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit


def models(url: str) -> bytes:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("GET", "/v1/models")
    try:
        return connection.getresponse().read()
    finally:
        connection.close()


def test_it_serves_until_ctrl_c():
    command = [sys.executable, "-m", "aiperf", "simulate", "ttft_ms=5", "model=mine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert b"mine" in models(first.split()[2].rstrip(":"))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert "first token after 5 ms" in first

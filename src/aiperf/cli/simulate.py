"""`aiperf simulate`: the packaged server in the foreground, on a port of this machine."""

import gc
from collections.abc import Sequence

from aiperf.cli import output
from aiperf.config.settings import load_part
from aiperf.config.simulator import Simulator
from aiperf.simulator.server import serve


def main(words: Sequence[str]) -> int:
    """Serve until Ctrl-C; `words` are keys of the simulator, `ttft_ms=5`."""
    options = load_part(Simulator, words)
    gc.enable()
    serve(options, ready=lambda port: _announce(options, port))
    return 0


def _announce(options: Simulator, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    output.say(
        f"simulator at {url}: model {options.model}, first token after {options.ttft_ms:g} ms, then one each {options.itl_ms:g} ms\n"
        f"measure it with: aiperf experiment=concurrency endpoint=vllm endpoint.url={url}"
    )

"""`aiperf simulate`: the packaged server in the foreground, on a port of this machine."""

import gc
import sys

from aiperf.cli import output
from aiperf.cli.options import Options
from aiperf.config.arguments import load_part
from aiperf.config.simulator import Simulator
from aiperf.errors import ConfigError
from aiperf.simulator.server import serve


def main(given: Options) -> int:
    """Serve until Ctrl-C; the words are keys of the simulator, `ttft_ms=5`. Raises ConfigError off Linux."""
    if sys.platform != "linux":
        raise ConfigError("the simulator needs Linux (timerfd and the kernel's stamps); on Windows use WSL")
    options = load_part(Simulator, given.words)
    if options.clock == "virtual":
        raise ConfigError("clock=virtual: a virtual clock serves nobody over a socket; give it to a run, endpoint.simulator.clock=virtual")
    gc.enable()
    serve(options, ready=lambda port: _announce(options, port))
    return 0


def _announce(options: Simulator, port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    fixed = f"first token after {options.ttft_ms:g} ms, then one each {options.itl_ms:g} ms"
    times = fixed if options.preset == "fixed" else f"preset {options.preset}"
    output.say(
        f"simulator at {url}: model {options.model}, {times}\n"
        f"measure it with: aiperf experiment=concurrency endpoint=vllm endpoint.url={url}"
    )

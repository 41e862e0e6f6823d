"""Every fault in a run: what the client calls it, by request number, against the simulator's own log."""

import socket
from pathlib import Path

import pytest
from running import Finished, ran, unmarred

from aiperf.app.host import Cores
from aiperf.app.served import metrics_texts, served
from aiperf.config.endpoint import Endpoint
from aiperf.config.simulator import SHARES, Faults
from aiperf.errors import MeasureError
from aiperf.simulator.draws import refused_places
from fault_classes import FAULT_CLASSES

faults = pytest.importorskip("faults", reason="benchmarks/ is not beside tests/")

CORES = Cores(1)


def test_the_benchmark_has_the_same_classes() -> None:
    assert {name: error for name, error in faults.CLASSES.items() if name is not None} == FAULT_CLASSES
    assert {*faults.AT_ONCE, *faults.IN_TIME, "close_after", "close_idle"} == set(SHARES)


@pytest.mark.parametrize("clock", ["real", "virtual"])
@pytest.mark.parametrize("form", faults.FORMS)
def test_every_fault_has_its_class(tmp_path: Path, form: str, clock: str) -> None:
    requests, log, outs = 600, tmp_path / "log.jsonl", iter(range(4))

    def go() -> tuple[Finished, dict[str, float]]:
        done = ran(
            tmp_path / str(next(outs)), *faults.load(log, 5, SHARES, requests), *faults.CLOSED, *faults.FORMS[form],
            "endpoint.timeout_s={first_byte: 5, idle: 5}", *(f"endpoint.simulator.faults.{name}=0.05" for name in SHARES),
            f"endpoint.simulator.clock={clock}",
        )  # fmt: skip
        found = faults.compared(faults.Trial(done.folder, done.code, done.out), log, requests)
        assert {check: found[check] for check in faults.CHECKS} == dict.fromkeys(faults.CHECKS, 0)
        return done, found

    done, found = unmarred(go, lambda gone: gone[1]["reopened"] or clock == "virtual")  # who is late to send has heard of the close before
    assert found["kinds"] == len(SHARES), done.err
    assert bool(found["reopened"]) == (clock == "real")
    assert set(done.summary["samples"]) == {error for error in FAULT_CLASSES.values() if error is not None}


def test_a_stall_may_run_out_of_all_its_time_first(tmp_path: Path) -> None:
    done = ran(
        tmp_path / "out", "endpoint=simulator", "endpoint.simulator.faults.stall=1", "endpoint.timeout_s=4", "timing=concurrency",
        "timing.concurrency=16", "timing.stop.requests=16", "dataset.output_tokens=4",
    )  # fmt: skip
    assert set(done.records["error"].to_pylist()) == {"timeout_total"}
    assert done.code == 1


def test_some_addresses_refuse_and_hold_their_ports(tmp_path: Path) -> None:
    options = Endpoint.model_validate({"simulator": {"seed": 3, "faults": {"refused": 0.4}, "log": str(tmp_path / "log")}})
    assert refused_places(Faults(refused=0.4), 3)[0] == 5
    with served(options, CORES) as servers:
        ports = [int(url.rpartition(":")[2]) for url in servers.urls]
        dead = {place for place, port in enumerate(ports) if port != ports[0]}
        for place, port in enumerate(ports):
            with socket.socket() as client:
                assert (client.connect_ex(("127.0.0.1", port)) != 0) == (place in dead)
        for place in dead:
            with socket.socket() as thief, pytest.raises(OSError, match="in use"):
                thief.bind(("127.0.0.1", ports[place]))
    assert (len(servers.urls), len(dead)) == (5, 2)
    assert 0 not in dead
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line == f'{{"refused":{{"every":5,"places":{sorted(dead)}}}}}'.replace(" ", "")


def test_a_run_that_fails_leaves_the_log_of_a_server_in_memory(tmp_path: Path) -> None:
    log = tmp_path / "log"
    options = Endpoint.model_validate({"simulator": {"clock": "virtual", "log": str(log)}, "transport": "memory"})
    body = b'{"model":"simulator","messages":[{"role":"user","content":"one"}]}'

    def fails() -> None:
        with served(options, CORES) as servers:
            assert servers.fetch({}, None)(f"{servers.urls[0]}/v1/chat/completions", body)[0] == 200
            raise MeasureError("in the middle")

    with pytest.raises(MeasureError, match="in the middle"):
        fails()
    assert len(log.read_text().splitlines()) == 1


def test_each_server_is_asked_once_for_its_metrics() -> None:
    asked = []

    def fetch(url: str, body: bytes | None = None, *, timeout_s: float = 5.0) -> tuple[int, dict[str, str], bytes]:
        asked.append(url)
        if "dead" in url:
            raise MeasureError("refused")
        return (404 if "bare" in url else 200), {}, url.encode()

    live, dead, bare = "http://live:1/v1", "http://dead:1", "http://bare:1"
    assert metrics_texts((live, dead, live, bare, "http://other:2", live), fetch) == {
        0: b"http://live:1/metrics",
        4: b"http://other:2/metrics",
    }
    assert asked == ["http://live:1/metrics", "http://dead:1/metrics", "http://bare:1/metrics", "http://other:2/metrics"]

from typing import Any

import pytest

from aiperf.config.endpoint import Endpoint
from aiperf.transports.origin import origins


def head(**options: Any) -> list[str]:
    """The lines of a request's head up to its number."""
    (origin,) = origins(Endpoint(url="http://127.0.0.1:9", **options), ["http://127.0.0.1:9"], path="/v1/x", run="r")
    return origin.head.decode("latin-1").split("\r\n")


def test_a_head_has_what_every_request_needs() -> None:
    assert head(api_key="k", streaming=False, headers={"X-Kind": "é"}) == [
        "POST /v1/x HTTP/1.1",
        "Host: 127.0.0.1:9",
        "Content-Type: application/json",
        "Accept: application/json",
        "Authorization: Bearer k",
        "X-Kind: é",
        "X-Request-ID: r-",
    ]


@pytest.mark.parametrize("name", ["Host", "host", "content-type", "ACCEPT", "authorization"])
def test_a_header_of_the_experiment_stands_in_place_of_ours(name) -> None:
    lines = head(api_key="k", headers={name: "mine"})
    assert [line for line in lines if line.lower().startswith(f"{name.lower()}:")] == [f"{name}: mine"]
    assert len(lines) == len(head(api_key="k"))

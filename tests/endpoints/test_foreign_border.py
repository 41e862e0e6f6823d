"""Endpoints of others that misbehave: the request fails with a class, and nothing else happens."""

import logging

import pytest
from strangers import EchoEndpoint

from aiperf import logs
from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.foreign import Foreign, described
from aiperf.endpoints.models import ParsedResponse, TextResponseData
from aiperf.errors import ClientError
from aiperf.plugin.types import PluginEntry, PluginError
from aiperf.seams import Answer
from aiperf.workload import Turn

ABOUT = described(Endpoint(url="http://h"), model="m", exact=False, usage=True)
ANSWER = Answer(200, "application/json", (b'{"echo": "a"}',), True)


def doing(what):
    """An endpoint whose methods do this."""

    class Misbehaving(EchoEndpoint):
        def format_payload(self, request_info):
            return what()

        def parse_response(self, response):
            return what()

    entry = PluginEntry("endpoint", "bad", "bad-plugins", "test_foreign_border:Misbehaving")
    return Foreign(entry, Misbehaving, ABOUT)


def raising(error):
    raise error


async def later():
    return {}


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda: 1 / 0, "endpoint:bad of bad-plugins: ZeroDivisionError: division by zero (endpoints/test"),
        (lambda: raising(SystemExit(3)), "endpoint:bad of bad-plugins: SystemExit: 3"),
        (lambda: raising(KeyError("x")), "test_foreign_border.py:"),
        (lambda: raising(ClientError("of its own")), "endpoint:bad of bad-plugins: of its own"),
        (later, "returned a coroutine: "),
        (lambda: 5, "returned a int: 5"),
        (lambda: {1, 2}, "returned a set: "),
    ],
)
def test_whatever_goes_wrong_is_a_client_error_that_names_the_plugin(what, said):
    with pytest.raises(ClientError) as caught:
        doing(what).body(Turn(("x",)))
    assert said in str(caught.value)
    answered = doing(what).answer(ANSWER)
    assert (answered.error, said in answered.reason) == ("client", True)


@pytest.mark.parametrize("said", [None, {"a": float("nan")}, {"a": object()}, [{1, 2}]])
def test_what_cannot_be_sent_is_named(said):
    with pytest.raises(ClientError, match="endpoint:bad of bad-plugins: format_payload returned"):
        doing(lambda: said).body(Turn(("x",)))
    with pytest.raises(ClientError, match="what JSON cannot hold"):
        doing(dict).body(Turn(("x",), extra={"a": float("inf")}))


@pytest.mark.parametrize(
    "parsed",
    [
        {"text": "a"},
        ParsedResponse(1, "text"),
        ParsedResponse(1, TextResponseData(5)),
        ParsedResponse(1, TextResponseData("a"), metadata=7),
        [ParsedResponse(1, TextResponseData("a"))],
    ],
)
def test_what_cannot_be_read_is_named(parsed):
    said = doing(lambda: parsed).answer(ANSWER)
    assert said.error == "client"
    assert said.reason.startswith("endpoint:bad of bad-plugins: ")


def test_a_class_that_cannot_be_made_is_named():
    class Broken(EchoEndpoint):
        def __init__(self, **kwargs):
            raise RuntimeError("no key")

    with pytest.raises(PluginError, match="bad-plugins: RuntimeError: no key"):
        Foreign(PluginEntry("endpoint", "bad", "bad-plugins", "test_foreign_border:Broken"), Broken, ABOUT)


def test_headers_that_cannot_be_asked_for_are_an_error():
    class Broken(EchoEndpoint):
        def get_endpoint_headers(self, request_info):
            raise OSError("no vault")

    made = Foreign(PluginEntry("endpoint", "bad", "bad-plugins", "test_foreign_border:Broken"), Broken, ABOUT)
    with pytest.raises(PluginError, match="no vault"):
        made.wears  # noqa: B018 - it is asked for here


def test_what_is_printed_goes_to_the_log(capsys, tmp_path):
    def chatty():
        print("hello\nthere")  # noqa: T201 - what this is about
        return {}

    logs.configure(tmp_path / "log", logging.getLevelName(logging.INFO))
    try:
        assert doing(chatty).body(Turn(("x",))) == b"{}"
    finally:
        logs.close()
    assert capsys.readouterr().out == ""
    assert [line.partition("] ")[2] for line in (tmp_path / "log").read_text().splitlines()] == [
        "endpoint:bad of bad-plugins printed: hello", "endpoint:bad of bad-plugins printed: there",
    ]  # fmt: skip

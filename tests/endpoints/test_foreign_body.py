"""What is sent through an endpoint that others wrote."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strangers import BareEndpoint, EchoEndpoint, EveryKindEndpoint, KnobsEndpoint, OlderEchoEndpoint, RagEndpoint

from aiperf import logs
from aiperf.config.endpoint import Endpoint
from aiperf.endpoints.base_endpoint import BaseEndpoint
from aiperf.endpoints.chat import ChatEndpoint
from aiperf.endpoints.foreign import Foreign, described
from aiperf.endpoints.models import Audio, Image, RequestInfo, Text, Video
from aiperf.endpoints.models import Turn as TheirTurn
from aiperf.endpoints.speaking import spoken
from aiperf.plugin import plugins
from aiperf.plugin.types import PluginError
from aiperf.workload import Turn

OPTIONS = Endpoint(url="http://h", streaming=False)


@pytest.fixture
def speak():
    """Makes an endpoint of a class by the way that all are made."""

    def made(cls, options=OPTIONS, **more):
        plugins.register("endpoint", cls.__name__, cls, metadata={"endpoint_path": "/echo"})
        return spoken(options.model_copy(update={"type": cls.__name__}), model="m", exact=False, **more)

    yield made
    plugins.reset_registry()


def written(endpoint, turn):
    return json.loads(endpoint.body(turn))


def test_the_documented_endpoint_writes_what_it_documents(speak):
    turn = Turn(("hello",), output_tokens=7)
    assert written(speak(EchoEndpoint), turn) == {"text": "hello", "model": "m", "max_tokens": 7, "stream": False}
    assert written(speak(EchoEndpoint, OPTIONS.model_copy(update={"streaming": True})), Turn(("x",), model="other")) == {
        "text": "x", "model": "other", "max_tokens": None, "stream": True,
    }  # fmt: skip
    assert written(speak(OlderEchoEndpoint), turn) == {"text": "hello", "model": "m"}
    assert OlderEchoEndpoint.metadata().metrics_title == "Echo Metrics"


def test_a_row_has_the_last_word_and_the_plugin_the_rest(speak):
    options = Endpoint(url="http://h", extra={"top_k": 3, "temperature": 1})
    rag = speak(RagEndpoint, options)
    said = written(rag, Turn(("hello",), extra={"temperature": 0}, tools=[{"name": "f"}]))
    assert said == {
        "messages": [{"role": "user", "content": "hello"}], "model": "m", "stream": True, "top_k": 3, "temperature": 0,
        "tools": [{"name": "f"}],
    }  # fmt: skip
    assert "top_k" not in written(speak(EchoEndpoint, options), Turn(("hello",)))
    assert written(rag, Turn(messages=[{"role": "tool", "content": "9"}]))["messages"] == [{"role": "tool", "content": "9"}]


@given(extra=st.dictionaries(st.sampled_from(["text", "model", "seed"]), st.integers() | st.text()))
def test_whatever_a_row_adds_is_sent(extra):
    entry = plugins.PluginEntry("endpoint", "echo", "echoes", "strangers:EchoEndpoint")
    endpoint = Foreign(entry, EchoEndpoint, models_of(OPTIONS))
    assert written(endpoint, Turn(("a", "b"), extra=extra)) == {"text": "a", "model": "m", "max_tokens": None, "stream": False} | extra


def models_of(options):
    return described(options, model="m", exact=False, usage=True)


def test_texts_are_one_text_of_all_contents_and_bodies_may_be_lists_and_text(speak):
    assert speak(EveryKindEndpoint).body(Turn(("a", "ü"))) == '[["a","ü"]]'.encode()
    bare = speak(BareEndpoint)
    assert bare.body(Turn(("hello",))) == b"m: hello"
    assert bare.wears is None


def test_a_payload_is_sent_untouched(speak):
    assert speak(EchoEndpoint).body(Turn(payload=b'{"mine" : 1}', extra={"no": 1})) == b'{"mine" : 1}'


def test_what_is_sent_besides_the_body_is_the_plugins_to_say(speak):
    options = Endpoint(url="http://h", api_key="k", headers={"X-Mine": "1"}, options={"greeting": "hi"})
    knobs = speak(KnobsEndpoint, options)
    assert knobs.wears.headers == {"X-Mine": "1", "Authorization": "Bearer k", "X-Greeting": "hi"}
    assert knobs.wears.params == {"version": "2"}
    assert written(knobs, Turn(("x",))) == {"text": "hi"}


def test_options_are_checked_against_the_plugins_own(speak):
    with pytest.raises(PluginError, match=r"endpoint\.options\.times: .*greater"):
        speak(KnobsEndpoint, Endpoint(url="http://h", options={"times": 0}))
    assert written(speak(KnobsEndpoint), Turn(("x",))) == {"text": "hello"}


def test_ours_are_made_the_same_way():
    chat = spoken(Endpoint(url="http://h"), model="m", exact=True, usage=False)
    assert isinstance(chat, ChatEndpoint)
    said = written(chat, Turn(("x",), output_tokens=3))
    assert said["ignore_eos"] is True
    assert "stream_options" not in said


class TestTheBaseClass:
    base = RagEndpoint(model_endpoint=models_of(OPTIONS))

    def test_media_are_parts_of_a_message(self):
        turn = TheirTurn(
            role="assistant", texts=[Text(contents=["a", ""])], images=[Image(contents=["http://i"])],
            audios=[Audio(contents=["wav,AA=="]), Audio(contents=["data:audio/mp3;base64,BB=="])], videos=[Video(contents=["v"])],
        )  # fmt: skip
        assert self.base.build_messages([turn]) == [
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": {"url": "http://i"}},
                    {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
                    {"type": "input_audio", "input_audio": {"data": "BB==", "format": "mp3"}},
                    {"type": "video_url", "video_url": {"url": "v"}},
                ],
            }
        ]
        with pytest.raises(ValueError, match="format,base64"):
            self.base.build_messages([TheirTurn(audios=[Audio(contents=["AA=="])])])
        assert self.base.build_messages([TheirTurn(texts=[Text(contents=[""])])]) == [{"role": "user", "content": ""}]

    def test_messages_that_are_written_stay_and_may_begin_anew(self):
        first = TheirTurn(raw_messages=[{"role": "user", "content": "1"}])
        turns = [first, TheirTurn(raw_messages=[]), TheirTurn(texts=[Text(contents=["2"])])]
        assert [one["content"] for one in self.base.build_messages(turns)] == ["1", "2"]
        again = TheirTurn(raw_messages=[{"content": "3"}], reset_context=True)
        assert self.base.build_messages([*turns, again]) == [{"content": "3"}]

    def test_the_latest_that_says_it_holds(self):
        turns = [TheirTurn(raw_tools=[1]), TheirTurn(raw_tools=[2]), TheirTurn()]
        info = RequestInfo(model_endpoint=self.base.model_endpoint, turns=turns)
        assert BaseEndpoint._latest_turn_attr(turns, "raw_tools") == [2]
        assert self.base._latest_turn_attr(info, "raw_tools") == [2]
        assert self.base._latest_turn_attr(info, "model") is self.base._latest_turn_attr(info, "raw_system") is None

    def test_contents_are_found_by_name(self):
        texts = [Text(name="query", contents=["q"]), Text(contents=["x"]), Text(name="passages", contents=["p", "r"]), Text(name="none")]
        assert self.base.extract_named_contents(texts) == (["q", "x", "p", "r"], {"query": ["q"], "passages": ["p", "r"]})

    def test_messages_are_made_when_they_are_shown(self, tmp_path):
        made = []
        self.base.debug(lambda: made.append(1) or "no")
        assert made == []
        logs.configure(tmp_path / "log", "debug")
        try:
            self.base.trace(lambda: f"{made} %s")
            self.base.info("of %s", "text")
            self.base.success("done 100 %")
            self.base.logger.setLevel(logging.WARNING)
            self.base.notice(lambda: made.append(1) or "no")
        finally:
            logs.close()
            self.base.logger.setLevel(logging.NOTSET)
        shown = (tmp_path / "log").read_text()
        assert "aiperf.plugins.strangers.RagEndpoint" in shown
        assert [line.partition("] ")[2] for line in shown.splitlines()] == ["[] %s", "of text", "done 100 %"]
        assert made == []

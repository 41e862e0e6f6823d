import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fake_hub import FakeHub
from spelling import COMMON_WORDS, byte_level

from aiperf.config.dataset import Tokenizer as Options
from aiperf.dataset.bank import bank_of
from aiperf.dataset.tokenizer import Hub, Loaded, load
from aiperf.errors import ConfigError

START_S = 60.0
"""Within which a hub that answers has begun, on a machine that others use too."""
TEMPLATE = "<s>{% for message in messages %}user: {{ message.content }}</s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"
CODE = """
from transformers import PreTrainedTokenizerFast
class Own(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A folder with a small tokenizer, without a template."""
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_level(COMMON_WORDS, 3000).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 16}')
    return folder


@pytest.fixture
def folder(written, tmp_path) -> Path:
    """A copy, to be spoiled."""
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture
def no_network(monkeypatch) -> None:
    def refuse(*asked: object) -> None:
        raise AssertionError(f"the network was asked: {asked}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def opened(name: object, said: list[str] | None = None, hub: Hub | None = None, **options) -> Loaded:
    return load(Options(name=str(name), **options), ([] if said is None else said).append, hub)


def configure(folder: Path, **settings) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


class TestFolder:
    def test_counts_as_its_files_say_however_long_the_text(self, written, no_network, capfd) -> None:
        tokenizer = opened(written)
        texts = [" ".join(COMMON_WORDS[:n]) for n in (1, 5, 500)]
        assert [len(ids) for ids in tokenizer.encode(texts)] == [1, 5, 500]
        assert tokenizer.encode([]) == []
        assert len(tokenizer.vocabulary()) > 1000
        assert bank_of(tokenizer, with_ids=False).spelled[0] == b" able"
        assert capfd.readouterr() == ("", "")

    def test_the_template_adds_as_many_tokens_to_any_message(self, folder, no_network) -> None:
        assert opened(folder).template_tokens is None
        configure(folder, chat_template=TEMPLATE)
        tokenizer = opened(folder)
        said = tokenizer.inner("<s>user: able acts</s><s>")["input_ids"]
        assert tokenizer.template_tokens == len(said) - 2

    def test_a_template_that_adds_more_to_longer_messages_has_no_number(self, folder) -> None:
        configure(folder, chat_template=TEMPLATE + "{{ messages[0].content }}")
        assert opened(folder).template_tokens is None

    def test_a_template_that_refuses_is_told_of(self, folder) -> None:
        configure(folder, chat_template="{{ raise_exception('a system message first') }}")
        assert opened(folder, said := []).template_tokens is None
        assert len(said) == 1
        assert "has a chat template that says no plain message (TemplateError: a system message first)" in said[0]

    @pytest.mark.parametrize(
        ("files", "seen"),
        [
            ({}, "holds no tokenizer, no file of tokenizer.json, "),
            ({"config.json": "{}"}, "it holds config.json"),
            ({"tokenizer.json": '{"version": '}, "cannot be loaded (JSONDecodeError: "),
            ({"tokenizer.json": '{"added_tokens": [], "model": {"type": "Nothing"}}'}, "cannot be loaded (Exception: "),
            ({"tokenizer.model": "no model"}, "that is not installed?"),
        ],
        ids=["empty", "config alone", "no JSON", "no model", "no SentencePiece"],
    )
    def test_files_that_make_no_tokenizer_are_one_mistake(self, tmp_path, files, seen) -> None:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError) as caught:
            opened(tmp_path)
        (problem,) = caught.value.problems
        assert problem.startswith(f"tokenizer.name: {tmp_path} ")
        assert seen in problem
        assert "\n" not in problem

    def test_code_runs_only_if_it_may(self, folder, monkeypatch, no_network) -> None:
        configure(folder, auto_map={"AutoTokenizer": [None, "own.Own"]}, tokenizer_class="Own")
        (folder / "own.py").write_text(CODE)
        with pytest.raises(ConfigError, match=r"set tokenizer\.trust_remote_code=true to run it"):
            opened(folder)
        monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder / "modules"))
        assert type(opened(folder, trust_remote_code=True).inner).__name__ == "Own"

    def test_a_revision_is_for_the_hub(self, written) -> None:
        with pytest.raises(ConfigError, match=r"tokenizer\.revision=v2 is for the hub, and tokenizer\.name=.* is a folder"):
            opened(written, revision="v2")


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("./nowhere", "there is no folder ./nowhere (looked in "),
        ("/nowhere/at/all", "there is no folder /nowhere/at/all"),
        ("a/b/c", "a/b/c is neither a folder (looked in "),
        ("two words", "two words is neither a folder (looked in "),
        (__file__, "is a file; give the folder that it lies in"),
        ("x" * 300, "cannot be read (OSError: "),
    ],
)
def test_a_name_that_can_be_nothing_is_one_mistake(name, seen, no_network) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(name)
    (problem,) = caught.value.problems
    assert problem.startswith("tokenizer.name: ")
    assert seen in problem


class TestHub:
    @pytest.mark.parametrize("beside", [{}, {"config.json": b'{"model_type": "llama"}'}], ids=["alone", "beside a model"])
    def test_a_download_is_told_of_and_the_next_time_the_cache_has_it(self, written, tmp_path, capfd, beside) -> None:
        files = {path.name: path.read_bytes() for path in sorted(written.iterdir(), reverse=True)}
        fake = FakeHub(files={"model.safetensors": b"weights", "onnx/tokenizer.json": b"{}", **files, **beside})
        with fake.serving():
            hub = Hub(fake.url, tmp_path, START_S)
            first = opened("org/model", said := [], hub)
        assert first.encode(["able acts"]) == opened(written).encode(["able acts"])
        assert said == [f"tokenizer org/model: downloading from {fake.url}"]
        fetched = [path.rpartition("/")[2] for path in fake.seen if path.startswith("GET /org/model/resolve/main/")]
        assert fetched == ["tokenizer_config.json", *beside, "tokenizer.json"]
        fake.seen.clear()
        with fake.serving():
            assert sorted(opened("org/model", said := [], hub).vocabulary()) == sorted(first.vocabulary())
        assert (said, fake.seen) == ([], [])
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(
        ("refusal", "seen"),
        [
            ((401, "RepoNotFound"), "has no such model that may be read; check its spelling, set HF_TOKEN if it is private"),
            ((404, "RepoNotFound"), "has no such model that may be read; check its spelling, set HF_TOKEN if it is private"),
            ((403, "GatedRepo"), "is gated: accept its terms at http://127.0.0.1"),
            ((404, "RevisionNotFound"), "tokenizer.revision: http://127.0.0.1"),
            ((500, ""), "could not be had from http://127.0.0.1"),
        ],
        ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
    )
    def test_what_the_hub_refuses_is_one_mistake(self, tmp_path, refusal, seen) -> None:
        with FakeHub(refusals={"org/model": refusal}).serving() as fake, pytest.raises(ConfigError) as caught:
            opened("org/model", hub=Hub(fake.url, tmp_path, START_S))
        (problem,) = caught.value.problems
        assert seen in problem
        assert "\n" not in problem

    def test_a_model_without_a_tokenizer_is_one_mistake(self, tmp_path) -> None:
        with FakeHub(files={"model.gguf": b""}).serving() as fake, pytest.raises(ConfigError, match="it holds no tokenizer, no file of"):
            opened("org/model", hub=Hub(fake.url, tmp_path, START_S))

    @pytest.mark.parametrize(
        "hangs", ["/api/models/org/model/revision/main", "HEAD /org/model/resolve/main/tokenizer.json", "tokenizer.json"]
    )
    def test_a_hub_that_says_nothing_is_not_waited_for(self, tmp_path, hangs) -> None:
        with FakeHub(files={"tokenizer.json": b"{}"}, hangs=hangs).serving() as fake:
            began = time.monotonic()
            for start_s in (0.3, 6.0):  # the library gives up after twice that: where all stood still, either may be the first
                with pytest.raises(ConfigError) as caught:
                    opened("org/model", hub=Hub(fake.url, tmp_path, start_s=start_s))
                (problem,) = caught.value.problems
                if "within" in problem:
                    break
            assert time.monotonic() - began < 30
        for word in (fake.url, "org/model (main)", f"within {start_s:g} s", "a folder", "HF_ENDPOINT", "HF_HUB_OFFLINE=1"):
            assert word in problem

    def test_nobody_listens(self, tmp_path) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(ConfigError, match=f"could not be had from {url}"):
                opened("org/model", hub=Hub(url, tmp_path, START_S))


PROGRAM = """
import sys
from aiperf.config.dataset import Tokenizer
from aiperf.dataset.tokenizer import Hub, load
from aiperf.errors import ConfigError
try:
    print(len(load(Tokenizer(name=sys.argv[1]), print, Hub(start_s=60)).encode(["able acts"])[0]))
except ConfigError as exc:
    print(exc)
"""


@pytest.mark.parametrize("offline", [False, True])
def test_a_program_asks_the_hub_of_its_environment_and_prints_nothing_of_the_libraries(written, tmp_path, offline) -> None:
    """Both variables are read when the hub's library is imported."""
    files = {path.name: path.read_bytes() for path in written.iterdir()}
    with FakeHub(files=files).serving() as fake:
        environment = {**os.environ, "HF_ENDPOINT": fake.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": str(int(offline))}
        words = [sys.executable, "-c", PROGRAM, "org/model"]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    told = f"tokenizer org/model: downloading from {fake.url}\n2\n"
    refused = "tokenizer.name: org/model is no folder and not in the cache, and HF_HUB_OFFLINE is set; "
    assert done.stdout.startswith(refused) if offline else done.stdout == told
    assert (done.stdout.count("\n"), done.stderr) == (1 if offline else 2, "")


DOWNLOAD = """
import sys
from pathlib import Path
from aiperf.dataset.tokenizer import Hub
Hub(sys.argv[1], Path(sys.argv[2]), 60).fetch("org/model", "main", print)
"""


def test_a_download_shows_how_far_it_is_on_a_terminal(tmp_path) -> None:
    terminal, side = os.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    words, shown = [sys.executable, "-c", DOWNLOAD], b""
    with FakeHub(files={"tokenizer.json": b"x" * 3_000_000}).serving() as fake:
        with subprocess.Popen([*words, fake.url, str(tmp_path)], stdout=subprocess.DEVNULL, stderr=side) as process:
            os.close(side)
            with suppress(OSError):  # Linux says so when the last writer has gone
                while some := os.read(terminal, 65_536):
                    shown += some
        assert process.returncode == 0
    os.close(terminal)
    assert b"tokenizer.json: 100%" in shown

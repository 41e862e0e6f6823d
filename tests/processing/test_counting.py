import pytest
from spooled import DONE, Parent, exchange, good, spool, task, token, usage

from aiperf.config.dataset import Tokenizer
from aiperf.processing import processor
from aiperf.processing.derive import row
from aiperf.processing.processor import Counting, process_job
from aiperf.seams import Said
from aiperf.store.parquet import read_records

NAMED = Tokenizer(name="letters")


class Letters:
    """A token a letter; remembers how it was asked."""

    template_tokens = None

    def __init__(self):
        self.loaded, self.asked = 0, []

    def load(self, options):
        assert options == NAMED
        self.loaded += 1
        return self

    def encode(self, texts):
        self.asked.append(list(texts))
        return [[ord(letter) for letter in text] for text in texts]

    def vocabulary(self):
        return []


def take(work, rows, said, **more):
    rows.append(row(exchange(len(rows), **more), said, due_ns=None, generator=0))
    work.take(rows, said)


def test_counts_the_good_answers_that_nobody_counted_and_no_others():
    letters, rows = Letters(), []
    work = Counting(NAMED, letters.load)
    take(work, rows, Said(text="abc"))
    take(work, rows, Said(output_tokens=7))
    take(work, rows, Said(text="abcde"))
    take(work, rows, Said(text="broken", error="truncated", reason="x"))
    take(work, rows, Said(text=""))
    take(work, rows, Said(text="cut"), error="timeout_idle", reason="x")
    take(work, rows, Said(text="ab"), phase=0)
    work.count(rows)
    assert [made["output_tokens"] for made in rows] == [3, 7, 5, None, None, None, 2]
    assert (work.counted, letters.loaded, letters.asked) == (2, 1, [["abc", "abcde", "ab"]])


def test_nothing_is_loaded_before_it_is_needed_nor_without_a_name():
    letters, rows = Letters(), []
    for options, said in ((NAMED, Said(output_tokens=3)), (Tokenizer(), Said(text="abc"))):
        work = Counting(options, letters.load)
        take(work, rows, said)
        work.count(rows)
        assert work.counted == 0
    assert letters.loaded == 0
    assert [made["output_tokens"] for made in rows] == [3, None]


def test_rows_of_the_next_batch_are_their_own():
    letters, first, second = Letters(), [], []
    work = Counting(NAMED, letters.load)
    take(work, first, Said(text="abc"))
    work.count(first)
    take(work, second, Said(output_tokens=1))
    take(work, second, Said(text="ab"))
    work.count(second)
    work.count(second)
    assert [made["output_tokens"] for made in (*first, *second)] == [3, 1, 2]
    assert (work.counted, letters.loaded) == (2, 1)


def test_long_texts_are_counted_before_they_pile_up(monkeypatch):
    monkeypatch.setattr(processor, "_ROOM_CHARS", 6)
    letters, rows = Letters(), []
    work = Counting(NAMED, letters.load)
    for _ in range(5):
        take(work, rows, Said(text="abc"))
    assert letters.asked == [["abc", "abc"]] * 2
    work.count(rows)
    assert [made["output_tokens"] for made in rows] == [3] * 5


def test_reasoning_by_events_is_left_to_its_share_of_the_count():
    letters, rows = Letters(), []
    work = Counting(NAMED, letters.load)
    events = {"reads": [0, 0], "at_end": [False, True], "channels": [1, 2], "tokens": [0, 0], "text": "abcd"}
    take(work, rows, Said(**events), bodies=[b"x"])
    take(work, rows, Said(**events, reasoning_tokens=1), bodies=[b"x"])
    work.count(rows)
    assert [(made["output_tokens"], made["reasoning_tokens"]) for made in rows] == [(4, None), (4, 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "one": 1, "two": 2}, unk_token="[UNK]"))  # noqa: S106 - a token
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    place = tmp_path_factory.mktemp("tokenizer")
    made.save(str(place / "tokenizer.json"))
    (place / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}')
    return place


def test_a_processor_counts_with_the_tokenizer_of_its_task(tmp_path, folder):
    told = [token("one two"), token(" one", "stop"), DONE]
    plain = exchange(1, [b'{"choices": [{"message": {"content": "one two two one"}}]}'], content_type="application/json")
    thinking = exchange(2, [token("one one", kind="reasoning"), token(" two two", "stop"), DONE])
    shown = [exchange(0, told), plain, thinking, good(3, 4), exchange(4, [token("one", "stop"), usage(5, 9), DONE])]
    job = task(tmp_path, [spool(tmp_path / "0", shown)], tokenizer=Tokenizer(name=str(folder)))
    parent = Parent()
    process_job(parent, job)
    assert (parent.said[0]["client_counted"], parent.said[0]["usage_missing"]) == (3, 3)
    rows = read_records(job.records).to_pylist()
    assert [made["output_tokens"] for made in rows] == [3, 4, 4, 4, 9]
    assert [made["chunk_tokens"] for made in rows[:2]] == [[0, 0], []]
    assert [made["output_sequence_length"] for made in rows] == [3, 4, 4, 4, 9]
    assert (rows[2]["reasoning_tokens"], rows[2]["reasoning_token_count"], rows[2]["output_token_count"]) == (None, 2, 2)

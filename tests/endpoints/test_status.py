import pytest

from aiperf.endpoints.openai import SAMPLE_CHARS, body_sample, sample


@pytest.mark.parametrize("wild", ["\x1b", "\x00", "\r", "\x07", "\x7f", "\x9b"])
def test_what_controls_a_terminal_is_replaced(wild: str) -> None:
    assert sample(f"a{wild}[2Jb\tc\nü".encode()) == "a\N{REPLACEMENT CHARACTER}[2Jb\tc\nü"
    assert body_sample([b"a", wild.encode()]) == "a\N{REPLACEMENT CHARACTER}"


def test_only_the_beginning_is_kept_and_nothing_is_named() -> None:
    assert len(sample(b"x" * 5000)) == SAMPLE_CHARS
    assert (sample(b""), body_sample([b"", b""])) == ("(empty)", "(empty body)")

"""Asks a server what it is before the load: whether it is there, which model it has, and how it answers two requests.

The probes carry no number, so that no ledger counts them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from aiperf import chance, clock
from aiperf.app.jobs import Target, path_of, speaker
from aiperf.config.endpoint import Endpoint as Options
from aiperf.dataset.bank import Wording
from aiperf.errors import ClientError, MeasureError
from aiperf.plugin import plugins
from aiperf.records import CHANNELS
from aiperf.seams import Answer, Fetch, Loop, Said, Source
from aiperf.transports.origin import full
from aiperf.workload import Turn

_LENGTHS = (8, 24)
_TOKENS = 4
_EVERY_S, _READY_S, _LONGEST_S = 0.1, 4.0, 120.0
_REASONING = ("reasoning_content", "reasoning")
_Wait = Callable[[], bool]


class SettledError(MeasureError):
    """What a server says for good: waiting longer would not change it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What two probes showed; `template_tokens` is what the server adds to a prompt (None: not constant, or not said)."""

    streaming: bool
    usage: bool
    reasoning: str | None
    template_tokens: int | None
    finish_reason: str | None
    output_exact: bool | None
    closes: bool = False
    refused: str | None = None

    def words(self) -> str:
        """For a person."""
        said = ["streams" if self.streaming else "answers in one piece", "counts tokens" if self.usage else "sends no usage"]
        if self.reasoning is not None:
            said.append(f"reasons in {self.reasoning}")
        if self.template_tokens is not None:
            said.append(f"adds {self.template_tokens} tokens of chat template to a prompt")
        elif self.usage:
            said.append("adds a varying number of tokens to a prompt (input lengths are reported, not judged)")
        if self.closes:
            said.append("closes its connections after each answer though it promises not to (so each request opens its own)")
        if self.refused is not None:
            said.append(f"refuses {self.refused}")
        return ", ".join(said)


def patience(options: Options, loop: Loop | None = None) -> _Wait:
    """What waits for one more try until a server should be there, then says false; on a virtual loop asking takes the time."""
    now, sleep = (clock.monotonic_ns, clock.sleep) if loop is None else (loop.monotonic_ns, lambda _: None)
    until_ns = now() + round(options.wait_s * clock.SECOND)

    def wait() -> bool:
        if now() < until_ns:
            sleep(_EVERY_S)
            return True
        return False

    return wait


def prepared(options: Options, urls: tuple[str, ...], *, exact: bool, fetch: Fetch, wait: _Wait) -> Target:
    """Wait for the server and learn its model. Raises MeasureError with what was tried."""
    model = options.model or _patient(lambda: _only_model(urls[0], fetch), wait)
    return Target(options, urls, model, path_of(options), exact)


def probe(target: Target, wording: Wording, *, fetch: Fetch, wait: _Wait, source: Source | None = None) -> tuple[Target, Found]:
    """Send two short requests; the target as it can be spoken to, and what was found.

    An endpoint from outside that can do nothing with drawn words is asked with the first conversations of `source`.
    """
    key, wants_exact, refused = chance.child_seed(0, f"probe:{wording.salt}"), target.exact, None
    lengths: Sequence[int] = _LENGTHS
    turns = [_prompt(wording, key + place, length) for place, length in enumerate(lengths)]
    is_ours = plugins.get_entry("endpoint", target.options.type).is_builtin
    understood = None if is_ours else _understood(target, turns[0], fetch, wait)
    if not is_ours and source is not None and understood is None:
        turns, lengths = [replace(source.turn(place, warmup=True), output_tokens=_TOKENS) for place in range(2)], ()
    first: _Heard = understood or _patient(lambda: _asked(target, turns[0], fetch), wait)
    if first.said.error == "http_4xx":
        target, first, refused = _humbler(target, turns[0], fetch, first)
    second = _asked(target, turns[1], fetch)
    for heard in (first, second):
        if heard.said.error is not None:
            raise MeasureError(f"POST {full(target.urls[0], target.path)}: {_refusal(heard)}")
    if second.closes:
        target = replace(target, options=target.options.model_copy(update={"connection": "new"}))
    return target, replace(_found(target, (first, second), lengths, wants_exact=wants_exact), refused=refused)


def _understood(target: Target, turn: Turn, fetch: Fetch, wait: _Wait) -> "_Heard | None":
    """What comes of a turn; None where the endpoint, or its server, can make nothing of it."""
    try:
        heard: _Heard = _patient(lambda: _asked(target, turn, fetch), wait)
    except ClientError:
        return None
    return heard if heard.said.error is None else None


def _humbler(target: Target, turn: Turn, fetch: Fetch, refusal: "_Heard") -> tuple[Target, "_Heard", str | None]:
    """Ask for less, where that helps: without usage in the stream, without exact lengths, without either."""
    usage = target.usage and not target.options.streaming
    lesser = {
        "stream_options.include_usage": replace(target, usage=usage),
        "min_tokens and ignore_eos": replace(target, exact=False),
        "stream_options.include_usage, min_tokens and ignore_eos": replace(target, usage=usage, exact=False),
    }
    for what, less in lesser.items():
        again = _asked(less, turn, fetch) if less != target else refusal
        if again.said.error is None:
            return less, again, f"{what} ({refusal.said.reason})"
    return target, refusal, None


def _refusal(heard: "_Heard") -> str:
    """Why a probe failed, and what might help."""
    hints = {401: "; give endpoint.api_key", 403: "; is endpoint.api_key right?", 404: "; is endpoint.path right, and the model there?"}
    where = f" to {heard.location}" if heard.location else ""
    return f"a probe got status {heard.status}{where} ({heard.said.error}): {heard.said.reason}{hints.get(heard.status, '')}"


@dataclass(frozen=True, slots=True)
class _Heard:
    """A probe's answer, and whether the server then broke its promise to keep the connection."""

    said: Said
    status: int
    location: str | None
    closes: bool
    reasoning: str | None


def _patient(ask: Callable[[], Any], wait: _Wait) -> Any:
    """Ask until there is an answer or the time is over; a server that is still loading says 503, or nothing."""
    while True:
        try:
            answer = ask()
            is_loading = isinstance(answer, _Heard) and answer.said.error == "http_5xx"
            if not is_loading or not wait():
                return answer
        except MeasureError as exc:
            if isinstance(exc, SettledError) or not wait():
                raise


def _only_model(url: str, fetch: Fetch) -> str:
    where = full(url, "/v1/models")
    status, _, body = fetch(where, timeout_s=_READY_S)
    hint = "; name one with endpoint.model=…"
    if status in (401, 403):
        raise SettledError(f"GET {where}: status {status}; give endpoint.api_key")
    if status == 503:
        raise MeasureError(f"GET {where}: status 503, as of a server that is still loading; endpoint.wait_s waits for it")
    if status != 200:
        raise (MeasureError if status >= 500 else SettledError)(f"GET {where}: status {status}{hint}")
    try:
        names = [entry["id"] for entry in msgspec.json.decode(body)["data"] if isinstance(entry["id"], str)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError) as exc:
        raise MeasureError(f"GET {where}: the answer lists no models{hint}") from exc
    if len(names) != 1:
        raise (SettledError if names else MeasureError)(f"GET {where}: {', '.join(names) or 'no model'}{hint}")
    return names[0]


def _prompt(wording: Wording, key: int, words: int) -> Turn:
    """As many words as wanted, of those that the run draws."""
    bank = wording.bank
    picks = bank.words(key, words)
    return Turn((bank.text(picks),), words, _TOKENS, token_ids=(bank.encoded(picks),) if bank.ids is not None else ())


def _asked(target: Target, turn: Turn, fetch: Fetch) -> _Heard:
    endpoint, limits = speaker(target), target.options.timeout_s
    longest = min(limits.connect + limits.first_byte, limits.total, _LONGEST_S)
    (status, headers, body), closes = fetch.watched(full(target.urls[0], target.path), endpoint.body(turn), timeout_s=longest)
    said = endpoint.answer(Answer(status, headers.get("content-type"), [body], complete=True))
    reasons = any(CHANNELS[channel] == "reasoning" for channel in said.channels)
    field = next((name for name in _REASONING if reasons and f'"{name}"'.encode() in body), None)
    return _Heard(said, status, headers.get("location"), closes, field)


def _found(target: Target, heard: tuple[_Heard, _Heard], lengths: Sequence[int], *, wants_exact: bool) -> Found:
    said = tuple(one.said for one in heard)
    added = {s.input_tokens - n for s, n in zip(said, lengths) if s.input_tokens is not None}
    counts = [s.output_tokens / s.choices for s in said if s.output_tokens is not None]
    return Found(
        streaming=target.options.streaming and len(said[1].channels) > 1,
        usage=all(s.input_tokens is not None for s in said),
        reasoning=next((one.reasoning for one in heard if one.reasoning is not None), None),
        closes=heard[1].closes,
        template_tokens=added.pop() if len(added) == 1 else None,
        finish_reason=said[1].finish_reason,
        output_exact=target.exact and all(count == _TOKENS for count in counts) if wants_exact and counts else None,
    )

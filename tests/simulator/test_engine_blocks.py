"""Hits and preemptions, counted by hand and by a second simulation that knows blocks by their text and searches all memory."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stepping import MS, engine

from aiperf.config.simulator import Simulator
from aiperf.simulator.bodies import block_hashes
from aiperf.simulator.draws import too_long
from aiperf.simulator.model import Ask

SIZE = 4


def chain(text):
    return tuple(block_hashes(iter(text), SIZE))


@dataclass
class Block:
    text: str | None = None
    whole: bool = False
    holders: set = field(default_factory=set)
    idle_since: int = 0


@dataclass(eq=False)
class Request:
    text: str
    tokens: int
    brought: int = 0
    computed: int = 0
    goal: int = 0
    now: int = 0
    cached: int | None = None
    preempted: int = 0
    blocks: list = field(default_factory=list)


class Slow:
    """Every step from scratch: what is held is found by looking through all blocks."""

    def __init__(self, blocks, slots, budget):
        self.memory = [Block() for _ in range(blocks)]
        self.slots, self.budget, self.clock = slots, budget, 0
        self.waiting, self.running = [], []

    def free(self):
        blanks = [block for block in self.memory if not block.holders and block.text is None]
        return blanks + sorted((b for b in self.memory if not b.holders and b.text is not None), key=lambda b: b.idle_since)

    def release(self, request):
        for block in reversed(request.blocks):
            block.holders.discard(request)
            self.clock += 1
            block.idle_since = self.clock
        request.blocks = []

    def take(self, request, tokens):
        missing = -(-tokens // SIZE) - len(request.blocks)
        free = self.free()
        if missing > len(free):
            return False
        for block in free[: max(0, missing)]:
            block.text, block.whole = None, False
            block.holders = {request}
            request.blocks.append(block)
        known = {block.text for block in self.memory}
        for place, block in enumerate(request.blocks):
            end = (place + 1) * SIZE
            if not block.whole and end <= min(tokens, len(request.text)):  # known from when it is whole, or never
                block.whole = True
                block.text = None if request.text[:end] in known else request.text[:end]
        return True

    def hits(self, request, total):
        found = []
        for end in range(SIZE, min(len(request.text), total - 1) + 1, SIZE):
            block = next((block for block in self.memory if block.text == request.text[:end]), None)
            if block is None:
                break
            found.append(block)
        return found

    def grow(self, request, tokens):
        while not self.take(request, tokens):
            last = self.running.pop()
            self.release(last)
            last.preempted += 1
            self.waiting.insert(0, last)
            if last is request:
                return False
        return True

    def step(self):
        before = sum(request.preempted for request in [*self.running, *self.waiting])
        left = self.budget
        for request in list(self.running):
            if request in self.running:
                request.now = min(max(1, request.goal - request.computed), left)
                if request.now and not self.grow(request, request.computed + request.now):
                    request.now = 0
                left -= request.now
        if before == sum(request.preempted for request in [*self.running, *self.waiting]):
            self.admit(left)
        self.end()

    def admit(self, left):
        while left and self.waiting and len(self.running) < self.slots:
            request = self.waiting[0]
            total = len(request.text) + request.brought
            found = self.hits(request, total)
            if -(-total // SIZE) - len(found) > len([block for block in self.free() if block not in found]):
                return
            self.running.append(self.waiting.pop(0))
            request.blocks = list(found)
            for block in found:
                block.holders.add(request)
            request.computed, request.goal = len(found) * SIZE, total
            request.cached = request.computed if request.cached is None else request.cached
            request.now = min(request.goal - request.computed, left)
            assert self.take(request, request.computed + request.now)
            left -= request.now

    def end(self):
        for request in list(self.running):
            request.computed += request.now
            if request.now and request.computed >= request.goal:
                request.brought += 1
            if request.brought == request.tokens:
                self.running.remove(request)
                self.release(request)


TEXTS = st.tuples(st.sampled_from(["", "system.", "another system."]), st.text("ab", min_size=1, max_size=14)).map("".join)
TRACES = st.lists(st.tuples(TEXTS, st.integers(1, 14), st.integers(0, 6)), min_size=1, max_size=10)


@given(TRACES, st.integers(11, 24), st.integers(1, 5), st.integers(5, 30))
def test_hits_and_preemptions_are_those_of_a_second_simulation(trace, blocks, slots, budget):
    bench = engine(kv_blocks=blocks, block_tokens=SIZE, max_running=slots, max_batched_tokens=budget, prefix_cache=True)
    slow = Slow(blocks, slots, budget)
    steps, arrivals = [], 0
    for _, _, gap in trace:
        arrivals += gap
        steps.append(arrivals)
    asks = [
        Ask(n, len(text), tokens, step * 10 * MS, blocks=chain(text))
        for n, ((text, tokens, _), step) in enumerate(zip(trace, steps, strict=True))
    ]
    bench.play(asks)
    requests = [Request(text, tokens) for text, tokens, _ in trace]
    coming, step = list(zip(steps, requests, strict=True)), 0
    while coming or slow.waiting or slow.running:
        while coming and coming[0][0] <= step:
            slow.waiting.append(coming.pop(0)[1])
        slow.step()
        step += 1
    assert [(ask.cached_tokens, ask.preemptions) for ask in asks] == [(request.cached, request.preempted) for request in requests]


def test_a_prompt_seen_before_is_found_but_for_its_last_token():
    bench = engine(kv_blocks=100, block_tokens=SIZE, prefix_cache=True)
    same, shorter, other = "abcdefgh", "abcdefg", "xbcdefgh"
    asks = [Ask(n, len(text), 1, n * 10 * MS, blocks=chain(text)) for n, text in enumerate((same, same, shorter, other, same + "i"))]
    bench.play(asks)
    assert [ask.cached_tokens for ask in asks] == [0, 4, 4, 0, 8]
    load = bench.model.load()
    assert (load.queried_tokens, load.hit_tokens) == (8 + 8 + 7 + 8 + 9, 16)


def test_without_a_cache_nothing_is_looked_for():
    bench = engine(kv_blocks=100, block_tokens=SIZE, prefix_cache=False)
    asks = [Ask(n, 9, 1, n * 10 * MS, blocks=chain("abcdefghi")) for n in range(3)]
    bench.play(asks)
    assert (bench.model.load().queried_tokens, bench.model.load().hit_tokens) == (0, 0)


def test_what_was_idle_for_longest_is_forgotten_first_and_of_a_prompt_its_end():
    bench = engine(kv_blocks=6, block_tokens=SIZE, prefix_cache=True)
    first, second, third = "aaaabbbbc", "xxxxyyyyz", "mmmmn"  # 3 blocks each, of which 2 are known by their text; 2
    asks = [Ask(n, len(text), 1, n * 10 * MS, blocks=chain(text)) for n, text in enumerate((first, second, third, first, second))]
    bench.play(asks)
    # idle after two: b a y x and 2 blank; the third takes the blank ones and leaves m; its own and the next's come of the blank, then b
    assert [ask.cached_tokens for ask in asks] == [0, 0, 0, 8, 8]
    bench.play([again := Ask(9, 16, 2, bench.now_ns, blocks=chain("qqqqrrrrsssstttt"))])
    assert again.cached_tokens == 0
    bench.play([last := Ask(10, 9, 1, bench.now_ns, blocks=chain(first))])
    assert last.cached_tokens == 0


def test_who_was_taken_on_last_gives_way_and_is_computed_anew():
    bench = engine(kv_blocks=6, block_tokens=SIZE, prefix_cache=False)
    first, second = Ask(0, 8, 9, 0), Ask(1, 8, 9, 0)
    bench.play([first, second])
    # 2 + 2 blocks; with the ninth token 3 + 3; with the thirteenth, in the step to 60 ms, the first takes what the second had
    assert [at // MS for at in bench.times(first)] == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert [at // MS for at in bench.times(second)] == [10, 20, 30, 40, 50, 100, 110, 120, 130]
    assert (first.preemptions, second.preemptions, bench.model.load().preemptions) == (0, 1, 1)
    assert second.admitted_ns == 0


@pytest.mark.parametrize(("prompt", "tokens", "blocks"), [(1, 1, 1), (15, 1, 1), (16, 1, 2), (512, 128, 40)])
def test_the_blocks_of_a_request(prompt, tokens, blocks):
    enough, few = (Simulator(preset="small_gpu", kv_blocks=number) for number in (blocks, max(1, blocks - 1)))
    assert too_long(enough, prompt, tokens) is None
    assert too_long(Simulator(preset="small_gpu", kv_blocks=None), prompt, tokens) is None
    if blocks > 1:
        assert f"maximum context length is {16 * (blocks - 1)} tokens" in too_long(few, prompt, tokens)


@given(
    st.lists(st.text("abé", min_size=1, max_size=3), max_size=30),
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=30),
    st.integers(1, 8),
)
def test_blocks_are_alike_as_far_as_the_words_are(words, others, size):
    hashes, more = (list(block_hashes(iter(text), size)) for text in (words, others))
    assert len(hashes) == len(words) // size
    alike = next((n for n, (a, b) in enumerate(zip(words, others, strict=False)) if a != b), min(len(words), len(others)))
    assert [a == b for a, b in zip(hashes, more, strict=False)] == [n < alike // size for n in range(min(len(hashes), len(more)))]


def test_a_hash_is_the_same_everywhere():
    assert list(block_hashes(iter(["a", "b", "c", "d", "e"]), 2)) == [2952434739088078779, 17930401473320181870]

import re
from typing import get_args

import pytest
from pydantic import ValidationError

from aiperf.config.arguments import load_part
from aiperf.config.keys import sentences
from aiperf.config.simulator import SHARES, Faults, Preset, Service, Simulator, presets
from aiperf.errors import ConfigError
from fault_classes import FAULT_CLASSES


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"reset": 0.6, "stall": 0.5}, "add up to more than 1"),
        ({"refused": 0.5, "http_400": 0.6}, "add up to more than 1"),
        ({"refused": 0.001}, "expected 0, or 0.01 to 0.99"),
        ({"refused": 1}, "less than or equal to 0.99"),
        ({"garbage": 1.1}, "less than or equal to 1"),
        ({"stall_s": 0}, "greater than 0"),
        ({"stalls": 0.1}, "Extra inputs"),
    ],
)
def test_shares_that_cannot_be_kept_are_refused(shares, says):
    with pytest.raises(ValidationError, match=says):
        Faults(**shares)


def test_shares_may_add_up_to_all():
    assert Faults(**dict.fromkeys(SHARES[:10], 0.1)).refused == 0.1
    assert Faults(refused=0.99, reset=0.01).reset == 0.01


def test_each_fault_names_its_class():
    said = sentences(Faults)
    assert [name for name in SHARES if (FAULT_CLASSES[name] or "no failure") not in said[name]] == []


@pytest.mark.parametrize("preset", presets())
def test_a_preset_is_the_defaults_of_the_keys_that_it_uses(preset):
    simulator = Simulator(preset=preset)
    for key in {key for values in presets().values() for key in values}:
        expected = presets()[preset].get(key)
        assert getattr(simulator, key) == (Service(**expected) if key == "service" and expected else expected)
    assert Simulator(**simulator.model_dump(mode="json")) == simulator
    assert Simulator(**simulator.model_dump(mode="json", exclude_defaults=True)) == simulator


def test_nothing_said_is_the_fixed_times_of_before():
    simulator = Simulator()
    assert (simulator.preset, simulator.clock, simulator.ttft_ms, simulator.itl_ms, simulator.noise) == ("fixed", "real", 20, 5, 0)
    assert Simulator(ttft_ms=None) == Simulator(kv_blocks=None) == simulator


def test_a_key_beside_the_preset_wins():
    simulator = Simulator(preset="small_gpu", kv_blocks=500, speculative={"tokens": 2})
    assert (simulator.kv_blocks, simulator.speculative.tokens, simulator.block_tokens) == (500, 2, 16)
    assert Simulator(preset="textbook", service={"distribution": "fixed"}).service == Service(distribution="fixed", mean_ms=100)
    endless = Simulator(preset="small_gpu", kv_blocks=None)
    assert endless.kv_blocks is None
    assert Simulator(**endless.model_dump(mode="json")) == endless


@pytest.mark.parametrize(
    ("preset", "memory", "bandwidth", "flops"), [("small_gpu", 24e9, 300e9, 121e12), ("large_gpu", 80e9, 3.35e12, 989e12)]
)
def test_the_presets_of_gpus_are_what_their_sources_give(preset, memory, bandwidth, flops):
    values = presets()[preset]
    assert values["step_ms"] == pytest.approx(16.06e9 / bandwidth * 1e3, abs=0.0005)
    assert values["prefill_us_per_token"] == pytest.approx(16.06e9 / (0.5 * flops) * 1e6, abs=0.0005)
    assert values["decode_us_per_request"] == pytest.approx(16 * 128_256 / bandwidth * 1e6, abs=0.0005)
    assert values["context_ns_per_token"] == pytest.approx(131_072 / bandwidth * 1e9, abs=0.0005)
    assert values["kv_blocks"] == (0.9 * memory - 16.06e9) // (131_072 * 16)
    assert values.keys() == presets()["overloaded"].keys()
    assert set(presets()) == set(get_args(Preset))


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (["preset=smal_gpu"], ["preset: expected one of fixed, textbook, small_gpu, .*, not 'smal_gpu', did you mean small_gpu"]),
        (["preset=7"], ["preset: expected one of fixed, .*, not '7'"]),
        (
            ["preset=small_gpu", "ttft_ms=3", "service.mean_ms=5"],
            ["ttft_ms is not used by preset=small_gpu; leave it out, or choose preset=fixed", "service is not used by .* preset=textbook"],
        ),
        (["kv_blocks=7"], ["kv_blocks is not used by preset=fixed; .* choose preset=small_gpu or large_gpu or overloaded"]),
        (["preset=textbook", "replicas=2"], ["replicas is not used by preset=textbook"]),
        (["preset=small_gpu", "max_batched_tokens=255"], ["max_batched_tokens=255 is less than the 256 of a full batch"]),
        (["preset=small_gpu", "max_batched_tokens=300", "speculative.tokens=1"], ["less than the 512 .*max_running=256, 2 each"]),
        (["preset=small_gpu", "kv_blocks=0"], ["kv_blocks: expected a whole number from 1"]),
        (["preset=small_gpu", "speculative.acceptance=2"], ["speculative.acceptance: expected"]),
        (["preset=textbook", "service.mean_ms=0"], ["service.mean_ms: expected a number above 0"]),
        (["clock=virtuel"], ["clock: expected one of real, virtual, not 'virtuel', did you mean virtual"]),
    ],
)
def test_keys_that_cannot_be_had_are_refused_in_a_line_each(said, says):
    with pytest.raises(ConfigError) as caught:
        load_part(Simulator, said)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(says), lines
    for found, expected in zip(lines, says, strict=True):
        assert re.search(expected, found), found

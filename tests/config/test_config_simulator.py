import pytest
from pydantic import ValidationError

from aiperf.config.keys import sentences
from aiperf.config.simulator import SHARES, Faults
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

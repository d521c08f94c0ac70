"""What a build says of a plan that does not fit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hwflow.plan.cost import KINDS, Resources
from hwflow.plan.device import find_device, load_devices
from hwflow.plan.fit import excesses, fit
from hwflow.summary import print_build

SMALL = Resources(lut=1000, ff=2000, dsp=10, bram_18k=20)
HUGE = Resources(lut=10_000_000, ff=1, dsp=0, bram_18k=30_000, uram=0)


def rounded_up(share: float) -> str:
    return f"{math.ceil(share * 10) / 10:.1f}"


def test_what_fits_is_said_to() -> None:
    found = fit(SMALL, "pynq-z2")
    assert found["fits"]
    assert found["verdict"] == "fits pynq-z2"
    assert found["shares"]["bram_18k"] == 20 / 280
    assert found["shares"]["uram"] == 0
    assert set(found["devices"]) == set(load_devices())
    assert all(entry["fits"] for entry in found["devices"].values())


def test_devices_that_would_do_are_named() -> None:
    needs = Resources(lut=60_000, bram_18k=100)
    found = fit(needs, "pynq-z2")
    assert not found["fits"]
    start = "does not fit pynq-z2: needs 1.2 x the LUTs; would fit "
    assert found["verdict"].startswith(start)
    named = found["verdict"].removeprefix(start).split(", ")
    assert named == [
        name
        for name, device in load_devices().items()
        if device.lut >= needs.lut and device.bram_18k >= needs.bram_18k
    ]
    assert "pynq-z2" not in named


def test_what_fits_nowhere_says_by_how_much() -> None:
    found = fit(HUGE, "zcu102")
    own = find_device("zcu102")
    assert not any(entry["fits"] for entry in found["devices"].values())
    closest = min(
        load_devices().values(), key=lambda d: max(HUGE.lut / d.lut, HUGE.bram_18k / d.bram_18k)
    )
    assert found["closest_device"] == closest.name
    memory, logic = 30_000 / own.bram_18k, 10_000_000 / own.lut
    first, second = (
        (f"{rounded_up(logic)} x the LUTs", f"{rounded_up(memory)} x the block RAM")
        if logic > memory
        else (f"{rounded_up(memory)} x the block RAM", f"{rounded_up(logic)} x the LUTs")
    )
    assert found["verdict"].startswith(f"does not fit zcu102: needs {first} and {second}; fits no ")
    assert f"of {closest.name} it needs" in found["verdict"]
    told = excesses(found["devices"])
    assert sorted(name for name, _ in told) == sorted(load_devices())
    assert told[0][0] == closest.name
    assert dict(told)["zcu102"] == f"{first} and {second}"


@pytest.mark.parametrize(
    ("lut", "told"), [(53_201, "needs 1.001 x the LUTs"), (56_000, "needs 1.053 x the LUTs")]
)
def test_a_narrow_miss_is_not_rounded_away(lut: int, told: str) -> None:
    assert told in fit(Resources(lut=lut), "pynq-z2")["verdict"]


def test_a_kind_that_a_device_lacks() -> None:
    found = fit(Resources(uram=3), "pynq-z2")
    assert found["shares"]["uram"] is None
    assert not found["fits"]
    assert "needs UltraRAM, of which it has none; would fit" in found["verdict"]


def test_a_part_whose_resources_are_not_known() -> None:
    found = fit(SMALL, "xc7a35tcpg236-1")
    assert found["fits"] is None
    assert found["available"] is None
    assert found["shares"] is None
    assert found["verdict"].startswith("the resources of xc7a35tcpg236-1 are not known; would fit")


def test_the_end_of_a_build_tells_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    resources = {"source": "estimate", **HUGE.to_json(), **fit(HUGE, "zcu102")}
    assert set(KINDS) <= set(resources)
    print_build(tmp_path, {"design": "big", "resources": resources})
    told = " ".join(capsys.readouterr().out.split())
    assert "does not fit zcu102: needs" in told
    assert "fits no listed device" in told

"""Devices: the figures that ship, and how names and part numbers are found."""

from __future__ import annotations

import pytest

from hwflow.errors import DesignError
from hwflow.plan.device import find_device, load_devices, resolve_part


def test_every_device_is_plausible_and_can_be_found() -> None:
    devices = load_devices()
    assert len(devices) >= 12
    for name, device in devices.items():
        assert device.name == name
        assert 0 < device.lut < device.ff
        assert device.ff == 2 * device.lut  # two flip-flops a LUT in all of these families
        assert device.bram_18k % 2 == 0
        assert device.dsp > 0
        assert device.slr >= 1
        assert device.speed_grade.lower() in device.part.lower()
        assert device.source.startswith("DS")
        for wanted in (name, *device.aliases, device.part, device.part.upper(), device.part[:-2]):
            if wanted != device.part[:-2] or "-" in device.part[:-2]:
                assert find_device(wanted).lut == device.lut
        assert find_device(device.part) == device
        assert resolve_part(name) == device.part


def test_names_and_parts_are_unique() -> None:
    devices = load_devices().values()
    names = [name for device in devices for name in (device.name, *device.aliases, device.part)]
    assert len(names) == len(set(names))


# Source: the data sheets that the devices' files name.
@pytest.mark.parametrize(
    ("name", "lut", "dsp", "bram_18k", "uram"),
    [
        ("pynq-z2", 53200, 220, 280, 0),
        ("zcu102", 274080, 2520, 1824, 0),
        ("zcu104", 230400, 1728, 624, 96),
        ("kv260", 117120, 1248, 288, 64),
        ("u250", 1728000, 12288, 5376, 1280),
    ],
)
def test_figures_of_the_data_sheets(
    name: str, lut: int, dsp: int, bram_18k: int, uram: int
) -> None:
    device = find_device(name)
    assert (device.lut, device.dsp, device.bram_18k, device.uram) == (lut, dsp, bram_18k, uram)


@pytest.mark.parametrize(
    "wanted", ["zcu102", "ZCU102", "zcu 102", "xczu9eg", "xczu9eg-ffvb1156", " xczu9eg-ffvb1156-2"]
)
def test_many_names_of_one_device(wanted: str) -> None:
    assert find_device(wanted).name == "zcu102"
    assert resolve_part(wanted) == "xczu9eg-ffvb1156-2-e"


def test_alveo_in_front() -> None:
    assert find_device("Alveo U250") is find_device("u250")


def test_another_package_and_grade_of_a_known_die() -> None:
    device = find_device("xczu9eg-ffvc900-1-e")
    assert device.part == "xczu9eg-ffvc900-1-e"
    assert device.speed_grade == "-1"
    assert device.lut == find_device("zcu102").lut
    assert find_device("xc7z020clg484-2").dsp == 220


def test_a_part_that_exists_but_is_not_described() -> None:
    assert resolve_part("xcku115-flvb2104-2-i") == "xcku115-flvb2104-2-i"
    with pytest.raises(DesignError, match="the resources of 'xcku115-flvb2104-2-i' are not known"):
        find_device("xcku115-flvb2104-2-i")


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("xczu99eg-ffvb1156-2-e", "Did you mean xczu9eg-ffvb1156-2-e"),
        ("xc7z021clg400-1", "Did you mean xc7z020clg400-1"),
        ("zcu103", "Did you mean zcu104 or zcu102?"),
        ("xczu9eg-ffvb1156-2-x3", "whose die is xczu9eg, but what follows is no package and grade"),
        ("xczu9eg_ffvb1156", "whose die is xczu9eg, but what follows is no package and grade"),
        ("spartan", "which is neither."),
        ("", "which is neither."),
        ("x", "which is neither."),
    ],
)
def test_what_does_not_exist(wanted: str, hint: str) -> None:
    for find in (find_device, resolve_part):
        with pytest.raises(DesignError) as caught:
            find(wanted)
        assert hint in str(caught.value)

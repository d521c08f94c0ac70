"""The devices that designs can aim at: one YAML file each in `devices/`, found by the folder."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from hwflow.errors import DesignError


@dataclass(frozen=True)
class Device:
    """What a device holds.

    Attributes:
        name: short name, of the board or card where there is one.
        aliases: other names.
        part: the vendor's part number with package, speed and temperature grade.
        speed_grade: `-1`, `-2`, `-2L`, ...
        lut: look-up tables.
        ff: flip-flops.
        dsp: DSP48 or DSP58 slices.
        bram_18k: block RAMs of 18 Kib (a 36 Kib tile counts twice).
        uram: UltraRAMs of 288 Kib.
        uram_initialisable: whether the bitstream can fill them (else no ROM can be one).
        slr: super logic regions.
        source: the data sheet of the figures.
    """

    name: str
    aliases: tuple[str, ...]
    part: str
    speed_grade: str
    lut: int
    ff: int
    dsp: int
    bram_18k: int
    uram: int
    uram_initialisable: bool
    slr: int
    source: str


# The dies of each family, for parts that no file in `devices/` describes.
# Source: DS180, DS189, DS190, DS890, DS891, DS889, DS950, DS987, DS962, DS963, DS965.
_DIES = frozenset(
    f"xc{prefix}{number}{suffix}"
    for prefix, numbers, suffix in (
        ("7s", "6 15 25 50 75 100", ""),
        ("7a", "12 15 25 35 50 75 100 200", "t"),
        ("7k", "70 160 325 355 410 420 480", "t"),
        ("7v", "585 2000", "t"),
        ("7vx", "330 415 485 550 690 980 1140", "t"),
        ("7vh", "580 870", "t"),
        ("7z", "007 012 014", "s"),
        ("7z", "010 015 020 030 035 045 100", ""),
        ("zu", "1 2 3 4 5 6 7 9", "cg"),
        ("zu", "1 2 3 4 5 6 7 9 11 15 17 19", "eg"),
        ("zu", "4 5 7", "ev"),
        ("zu", "21 25 27 28 29 39 42 43 46 47 48 49 65 67", "dr"),
        ("k", "24 26", ""),
        ("au", "7 10 15 20 25", "p"),
        ("ku", "025 035 040 060 085 095 115", ""),
        ("ku", "3 5 9 11 13 15 19", "p"),
        ("vu", "065 080 095 125 160 190 440", ""),
        ("vu", "3 5 7 9 11 13 19 23 27 29 31 33 35 37 45 47 57", "p"),
        ("u", "25 26 30 50 55c 55n 200 250 280", ""),
        ("vc", "1502 1702 1802 1902 2602 2802", ""),
        ("ve", "1752 2002 2102 2202 2302 2602 2802", ""),
        ("vm", "1102 1302 1402 1502 1802 2202 2302 2502 2902", ""),
    )
    for number in numbers.split()
)
# Package, speed grade, temperature: `clg400-1` after a 7 series die, `-ffvb1156-2-e` after others.
_OLD_SUFFIX = re.compile(r"[a-z]{2,4}\d{3,4}-[123](l|li|i)?")
_NEW_SUFFIX = re.compile(r"-[a-z]{3,4}\d{3,4}-[123](l|lv|mp|lp|hp|m|h)?-[ceimq](-es\d*)?")


@functools.cache
def load_devices() -> Mapping[str, Device]:
    """Every known device by its name, in the order of the names."""
    import yaml

    devices = []
    for entry in resources.files("hwflow.plan").joinpath("devices").iterdir():
        if entry.name.endswith(".yaml"):
            fields: dict[str, Any] = yaml.safe_load(entry.read_text(encoding="utf-8"))
            devices.append(Device(**{**fields, "aliases": tuple(fields["aliases"])}))
    return MappingProxyType({d.name: d for d in sorted(devices, key=lambda d: d.name)})


def find_device(name_or_part: str) -> Device:
    """The device of a board name, an alias or a part number.

    A part number may end before or within its package or grade as long as only one known part
    begins so. Another package or grade of a known die is that device with the part as given.

    Raises:
        DesignError: if it is unknown, or known to exist but not described; with suggestions.
    """
    wanted = name_or_part.strip().lower()
    devices = load_devices()
    for device in devices.values():
        names = {_plain(name) for name in (device.name, *device.aliases)}
        if wanted == device.part.lower() or _plain(wanted) in names:
            return device
    beginning = [device for device in devices.values() if device.part.lower().startswith(wanted)]
    if len(beginning) == 1 and len(wanted) > len("xczu"):
        return beginning[0]
    die = _die_of(wanted)
    same_die = [device for device in devices.values() if _die_of(device.part.lower()) == die]
    if die and same_die:
        grade = re.search(r"-[123][a-z]*", wanted[len(die) :])
        if grade and _is_part(wanted, die):
            return dataclasses.replace(
                same_die[0],
                name=wanted,
                aliases=(),
                part=name_or_part.strip(),
                speed_grade=grade.group().upper(),
            )
    if die and _is_part(wanted, die):
        raise DesignError(
            f"the resources of {name_or_part!r} are not known. Add a file for it to "
            f"hwflow/plan/devices, or choose one of: {', '.join(devices)}"
        )
    raise DesignError(_unknown(name_or_part))


def resolve_part(name_or_part: str) -> str:
    """The part number of a board name, an alias, an unambiguous beginning, or a part number.

    A part whose resources are not known is accepted as long as its die exists.

    Raises:
        DesignError: if there is no such part; with suggestions.
    """
    wanted = name_or_part.strip().lower()
    die = _die_of(wanted)
    if die and _is_part(wanted, die):
        known = {device.part.lower(): device.part for device in load_devices().values()}
        return known.get(wanted, name_or_part.strip())
    return find_device(name_or_part).part


def _plain(name: str) -> str:
    return re.sub(r"^(alveo|xilinx|amd)|[-_ .]", "", name.lower())


def _die_of(part: str) -> str:
    """The longest die that the part number begins with, or nothing."""
    return max((die for die in _DIES if part.startswith(die)), key=len, default="")


def _is_part(part: str, die: str) -> bool:
    suffix = _OLD_SUFFIX if die.startswith("xc7") else _NEW_SUFFIX
    return suffix.fullmatch(part[len(die) :]) is not None


def _unknown(name_or_part: str) -> str:
    devices = load_devices().values()
    names = {name.lower(): name for d in devices for name in (d.name, *d.aliases, d.part)}
    wanted = name_or_part.strip().lower()
    close = difflib.get_close_matches(wanted, names, n=2, cutoff=0.6)
    die = _die_of(wanted)
    if not die:
        head = re.split(r"-|(?<=\d)(?=[a-z]{3,4}\d{3,4}-)", wanted)[0]
        close = close or difflib.get_close_matches(head, sorted(_DIES), n=2, cutoff=0.75)
    hint = f" Did you mean {' or '.join(names.get(c, c) for c in close)}?" if close else ""
    why = (
        f"whose die is {die}, but what follows is no package and grade (such as "
        f"{'clg400-1' if die.startswith('xc7') else '-ffvb1156-2-e'})"
        if die
        else "which is neither"
    )
    return (
        f"must be a board ({', '.join(d.name for d in devices)}) or a part number, not "
        f"{name_or_part!r}, {why}.{hint}"
    )

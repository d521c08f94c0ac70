"""Whether a plan fits the listed devices, and by how much it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, isinf
from typing import Any

from hwflow.errors import DesignError
from hwflow.plan.cost import KINDS, Resources
from hwflow.plan.device import Device, find_device, load_devices

WORDS = {
    "lut": "LUTs",
    "ff": "flip-flops",
    "dsp": "DSP slices",
    "bram_18k": "block RAM",
    "uram": "UltraRAM",
}
"""What a kind of resource is called in a sentence."""


def worded(amount: Resources) -> str:
    """`60 block RAM and 864 LUTs`: every kind of which there is something."""
    parts = [f"{getattr(amount, kind)} {WORDS[kind]}" for kind in KINDS if getattr(amount, kind)]
    return _listed(parts) if parts else "nothing"


def _listed(parts: Sequence[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def shares(total: Resources, device: Device) -> dict[str, float | None]:
    """Each kind that is needed over what the device has; null where it is needed and has none."""
    found: dict[str, float | None] = {}
    for kind in KINDS:
        needed, available = getattr(total, kind), getattr(device, kind)
        found[kind] = needed / available if available else None if needed else 0.0
    return found


def fit(total: Resources, part: str) -> dict[str, Any]:
    """How the needs of a plan compare with its own part and with every listed device.

    The plan is that of its own part: on another device it might be folded or stored otherwise.

    Args:
        total: what the plan needs.
        part: of the design; where its resources are not known, its entries are null.

    Returns:
        `available` and `shares` by kind and `fits`, of the part; `devices`, with `shares` and
        `fits` of each listed device; `closest_device`, the name of the one that its scarcest kind
        overfills least; `verdict`, a sentence.
    """
    try:
        own = find_device(part)
    except DesignError:  # the part exists, but its resources are not known
        own = None
    devices: dict[str, dict[str, Any]] = {
        device.name: {"fits": total.fits(device), "shares": shares(total, device)}
        for device in load_devices().values()
    }
    closest = min(devices, key=lambda name: _worst(devices[name]["shares"]))
    found = {
        "available": {kind: getattr(own, kind) for kind in KINDS} if own else None,
        "fits": total.fits(own) if own else None,
        "shares": shares(total, own) if own else None,
        "devices": devices,
        "closest_device": closest,
    }
    return {**found, "verdict": _verdict(part, found)}


def excesses(devices: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    """By how much a plan exceeds each listed device that it does not fit.

    Args:
        devices: as `fit` gives them.

    Returns:
        Names, and such as `3.1 x the block RAM and 1.2 x the LUTs`; the least exceeded first.
    """
    beyond = [name for name in devices if not devices[name]["fits"]]
    beyond.sort(key=lambda name: _worst(devices[name]["shares"]))
    return [(name, _excess(devices[name]["shares"])) for name in beyond]


def _worst(of_device: Mapping[str, float | None]) -> float:
    return max(float("inf") if share is None else share for share in of_device.values())


def _verdict(part: str, found: Mapping[str, Any]) -> str:
    closest, devices = found["closest_device"], found["devices"]
    if found["fits"]:
        return f"fits {part}"
    told = f"the resources of {part} are not known"
    if found["shares"] is not None:
        told = f"does not fit {part}: needs {_excess(found['shares'])}"
    if devices[closest]["fits"]:
        return f"{told}; would fit {', '.join(name for name in devices if devices[name]['fits'])}"
    excess = _excess(devices[closest]["shares"])
    return f"{told}; fits no listed device: of {closest} it needs {excess}"


def _excess(of_device: Mapping[str, float | None]) -> str:
    """`3.1 x the block RAM and 1.2 x the LUTs`, what is exceeded most first."""
    beyond = {
        kind: float("inf") if share is None else share
        for kind, share in of_device.items()
        if share is None or share > 1
    }
    return _listed(
        [_times(kind, beyond[kind]) for kind in sorted(beyond, key=lambda kind: -beyond[kind])]
    )


def _times(kind: str, share: float) -> str:
    if isinf(share):
        return f"{WORDS[kind]}, of which it has none"
    digits = 1 if share >= 1.1 else 3
    return f"{ceil(share * 10**digits) / 10**digits:.{digits}f} x the {WORDS[kind]}"

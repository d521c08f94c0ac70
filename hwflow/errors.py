"""The errors that a user can meet, each with the exit code of the command that reports it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

MOST_NAMES = 6
"""Layers that one fault names; of more it tells how many."""


class HwflowError(Exception):
    """Base of all errors that are reported without a traceback.

    Attributes:
        exit_code: what the command line returns for this kind of error.
    """

    exit_code = 1


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a design file (or another input), and where.

    Attributes:
        where: `file:line:column` as far as it is known, else the file or the subject.
        subject: dotted path of the key (`quantization.weights.width`), or empty.
        message: what must hold, what came instead, and what to do.
    """

    where: str
    subject: str
    message: str

    def __str__(self) -> str:
        head = " ".join(part for part in (self.where, self.subject) if part)
        return f"{head}: {self.message}" if head else self.message


def of_layers(told: Iterable[tuple[str, Fault]]) -> list[Fault]:
    """One fault instead of many that differ by the layer alone.

    Args:
        told: name of a layer and its fault, whose message has `{layers}` where the name belongs:
            it becomes `layer 'a'`, or `layers 'a', 'b' and 7 more`.
    """
    names: dict[Fault, list[str]] = {}
    for name, fault in told:
        names.setdefault(fault, []).append(name)
    return [
        replace(fault, message=fault.message.replace("{layers}", _named(layers)))
        for fault, layers in names.items()
    ]


def _named(layers: Sequence[str]) -> str:
    shown = [repr(name) for name in layers]
    if len(shown) > MOST_NAMES:
        shown[MOST_NAMES:] = [f"{len(shown) - MOST_NAMES} more"]
    if len(shown) == 1:
        return f"layer {shown[0]}"
    return f"layers {', '.join(shown[:-1])} and {shown[-1]}"


class DesignError(HwflowError):
    """The design, or a file that it names, cannot be built. Carries *all* faults found."""

    exit_code = 2

    def __init__(self, faults: str | Fault | Iterable[str | Fault]) -> None:
        if isinstance(faults, str | Fault):
            faults = [faults]
        self.faults: Sequence[Fault] = tuple(
            fault if isinstance(fault, Fault) else Fault("", "", fault) for fault in faults
        )
        super().__init__("\n".join(str(fault) for fault in self.faults))


class MismatchError(HwflowError):
    """Two witnesses disagree about a value."""

    exit_code = 3


class DoesNotFitError(HwflowError):
    """No plan for the device fits."""

    exit_code = 4


class ToolError(HwflowError):
    """A compiler or vendor tool is missing, failed, or could not do its work (a full disk too)."""

    exit_code = 5

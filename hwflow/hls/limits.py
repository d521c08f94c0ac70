"""What Vitis HLS and Vivado HLS refuse, checked before a project is written.

The tools find these faults only after minutes or hours, if at all in words that help. Each function
returns the faults of one construct; none is an empty list, so that a caller gathers all of a design
before it raises.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwflow.errors import Fault


@dataclass(frozen=True)
class Limit:
    """A number that a tool does not let pass.

    Attributes:
        value: the greatest that is accepted.
        unit: of the value.
        source: where the tool or its users say so.
    """

    value: int
    unit: str
    source: str


STREAM_BITS = Limit(
    4096,
    "bits",
    "Vitis HLS stops above 4096 (Xilinx/Vitis-HLS-Introductory-Examples issue 19); "
    "UG1399 gives the same for ap_int",
)
"""One element of a stream: a beat."""

MEMORY_WORD_BITS = Limit(
    65_536, "bits", "XFORM 203-133 (fastmachinelearning/hls4ml issues 506 and 623)"
)
"""One word of a reshaped array."""

PARTITIONED_ELEMENTS = Limit(
    4096,
    "elements",
    "XFORM 203-103 with `config_array_partition -maximum_size 4096`, the largest known to pass "
    "(fastmachinelearning/hls4ml issue 1157)",
)
"""Elements of an array split into registers, or along the reshaped dimension."""

DEFAULT_PARTITIONED_ELEMENTS = Limit(
    1024, "elements", "XFORM 203-103 (fastmachinelearning/hls4ml issues 79 and 134)"
)
"""The same when the project's script does not raise `-maximum_size` (Vivado HLS)."""

UNROLLED_ITERATIONS = Limit(
    4096, "iterations", "XFORM 203-504 (fastmachinelearning/hls4ml issue 904)"
)
"""Copies of a loop's body, nested loops multiplied."""


def _exceeds(where: str, what: str, value: int, limit: Limit, remedy: str) -> list[Fault]:
    if value <= limit.value:
        return []
    message = (
        f"{what} must not exceed {limit.value} {limit.unit}, not {value}: {remedy} [{limit.source}]"
    )
    return [Fault(where, "", message)]


def stream_faults(where: str, lanes: int, width: int) -> list[Fault]:
    """A stream of beats of `lanes` integers of `width` bits."""
    return _exceeds(
        where, f"a beat of {lanes} x {width} bits", lanes * width, STREAM_BITS, "take fewer lanes"
    )


def memory_faults(where: str, lanes: int, width: int) -> list[Fault]:
    """An array whose rows of `lanes` integers of `width` bits are made one memory word."""
    return _exceeds(
        where,
        f"a memory word of {lanes} x {width} bits",
        lanes * width,
        MEMORY_WORD_BITS,
        "fold further",
    ) + _exceeds(
        where, "the elements of a memory word", lanes, PARTITIONED_ELEMENTS, "fold further"
    )


def register_faults(where: str, elements: int, limit: Limit = PARTITIONED_ELEMENTS) -> list[Fault]:
    """An array split completely into registers."""
    return _exceeds(where, "an array split into registers", elements, limit, "fold further")


def unroll_faults(where: str, iterations: int) -> list[Fault]:
    """Unrolled loops, nested ones multiplied."""
    return _exceeds(
        where, "the copies of an unrolled loop", iterations, UNROLLED_ITERATIONS, "fold further"
    )


def divisor_faults(where: str, subject: str, value: int, total: int, what: str) -> list[Fault]:
    """A fold or a number of lanes, which must divide what it folds."""
    if value >= 1 and total % value == 0:
        return []
    choices = [d for d in range(1, total + 1) if total % d == 0]
    nearest = min(choices, key=lambda d: (abs(d - value), d))
    message = f"must divide the {total} {what}, not {value}: the nearest divisor is {nearest}"
    return [Fault(where, subject, message)]


def matrix_vector_faults(
    where: str,
    in_channels: int,
    out_channels: int,
    groups: int,
    pe: int,
    simd: int,
    input_width: int,
    output_width: int,
    weight_width: int,
) -> list[Fault]:
    """All that can be wrong with the fold of a convolution.

    Args:
        where: the layer.
        in_channels: of all groups.
        out_channels: of all groups.
        groups: channel groups.
        pe: output channels side by side.
        simd: inputs side by side.
        input_width: bits of an input.
        output_width: bits of an output.
        weight_width: bits of a weight.
    """
    return [
        *divisor_faults(where, "pe", pe, out_channels // groups, "output channels of a group"),
        *divisor_faults(where, "simd", simd, in_channels // groups, "input channels of a group"),
        *stream_faults(where, simd, input_width),
        *stream_faults(where, pe, output_width),
        *memory_faults(where, pe * simd, weight_width),
        *unroll_faults(where, pe * simd),
    ]


def depthwise_faults(
    where: str, channels: int, pe: int, input_width: int, output_width: int, weight_width: int
) -> list[Fault]:
    """All that can be wrong with the fold of a depthwise convolution.

    Args:
        where: the layer.
        channels: of the input.
        pe: channels side by side.
        input_width: bits of an input.
        output_width: bits of an output.
        weight_width: bits of a weight.
    """
    return [
        *divisor_faults(where, "pe", pe, channels, "input channels"),
        *stream_faults(where, pe, max(input_width, output_width)),
        *memory_faults(where, pe, weight_width),
        *unroll_faults(where, pe),
    ]

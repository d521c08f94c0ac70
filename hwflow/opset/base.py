"""What an operation is, and what is known of the tensor that it makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from hwflow.fixed_point import FixedPoint, IntArray

Shape = tuple[int, int, int]
"""Height, width, channels."""

KINDS: dict[str, type[Operation]] = {}
"""Every operation class by its kind."""

UNSAID = {"unsaid": True}
"""Metadata of an attribute that files leave out where it has its default."""


@dataclass(frozen=True)
class Interval:
    """The least and greatest raw integer that each channel can take.

    Attributes:
        low: shape `(C,)`.
        high: shape `(C,)`.
    """

    low: IntArray
    high: IntArray

    def including_zero(self) -> Interval:
        """The same, widened to hold zero (what padding brings in)."""
        return Interval(np.minimum(self.low, 0), np.maximum(self.high, 0))

    @property
    def peak(self) -> int:
        """The greatest magnitude of all channels."""
        return max(abs(int(self.low.min(initial=0))), abs(int(self.high.max(initial=0))))

    def shifted(self, bits: int) -> Interval:
        """The interval of the raw integers times `2**bits`.

        Raises:
            ValueError: if that does not fit in 64 bits.
        """
        require_int64(self.peak << bits)
        return Interval(self.low << bits, self.high << bits)


def require_int64(peak: int) -> None:
    """Refuses what NumPy's integers would wrap silently.

    Args:
        peak: the greatest magnitude that is computed.

    Raises:
        ValueError: if it does not fit in 64 bits.
    """
    if peak >= 1 << 63:
        raise ValueError(f"its values need {peak.bit_length() + 1} bits, more than 64")


@dataclass(frozen=True, eq=False)
class Operation(ABC):
    """One integer operation; its output tensor bears its name.

    Attributes:
        name: unique within the graph.
        inputs: names of the operations whose outputs it takes.
    """

    name: str
    inputs: tuple[str, ...]

    kind: ClassVar[str] = ""
    is_head: ClassVar[bool] = False
    """Whether it stands behind the network, as a design asks, and is no layer of it."""

    takes_sums: ClassVar[bool] = False
    """Whether it can read a tensor whose divisor is not 1."""

    def __init_subclass__(cls) -> None:
        if cls.kind:
            KINDS[cls.kind] = cls

    @abstractmethod
    def output_shape(self, *shapes: Shape) -> Shape:
        """The shape of the result.

        Raises:
            ValueError: if the inputs' shapes do not fit the operation or one another.
        """

    @abstractmethod
    def evaluate(self, *tensors: IntArray) -> IntArray:
        """The result's raw integers, shape `(N, H, W, C)`, from the inputs' raw integers."""

    @abstractmethod
    def interval(self, *intervals: Interval) -> Interval:
        """What the result can reach when the inputs reach what `intervals` say."""

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        """Fraction bits and divisor of the result.

        Raises:
            ValueError: if the inputs' formats do not fit the operation or one another.
        """
        return sources[0].format.fraction_bits, 1

    def result_format(self, interval: Interval, fraction_bits: int) -> FixedPoint:
        """The narrowest format that holds every value on the way to the result, and the result.

        Operations that declare their format return that.

        Args:
            interval: what the result can reach.
            fraction_bits: of the result, as `unit` gives them.
        """
        low, high = int(interval.low.min()), int(interval.high.max())
        return FixedPoint.containing(low, high, fraction_bits)

    def infer(self, *sources: Tensor) -> Tensor:
        """Shape, proved format and reach of the result.

        Raises:
            ValueError: if the inputs do not fit the operation or one another.
        """
        shape = self.output_shape(*(source.shape for source in sources))
        fraction_bits, divisor = self.unit(*sources)
        if not self.takes_sums and any(source.divisor != 1 for source in sources):
            raise ValueError("a sum of average pooling must be requantized first")
        interval = self.interval(*(source.interval for source in sources))
        return Tensor(shape, self.result_format(interval, fraction_bits), divisor, interval)

    def macs(self, *shapes: Shape) -> int:
        """Multiply-accumulates for one image."""
        return 0


@dataclass(frozen=True, eq=False)
class Input(Operation):
    """The network's input, already quantized to its tensor's format.

    Attributes:
        shape: height, width, channels.
        format: the declared format of the tensor.
    """

    shape: Shape
    format: FixedPoint
    kind: ClassVar[str] = "input"

    def output_shape(self, *shapes: Shape) -> Shape:
        return self.shape

    def evaluate(self, *tensors: IntArray) -> IntArray:
        (tensor,) = tensors
        return tensor

    def interval(self, *intervals: Interval) -> Interval:
        channels = self.shape[2]
        require_int64(self.format.maximum)
        return Interval(
            np.full(channels, self.format.minimum, np.int64),
            np.full(channels, self.format.maximum, np.int64),
        )

    def unit(self, *sources: Tensor) -> tuple[int, int]:
        return self.format.fraction_bits, 1

    def result_format(self, interval: Interval, fraction_bits: int) -> FixedPoint:
        return self.format


@dataclass(frozen=True)
class Tensor:
    """The result of an operation.

    Attributes:
        shape: height, width, channels.
        format: what a raw integer is worth; proved to hold every value the tensor can take.
        divisor: the value is `raw * 2**-fraction_bits / divisor` (sums of average pooling).
        interval: what each channel can reach.
    """

    shape: Shape
    format: FixedPoint
    divisor: int = 1
    interval: Interval = field(repr=False, compare=False, default=None)  # type: ignore[assignment]

"""What the builder of an operation's processes is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hwflow.opset import Operation, Tensor
from hwflow.plan.choices import Choices
from hwflow.plan.folding import Fold
from hwflow.plan.stages import Stage, identifier, stream_name
from hwflow.plan.streams import Process
from hwflow.plan.wiring import Wiring


@dataclass(frozen=True)
class Instance:
    """One stage that is to become processes.

    Attributes:
        stage: the operation, and what is fused into it.
        wiring: where processes and streams go.
        choices: of the design.
        lanes: of the beats that it reads; for a convolution's, those of its fold.
        fold: of a convolution.
        parallel: taps of a window a cycle: one, or all.
    """

    stage: Stage
    wiring: Wiring
    choices: Choices
    lanes: int
    fold: Fold | None = None
    parallel: int = 1

    @property
    def operation(self) -> Operation:
        """What is built."""
        return self.stage.operation

    @property
    def name(self) -> str:
        """The C++ name of its main process."""
        return identifier(self.operation.name)

    @property
    def output(self) -> str:
        """The stream of its tensor."""
        return stream_name(self.stage.tensor)

    @property
    def made(self) -> Tensor:
        """What leaves it."""
        return self.tensor(self.stage.tensor)

    def tensor(self, name: str) -> Tensor:
        """What is known of a tensor of the graph."""
        return self.wiring.graph.tensors[name]

    def source(self, index: int = 0) -> Tensor:
        """What is known of one of its inputs."""
        return self.tensor(self.operation.inputs[index])

    def input(self, index: int = 0) -> str:
        """The stream of one of its inputs, in beats of its lanes; each is taken once."""
        return self.wiring.input_of(self.operation, index, self.lanes)

    def sums(self) -> dict[str, Any]:
        """Accumulator, target, divisor and maximum of its process."""
        made = self.tensor(self.operation.name)
        fused = self.stage.fused
        return {
            "accumulator": made.format,
            "target": fused.format if fused else made.format,
            "divisor": made.divisor,
            "maximum": fused.maximum if fused else None,
        }

    def process(
        self,
        kernel: str,
        inputs: tuple[str, ...],
        settings: Mapping[str, int],
        cycles: int,
        **more: Any,
    ) -> str:
        """Appends its main process, which makes its tensor, with the tensor's duplicates.

        Args:
            kernel: name of the function template.
            inputs: streams.
            settings: of the kernel.
            cycles: an image.
            more: other attributes of `Process`.

        Returns:
            The stream of the tensor.
        """
        layer = self.operation.name
        self.wiring.processes.append(
            Process(self.name, kernel, layer, inputs, (self.output,), settings, cycles, **more)
        )
        return self.wiring.publish(self.stage.tensor, layer)

    def streamed(self, kernel: str, inputs: tuple[str, ...], **more: Any) -> str:
        """The same for a kernel that does one beat of each pixel after another."""
        height, width, channels = self.made.shape
        settings = {"pixels": height * width, "channels": channels, "lanes": self.lanes}
        cycles = settings["pixels"] * (channels // self.lanes)
        return self.process(kernel, inputs, {**settings, **more.pop("also", {})}, cycles, **more)


Builder = Callable[[Instance], str]
"""Adds the processes of an instance; returns the stream of its tensor."""

BUILDERS: dict[type[Operation], Builder] = {}


def builds(*operations: type[Operation]) -> Callable[[Builder], Builder]:
    """Registers the builder of some kinds of operations."""

    def register(builder: Builder) -> Builder:
        BUILDERS.update(dict.fromkeys(operations, builder))
        return builder

    return register

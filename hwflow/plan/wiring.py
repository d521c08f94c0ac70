"""The streams between stages: duplicated where readers are several, repacked where lanes differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import gcd, lcm

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Operation
from hwflow.plan import folding
from hwflow.plan.stages import Stage, identifier, stream_name
from hwflow.plan.streams import Process, Stream


class Wiring:
    """The processes and streams made so far.

    Args:
        graph: the network.
        stages: of it.
        written: lanes of each tensor as it leaves its producer.
        interval_cycles: cycles an image that a repack should not exceed.
    """

    def __init__(
        self,
        graph: IntegerGraph,
        stages: Sequence[Stage],
        written: Mapping[str, int],
        interval_cycles: int,
    ) -> None:
        self.graph = graph
        self.processes: list[Process] = []
        self.streams: dict[str, Stream] = {}
        self._fused = {stage.fused.name for stage in stages if stage.fused}
        self._written = written
        self._interval_cycles = interval_cycles
        self._branches: dict[str, list[tuple[str, str]]] = {}  # tensor -> (consumer, stream)

    def new_stream(
        self,
        name: str,
        tensor: str | None,
        value_format: FixedPoint,
        lanes: int,
        channels: int,
        pixels: int,
    ) -> str:
        """Adds a stream and returns its name.

        Raises:
            DesignError: if two layers lead to one name.
        """
        if name in self.streams:
            raise DesignError(f"two layers lead to the same C++ name {name}: rename one of them")
        self.streams[name] = Stream(name, tensor, value_format, lanes, channels, pixels)
        return name

    def publish(self, tensor: str, layer: str) -> str:
        """Makes a tensor's stream, and the duplicates that its readers need."""
        first = self._tensor_stream(tensor)
        readers = self._readers(tensor)
        current = first
        branches = []
        shape = self.graph.tensors[tensor].shape
        for index, reader in enumerate(readers[:-1]):
            mine = self._tensor_stream(tensor, f"_to_{identifier(reader)}")
            is_last = index == len(readers) - 2
            rest_name = f"_to_{identifier(readers[-1])}" if is_last else f"_rest{index}"
            rest = self._tensor_stream(tensor, rest_name)
            lanes = self._written[tensor]
            settings = {"pixels": shape[0] * shape[1], "channels": shape[2], "lanes": lanes}
            self.processes.append(
                Process(
                    f"{identifier(tensor)}_duplicate{index if index else ''}",
                    "duplicate",
                    layer,
                    (current,),
                    (mine, rest),
                    settings,
                    settings["pixels"] * (shape[2] // lanes),
                )
            )
            branches.append((reader, mine))
            current = rest
        if readers:
            branches.append((readers[-1], current))
        self._branches[tensor] = branches
        return first

    def branch(self, tensor: str, reader: str) -> str:
        """The stream of a tensor that a reader gets, each handed out once."""
        branches = self._branches[tensor]
        for index, (name, stream) in enumerate(branches):
            if name == reader or name.rpartition(".")[0] == reader:
                del branches[index]
                return stream
        raise KeyError(f"{tensor} has no branch for {reader}")

    def input_of(self, operation: Operation, index: int, lanes: int) -> str:
        """The stream of an operation's input, in beats of the given lanes."""
        stream = self.branch(operation.inputs[index], operation.name)
        return self._repacked(stream, lanes, operation.name)

    def _tensor_stream(self, tensor: str, suffix: str = "") -> str:
        """A stream that carries a whole tensor."""
        known = self.graph.tensors[tensor]
        return self.new_stream(
            stream_name(tensor) + suffix,
            tensor,
            known.format,
            self._written[tensor],
            known.shape[2],
            known.shape[0] * known.shape[1],
        )

    def _readers(self, tensor: str) -> list[str]:
        """Who reads a tensor: names of operations, and `output`."""
        found = [
            f"{op.name}" if op.inputs.count(tensor) == 1 else f"{op.name}.{index}"
            for op in self.graph.operations
            if op.name not in self._fused
            for index in range(op.inputs.count(tensor))
        ]
        count = self.graph.outputs.count(tensor)
        return found + ["output"][:count] + [f"output.{index}" for index in range(1, count)]

    def _repacked(self, stream: str, lanes: int, layer: str) -> str:
        """The same values in beats of other lanes."""
        source = self.streams[stream]
        while source.lanes != lanes:
            divides = source.lanes % lanes == 0 or lanes % source.lanes == 0
            step = lanes if divides else self._between(source, lanes)
            name = self.new_stream(
                f"{source.name}_by{step}",
                source.tensor,
                source.format,
                step,
                source.channels,
                source.pixels,
            )
            self.processes.append(
                Process(
                    f"{name}_repack",
                    "repack",
                    layer,
                    (source.name,),
                    (name,),
                    {
                        "pixels": source.pixels,
                        "channels": source.channels,
                        "in_lanes": source.lanes,
                        "out_lanes": step,
                    },
                    source.pixels * (source.channels // min(source.lanes, step)),
                )
            )
            source = self.streams[name]
        return source.name

    def _between(self, source: Stream, lanes: int) -> int:
        """Lanes on the way between two numbers of which neither divides the other: the narrower
        common divisor, or the common multiple where the divisor would be too slow.
        """
        narrow, wide = gcd(source.lanes, lanes), lcm(source.lanes, lanes)
        cycles = source.pixels * (source.channels // narrow)
        fits = wide * source.format.width <= folding.LARGEST_WORD_BITS
        return wide if cycles > self._interval_cycles and fits else narrow

"""From the integer graph to processes and streams.

A requantization is fused into what it alone reads. Each tensor leaves its producer in beats of the
producer's lanes; where consumers are several it is duplicated, and where their lanes differ it is
repacked.
"""

from __future__ import annotations

from hwflow.errors import DesignError, Fault
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Input
from hwflow.plan import fifo, fifo_search
from hwflow.plan.choices import Choices
from hwflow.plan.instances import builders
from hwflow.plan.instances.base import Instance
from hwflow.plan.lanes import choose_lanes, foldable
from hwflow.plan.stages import identifier, stages_of
from hwflow.plan.streams import StreamGraph
from hwflow.plan.wiring import Wiring

__all__ = ["Choices", "foldable", "identifier", "map_graph"]


def map_graph(graph: IntegerGraph, choices: Choices) -> StreamGraph:
    """The processes and streams of a network, folded as the design says, with FIFO depths.

    Args:
        graph: the integer graph.
        choices: of the design.

    Raises:
        DesignError: for illegal reuse factors and storages, all of them at once.
        ToolError: if the depths are to be simulated and the compiled core is missing.
    """
    mapped = fifo.with_depths(_mapped(graph, choices))
    return fifo_search.sized(mapped) if choices.simulate_depths else mapped


def _mapped(graph: IntegerGraph, choices: Choices) -> StreamGraph:
    stages = stages_of(graph)
    lanes = choose_lanes(graph, stages, choices)
    wiring = Wiring(graph, stages, lanes.written, choices.interval_cycles)
    faults: list[Fault] = []
    inputs = []
    for stage in stages:
        operation = stage.operation
        if isinstance(operation, Input):
            inputs.append(wiring.publish(operation.name, operation.name))
            continue
        build = builders().get(type(operation))
        if build is None:
            faults += [Fault("", operation.name, f"no kernel for {operation.kind!r}")]
            continue
        name = operation.name
        try:
            build(
                Instance(
                    stage,
                    wiring,
                    choices,
                    lanes.read[name],
                    lanes.folds.get(name),
                    lanes.parallel.get(name, 1),
                )
            )
        except DesignError as error:
            faults += error.faults
    if faults:
        raise DesignError(faults)
    outputs = tuple(wiring.branch(name, "output") for name in graph.outputs)
    return StreamGraph(graph.name, tuple(wiring.processes), wiring.streams, tuple(inputs), outputs)

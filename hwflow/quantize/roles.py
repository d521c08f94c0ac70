"""What a layer is in its network, which designs can quantize otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from hwflow.layers import float_kind
from hwflow.layers.base import FloatNode
from hwflow.quantize.float_graph import FloatGraph
from hwflow.quantize.policy import LayerWidths, WidthSpec

Role = Literal["depthwise", "first", "last"]


class SectionOfRoles(Protocol):
    """The design's quantization section, which tells layers apart by name and by role."""

    @property
    def input(self) -> WidthSpec: ...

    def for_layer(self, name: str, roles: Sequence[Any] = ()) -> LayerWidths:
        """The widths that hold for a layer of a name and of roles."""

    def place_of(self, key: str, name: str, roles: Sequence[Any] = ()) -> str:
        """Where in the design that of `key` stands, such as `weights.width`."""


class OfNetwork:
    """The section for one network: widths by the layer's name alone.

    Args:
        section: of the design.
        graph: of the float network.
    """

    def __init__(self, section: SectionOfRoles, graph: FloatGraph) -> None:
        self._section = section
        self._roles = roles_of(graph.nodes)

    @property
    def input(self) -> WidthSpec:
        return self._section.input

    def for_layer(self, name: str) -> LayerWidths:
        return self._section.for_layer(name, self._roles.get(name, ()))

    def place_of(self, key: str, name: str) -> str:
        return self._section.place_of(key, name, self._roles.get(name, ()))


def roles_of(nodes: Sequence[FloatNode]) -> Mapping[str, tuple[Role, ...]]:
    """The roles of the layers, by name, the more particular ones later.

    What reads the last layer with weights, through others or not, is last too: the network's output
    may be an average of it.

    Args:
        nodes: of the network, in order of execution.
    """
    layers = [node for node in nodes if node.weights]
    found: dict[str, tuple[Role, ...]] = {}
    for node in layers:
        kind = float_kind(node.kind)
        roles: list[Role] = []
        if kind is not None and kind.name == "depthwise":
            roles.append("depthwise")
        if node is layers[0]:
            roles.append("first")
        if node is layers[-1]:
            roles.append("last")
        found[node.name] = tuple(roles)
    behind = {layers[-1].name} if layers else set()
    for node in nodes:
        if behind.intersection(node.inputs):
            behind.add(node.name)
            found.setdefault(node.name, ("last",))
    return found

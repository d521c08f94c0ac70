"""What a network family is, and what comes out of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Family:
    """A family of networks: parameters in, float Keras model out.

    Attributes:
        name: as `network.family` in a design has it.
        summary: one line for lists.
        source: the paper, with its link.
        parameters: pydantic model of the family's parameters; frozen, strict, no extra keys.
        build: makes the float model, functional, one input `(N, H, W, C)`, from validated
            parameters. Raises ValueError where they do not fit one another.
        examples: parameters of small instances by a name for each, which between them have every
            kind of block and every variant of the family. The tests build each of them and compare
            it from Keras to the C-simulation: take few channels, few blocks and small inputs.
    """

    name: str
    summary: str
    source: str
    parameters: type[BaseModel]
    build: Callable[[Any], keras.Model]
    examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """A float network with its weights.

    Attributes:
        model: functional Keras model, one input `(N, H, W, C)`; batch norm may be present.
        source: where structure and weights came from, in words.
        parameters_count: number of weights, trainable or not.
    """

    model: keras.Model
    source: str
    parameters_count: int

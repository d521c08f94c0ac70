"""Networks of the families, as tests of several of them need them."""

from __future__ import annotations

from typing import Any

from hwflow.networks import families


def build(family: str, **values: Any) -> Any:
    """The Keras model of a family with some of its parameters."""
    entry = families()[family]
    return entry.build(entry.parameters(**values))


def trained(model: Any) -> int:
    """Parameters without the statistics of batch norm, as papers and PyTorch count them."""
    return sum(int(weight.shape.num_elements()) for weight in model.trainable_weights)

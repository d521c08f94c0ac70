"""Every family: its small examples, proved from Keras to the C-simulation.

The families and their examples come from the registry: a new family is proved without a change
here, and one without examples fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwflow.networks import families
from hwflow.networks.random_weights import randomise
from tests.support.quantized_chain import (
    Widths,
    assert_equals_keras,
    assert_hardware_equals,
    pictures,
    quantized,
)

WIDE = Widths(weights=10, activations=10, biases=18, inputs=10)
LARGEST_ERROR = 0.1
"""Of the greatest logit: with so many bits it is the float network's function that is quantized."""

EXAMPLES = [
    pytest.param(name, example, id=f"{name}-{example}")
    for name, family in families().items()
    for example in family.examples
]


def outputs_of(model: Any, images: Any) -> list[Any]:
    found = model(images, training=False)
    return [tensor.numpy() for tensor in (found if isinstance(found, list) else [found])]


@pytest.mark.parametrize("name", sorted(families()))
def test_a_family_has_examples(name: str) -> None:
    assert families()[name].examples, f"give FAMILY of {name!r} small `examples`"


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_an_example_is_exact_from_keras_to_hardware(
    name: str, example: str, tmp_path: Path, shared: Path
) -> None:
    family = families()[name]
    model = family.build(family.parameters(**family.examples[example]))
    randomise(model, 1)
    images = pictures(model)
    made, graph = quantized(model, WIDE, images)
    for expected, found in zip(*map(outputs_of, (model, made), (images, images)), strict=True):
        assert np.abs(found - expected).max() <= LARGEST_ERROR * np.abs(expected).max()
    compared = assert_equals_keras(made, graph, images)
    streamed = assert_hardware_equals(made, graph, images, tmp_path, cache=shared / "objects")
    assert streamed <= compared
    assert set(graph.outputs) <= streamed

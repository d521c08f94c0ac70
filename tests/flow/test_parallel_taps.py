"""A network that the flow builds at a pixel a cycle: every window with all its taps at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hwflow import flow, keras_models
from tests.flow.conftest import TINY, with_weights


def network() -> Any:
    """A strided convolution, depthwise ones, a rectangular one, and both kinds of pooling."""
    import keras

    layers = keras.layers
    x = image = keras.Input((11, 10, 3), name="image")
    x = layers.Conv2D(6, 3, strides=2, padding="same", name="conv")(x)
    x = layers.ReLU(name="conv_relu")(x)
    x = layers.DepthwiseConv2D(5, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.ReLU(name="depthwise_relu")(x)
    x = layers.Conv2D(8, 1, name="pointwise")(x)
    x = layers.ReLU(name="pointwise_relu")(x)
    x = layers.Conv2D(4, (1, 3), padding="same", groups=2, name="grouped")(x)
    x = layers.ReLU(name="grouped_relu")(x)
    x = layers.MaxPooling2D(3, strides=1, padding="same", name="pool")(x)
    x = layers.AveragePooling2D(3, strides=1, padding="same", name="average")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return with_weights(keras.Model(image, x, name="parallel"), seed=6)


def test_a_network_at_a_pixel_a_cycle_is_exact(tmp_path: Path) -> None:
    keras_models.save_keras(network(), tmp_path / "tiny.h5")
    design = tmp_path / "parallel.yaml"
    text = TINY.replace("name: tiny", "name: parallel")
    design.write_text(text.replace("interval_cycles: 400", "fastest: true"))
    result = flow.build(design, tmp_path / "out")
    assert result.metrics["verification"]["status"] == "exact"
    compared = {layer["name"] for layer in result.metrics["verification"]["layers"]}
    assert {"conv_relu", "depthwise_relu", "grouped_relu", "pool"} <= compared
    plan = json.loads((result.project / "plan.json").read_text())
    kernels = {process["name"]: process["kernel"] for process in plan["processes"]}
    for name in ("conv", "depthwise", "grouped", "pool", "average"):
        assert kernels[f"{name}_window"] == "parallel_window", name
    # a pixel a cycle, and the row below the image, the pipeline and the restart
    assert result.metrics["latency"]["initiation_interval_cycles"] < 11 * 10 + 11 + 30

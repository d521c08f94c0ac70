"""The networks that both sides are given, made by a worker: `python -m benchmarks.network ...`.

SqueezeNet v1.1, MobileNetV1 and V2 in 8 bits with seeded weights, batch norm folded. Stock hls4ml
aborts on pools that overlap, so both sides have SqueezeNet with pools of 2x2 instead of 3x3, which
at these sizes give the same shapes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import Marks

NETWORKS = {
    "squeezenet": "SqueezeNet v1.1, pools of 2x2",
    "mobilenet_v1": "MobileNetV1",
    "mobilenet_v2": "MobileNetV2",
}
"""Families, and what is built of them."""

IMAGES = 4
SEED = 0
DESIGN = """name: {name}
network: {{file: network.h5}}
quantization: {{weights: {{scale: tensor}}}}  # stock hls4ml knows no others
calibration: {{source: noise, seed: 1, count: 8}}
hardware: {{backend: vitis, part: {part}, clock_period_ns: {clock_period_ns}}}
verification: {{images: images.npy, count: {images}}}
"""


def float_model(family: str, size: int, classes: int, alpha: float = 1.0) -> Any:
    """The float network, input `(N, size, size, 3)`, with seeded weights.

    Args:
        family: one of `NETWORKS`.
        size: height and width of the input in pixels.
        classes: outputs.
        alpha: width multiplier of a MobileNet.

    Raises:
        ValueError: if SqueezeNet's pools of 2x2 gave other shapes than its own at this size.
    """
    from hwflow.networks import mobilenet_v1, mobilenet_v2, squeezenet
    from hwflow.networks.random_weights import randomise

    wanted = {"input_shape": (size, size, 3), "classes": classes}
    if family == "squeezenet":
        parameters = squeezenet.SqueezeNetParameters.model_validate(wanted)
        model = _without_overlap(squeezenet.build(parameters), size)
    elif family == "mobilenet_v1":
        wanted["alpha"] = alpha
        model = mobilenet_v1.build(mobilenet_v1.MobileNetV1Parameters.model_validate(wanted))
    else:
        wanted["alpha"] = alpha
        model = mobilenet_v2.build(mobilenet_v2.MobileNetV2Parameters.model_validate(wanted))
    randomise(model, SEED)
    return model


def _without_overlap(original: Any, size: int) -> Any:
    """The model with pools as wide as their strides."""
    from tensorflow import keras

    def clone(layer: Any) -> Any:
        if isinstance(layer, keras.layers.MaxPooling2D):
            return keras.layers.MaxPooling2D(layer.strides, layer.strides, name=layer.name)
        return type(layer).from_config(layer.get_config())

    model = keras.models.clone_model(original, clone_function=clone)
    shapes = [[tuple(layer.output_shape) for layer in m.layers[1:]] for m in (original, model)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"pools of 2x2 must give the same shapes as 3x3, but not at size {size}")
    return model


def main(pipe: int, folder: Path, family: str, size: int, classes: int, alpha: float) -> None:
    """Writes `network.h5`, `images.npy`, `design.yaml` and `quantized.h5` into the folder."""
    marks = Marks(pipe)
    import numpy as np

    from benchmarks.stock import CLOCK_PERIOD_NS, PART
    from hwflow import flow, keras_models
    from hwflow.pictures import noise
    from hwflow.sections import Preprocessing

    with marks.stage("network"):
        model = float_model(family, size, classes, alpha)
        keras_models.save_keras(model, folder / "network.h5")
        np.save(
            folder / "images.npy",
            noise((size, size, 3), IMAGES, 2, Preprocessing.model_validate({})),
        )
        design = folder / "design.yaml"
        design.write_text(
            DESIGN.format(
                name=f"{family}_benchmark",
                part=PART,
                clock_period_ns=CLOCK_PERIOD_NS,
                images=IMAGES,
            )
        )
    with marks.stage("quantize"):
        flow.build(design, folder / "quantized", stop="quantize")
    (made,) = (folder / "quantized").rglob("quantized.h5")
    made.replace(folder / "quantized.h5")
    marks.close()


if __name__ == "__main__":
    main(
        int(sys.argv[1]),
        Path(sys.argv[2]),
        sys.argv[3],
        *map(int, sys.argv[4:6]),
        float(sys.argv[6]),
    )

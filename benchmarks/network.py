"""The network that both sides are given, made by a worker: `python -m benchmarks.network ...`.

SqueezeNet v1.1 in 8 bits with seeded weights. Stock hls4ml aborts on pools that overlap, so both
sides have pools of 2x2 instead of 3x3, which at these sizes give the same shapes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import Marks

IMAGES = 4
SEED = 0
DESIGN = """name: {name}
network: {{file: network.h5}}
quantization: {{weights: {{scale: tensor}}}}  # stock hls4ml knows no others
calibration: {{source: noise, seed: 1, count: 8}}
hardware: {{backend: vitis, part: {part}, clock_period_ns: {clock_period_ns}}}
verification: {{images: images.npy, count: {images}}}
"""


def float_model(size: int, classes: int) -> Any:
    """The float network with pools of 2x2, input `(N, size, size, 3)`."""
    from tensorflow import keras

    from hwflow.networks.random_weights import randomise
    from hwflow.networks.squeezenet import SqueezeNetParameters, build

    parameters = SqueezeNetParameters.model_validate(
        {"input_shape": (size, size, 3), "classes": classes}
    )

    def without_overlap(layer: Any) -> Any:
        if isinstance(layer, keras.layers.MaxPooling2D):
            return keras.layers.MaxPooling2D(layer.strides, layer.strides, name=layer.name)
        return type(layer).from_config(layer.get_config())

    original = build(parameters)
    model = keras.models.clone_model(original, clone_function=without_overlap)
    shapes = [[tuple(layer.output_shape) for layer in m.layers[1:]] for m in (original, model)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"pools of 2x2 must give the same shapes as 3x3, but not at size {size}")
    randomise(model, SEED)
    return model


def main(pipe: int, folder: Path, size: int, classes: int) -> None:
    """Writes `network.h5`, `images.npy`, `design.yaml` and `quantized.h5` into the folder."""
    marks = Marks(pipe)
    import numpy as np

    from benchmarks.stock import CLOCK_PERIOD_NS, PART
    from hwflow import flow, keras_models
    from hwflow.pictures import noise
    from hwflow.sections import Preprocessing

    with marks.stage("network"):
        keras_models.save_keras(float_model(size, classes), folder / "network.h5")
        np.save(
            folder / "images.npy",
            noise((size, size, 3), IMAGES, 2, Preprocessing.model_validate({})),
        )
        design = folder / "design.yaml"
        design.write_text(
            DESIGN.format(
                name="squeezenet_benchmark",
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
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

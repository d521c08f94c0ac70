"""Stock hls4ml on a quantized model: convert, compile and predict, as its documentation has it.

Run as a worker: `python -m benchmarks.stock PIPE MODEL IMAGES FOLDER`. The backend is Vitis, the
layers are joined by streams, the strategy is Resource. Each layer is given a reuse factor that
hls4ml's kernels take, because hls4ml corrects those of its 1x1 convolutions wrongly; depthwise
convolutions, which have no such kernel, keep its defaults.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import Marks

PART = "xczu9eg-ffvb1156-2-e"
CLOCK_PERIOD_NS = 5


def reuse_factor(n_in: int, n_out: int) -> int:
    """The largest reuse factor, at most `n_in`, that hls4ml's Resource kernels take.

    Args:
        n_in: products in one output of the layer.
        n_out: outputs of the layer at one pixel.

    Source: hls4ml 1.3, `FPGABackend._validate_reuse_factor`.
    """
    return max(
        factor
        for factor in range(1, n_in + 1)
        if (n_in * n_out) % factor == 0
        and (-(-n_in * n_out // factor)) % n_out == 0
        and (factor < n_in or factor % n_in == 0)
    )


def configuration(model: Any) -> dict[str, Any]:
    """hls4ml's configuration of a QKeras model."""
    from hls4ml.utils import config_from_keras_model

    config: dict[str, Any] = config_from_keras_model(model, granularity="name", backend="Vitis")
    config["Model"]["Strategy"] = "Resource"
    for layer in model.layers:
        if not hasattr(layer, "kernel"):
            continue
        *window, n_out = (int(size) for size in layer.kernel.shape)
        n_in = 1
        for size in window:
            n_in *= size
        config["LayerName"][layer.name]["Strategy"] = "Resource"
        config["LayerName"][layer.name]["ReuseFactor"] = reuse_factor(n_in, n_out)
    return config


def predict_in_processes(converted: Any, images: Any, processes: int) -> None:
    """Predicts with the compiled library, the images spread over processes.

    Raises:
        RuntimeError: if one of them fails.
    """
    children = []
    for index in range(processes):
        share = images[len(images) * index // processes : len(images) * (index + 1) // processes]
        child = os.fork()
        if child == 0:
            status = 1
            try:
                converted.predict(share)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    if failed:
        raise RuntimeError(f"{len(failed)} of {processes} processes that predict failed")


def main(pipe: int, model_path: Path, images_path: Path, folder: Path) -> None:
    marks = Marks(pipe)
    with marks.stage("import"):
        import numpy as np
        from hls4ml.converters import convert_from_keras_model
        from qkeras.utils import load_qmodel
    with marks.stage("load"):
        model = load_qmodel(str(model_path), compile=False)
        images = np.load(images_path)
    with marks.stage("convert"):
        converted = convert_from_keras_model(
            model,
            hls_config=configuration(model),
            output_dir=str(folder),
            backend="Vitis",
            io_type="io_stream",
            part=PART,
            clock_period=CLOCK_PERIOD_NS,
        )
    with marks.stage("compile"):
        converted.compile()
    with marks.stage("predict"), marks.stage("one process"):
        found = converted.predict(images)
    with marks.stage("two processes"):
        predict_in_processes(converted, images, 2)
    expected = model.predict(images, verbose=0).reshape(found.shape)
    marks.fact("outputs", int(expected.size))
    marks.fact("outputs that differ from Keras", int(np.count_nonzero(found != expected)))
    marks.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), *map(Path, sys.argv[2:5]))

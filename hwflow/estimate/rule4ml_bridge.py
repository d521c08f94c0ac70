"""Predictions of rule4ml for dense layers, made by a Python that has it installed.

rule4ml needs another TensorFlow than this package, so this file imports nothing of the package and
is run by the other interpreter: a JSON list of layers on standard input, one of predictions on
standard output. Used for comparison only.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

FIGURES = {
    "LUT": "lut",
    "FF": "ff",
    "DSP": "dsp",
    "BRAM": "bram_18k",
    "CYCLES": "latency_cycles",
    "INTERVAL": "initiation_interval_cycles",
}
BOARDS = {"xc7z020": "pynq-z2", "xczu9eg": "zcu102", "xcu200": "alveo-u200", "xcu250": "alveo-u250"}
VERSIONS = frozenset(f"{year}.{half}" for year in range(2019, 2025) for half in (1, 2))
HLS4ML_VERSION = "0.8.1"
ELSEWHERE = {"7": "pynq-z2", "other": "alveo-u250"}


def board_of(part: str) -> str:
    """The nearest board that rule4ml knows."""
    for prefix, board in BOARDS.items():
        if part.startswith(prefix):
            return board
    return ELSEWHERE["7" if part.startswith("xc7") else "other"]


def predictions(layers: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Predictions for layers.

    Args:
        layers: each with `n_in n_out width integer_bits strategy reuse_factor part version
            activation`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if hasattr(os, "RTLD_DEEPBIND"):  # TensorFlow and PyTorch each bring an LLVM of their own
        sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
    from rule4ml.models.wrappers import (  # type: ignore[import-not-found,unused-ignore]  # isort: skip
        MultiModelWrapper,
    )
    import keras  # type: ignore[import-untyped,unused-ignore]

    estimator = MultiModelWrapper()
    estimator.load_default_models()
    found: dict[str, dict[str, float]] = {}
    out = []
    for layer in layers:
        key = json.dumps(layer, sort_keys=True)
        if key not in found:
            inputs = keras.layers.Input(shape=(layer["n_in"],))
            outputs = keras.layers.Dense(layer["n_out"], name="dense")(inputs)
            if layer["activation"]:
                outputs = keras.layers.Activation("relu", name="relu")(outputs)
            model = keras.Model(inputs=inputs, outputs=outputs, name="layer")
            model.build((None, layer["n_in"]))
            table = estimator.predict(
                model,
                hls_configs={
                    "board": board_of(layer["part"]),
                    "model": {
                        "strategy": layer["strategy"],
                        "precision": f"ap_fixed<{layer['width']}, {layer['integer_bits']}>",
                        "reuse_factor": layer["reuse_factor"],
                    },
                },
                hls4ml_versions=HLS4ML_VERSION,
                vivado_versions=layer["version"] if layer["version"] in VERSIONS else "2020.1",
            )
            means = table[[name for name in FIGURES if name in table]].astype(float).mean()
            found[key] = {FIGURES[name]: float(value) for name, value in means.items()}
        out.append(found[key])
    return out


def main() -> None:
    """Reads layers, prints predictions."""
    layers = json.load(sys.stdin)
    stdout = sys.stdout
    sys.stdout = sys.stderr  # what the libraries print must not mix with the answer
    answer = predictions(layers)
    json.dump(answer, stdout)


if __name__ == "__main__":
    main()

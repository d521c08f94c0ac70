"""The engine against TensorFlow Lite (XNNPACK) on int8 networks at 224, interleaved in one run.

Both sides get the same images one at a time, in turn, so that whatever else the machine does falls
on both. A figure is that of the best image of each side, and of the median one beside it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.engine_networks import mobilenet, mobilenet_v2, squeezenet
from benchmarks.measure import Options
from hwflow.integer_graph import IntegerGraph
from hwflow.simulate.fast import FastEngine, peak_macs_per_second

ROUNDS = 12
IMAGES = 8  # in a round


def run(options: Options) -> dict[str, Any]:
    """Images a second of both, and their ratio.

    Returns:
        `engine_vs_tflite`: the least ratio of all networks and thread counts (engine / TensorFlow
        Lite); `engine_fraction_of_peak`: the greatest of one thread; `engine_details`: images a
        second, GMAC/s and the fraction of the processor's peak by network and threads.
    """
    details: dict[str, Any] = {}
    size = 64 if options.quick else 224
    rounds = 1 if options.quick else ROUNDS
    peak = peak_macs_per_second()
    for build, keras in NETWORKS:
        graph = build(size)
        model = _tflite_model(keras(size), size)
        for threads in (1, 2):
            details[f"{graph.name}_{threads}"] = _compare(graph, model, threads, rounds, peak)
    return {
        "engine_vs_tflite": min(entry["ratio"] for entry in details.values()),
        "engine_fraction_of_peak": max(
            entry["fraction_of_peak"] for name, entry in details.items() if name.endswith("_1")
        ),
        "engine_peak_gmacs_per_second": round(peak / 1e9, 1),
        "engine_path": FastEngine.paths()[0],
        "engine_details": details,
    }


def _compare(
    graph: IntegerGraph, model: bytes, threads: int, rounds: int, peak: float
) -> dict[str, Any]:
    shape = (IMAGES, *graph.tensors["x"].shape)
    images = np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)
    engine = FastEngine(graph, threads)
    peer = _tflite_runner(model, threads)
    sides: dict[str, Callable[[np.ndarray], object]] = {
        "engine": lambda image: engine.predict({"x": image}),
        "tflite": peer,
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    busy: dict[str, list[float]] = {name: [] for name in sides}
    for round_index in range(rounds + 1):
        for name, work in sides.items():
            for image in images:
                start, busy_start = time.perf_counter(), time.process_time()
                work(image[None])
                elapsed, worked = time.perf_counter() - start, time.process_time() - busy_start
                if round_index > 0:  # the first warms up
                    seconds[name].append(elapsed)
                    busy[name].append(worked)
    best = {name: 1 / min(times) for name, times in seconds.items()}
    rate = best["engine"] * graph.macs
    return {
        "engine_images_per_second": round(best["engine"], 1),
        "tflite_images_per_second": round(best["tflite"], 1),
        "ratio": round(best["engine"] / best["tflite"], 2),
        "median_ratio": round(
            float(np.median(seconds["tflite"]) / np.median(seconds["engine"])), 2
        ),
        # Processor time, which other programs on the machine hardly change.
        "processor_time_ratio": round(
            float(np.median(busy["tflite"]) / np.median(busy["engine"])), 2
        ),
        "engine_gmacs_per_second": round(rate / 1e9, 1),
        "fraction_of_peak": round(rate / (peak * threads), 3),
    }


def _squeezenet_keras(size: int) -> Any:
    import tensorflow as tf

    layers = tf.keras.layers

    def conv(x: Any, filters: int, kernel: int, stride: int = 1, padding: str = "valid") -> Any:
        return layers.Conv2D(filters, kernel, stride, padding, activation="relu")(x)

    start = tf.keras.Input((size, size, 3))
    x = layers.MaxPool2D(3, 2)(conv(start, 64, 3, 2))
    for index, squeeze in enumerate([16, 16, 32, 32, 48, 48, 64, 64], start=2):
        s = conv(x, squeeze, 1)
        x = layers.Concatenate()([conv(s, 4 * squeeze, 1), conv(s, 4 * squeeze, 3, padding="same")])
        if index in (3, 5):
            x = layers.MaxPool2D(3, 2)(x)
    return tf.keras.Model(start, layers.GlobalAveragePooling2D()(conv(x, 1000, 1)))


def _mobilenet_keras(size: int) -> Any:
    import tensorflow as tf

    return tf.keras.applications.MobileNet(
        (size, size, 3), weights=None, classifier_activation=None
    )


def _mobilenet_v2_keras(size: int) -> Any:
    import tensorflow as tf

    return tf.keras.applications.MobileNetV2(
        (size, size, 3), weights=None, classifier_activation=None
    )


NETWORKS: list[tuple[Callable[[int], IntegerGraph], Callable[[int], Any]]] = [
    (squeezenet, _squeezenet_keras),
    (mobilenet, _mobilenet_keras),
    (mobilenet_v2, _mobilenet_v2_keras),
]


def _tflite_model(model: Any, size: int) -> bytes:
    """The Keras model in int8 throughout, its ranges from random images."""
    import tensorflow as tf

    random = np.random.default_rng(0)

    def samples() -> Any:
        for _ in range(4):
            yield [random.random((1, size, size, 3), np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    converted: bytes = converter.convert()
    return converted


def _tflite_runner(model: bytes, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    result = interpreter.get_output_details()[0]["index"]

    def work(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given, image)
        interpreter.invoke()
        output: np.ndarray = interpreter.get_tensor(result)
        return output

    return work


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print(json.dumps(run(Options()), indent=1))

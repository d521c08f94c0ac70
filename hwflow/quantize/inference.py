"""Runs Keras models."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

UNOPTIMISED = "disable_meta_optimizer"
"""TensorFlow's option that leaves graphs as they are written."""


def predict(model: Any, images: npt.NDArray[np.float32]) -> Any:
    """What `model.predict_on_batch(images)` gives, its operations run as they are written.

    TensorFlow's graph optimiser reorders arithmetic where a graph is large enough: of ResNet-50 it
    rewrote QKeras's `x + (xq - x)` so that half the values left their grid by one unit in the last
    place. It also joins a convolution and its bias to one operation, which on CPUs refuses groups
    ("Fused conv implementation does not support grouped convolutions"). So it is off here.
    """
    import tensorflow as tf

    given = tf.config.optimizer.get_experimental_options().get(UNOPTIMISED, False)
    tf.config.optimizer.set_experimental_options({UNOPTIMISED: True})
    try:
        return model.predict_on_batch(images)
    finally:
        tf.config.optimizer.set_experimental_options({UNOPTIMISED: given})

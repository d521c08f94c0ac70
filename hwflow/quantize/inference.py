"""Runs Keras models."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def predict(model: Any, images: npt.NDArray[np.float32]) -> Any:
    """What `model.predict_on_batch(images)` gives, of models with grouped convolutions too.

    TensorFlow's graph optimiser joins a convolution and its bias to one operation, which on CPUs
    refuses groups ("Fused conv implementation does not support grouped convolutions"), so such
    models run with that optimisation off.
    """
    import tensorflow as tf

    def groups(part: Any) -> int:
        count = getattr(part, "groups", 1)
        return count if isinstance(count, int) else 1

    if all(groups(part) == 1 for part in model.submodules):
        return model.predict_on_batch(images)
    given = tf.config.optimizer.get_experimental_options().get("remapping", True)
    tf.config.optimizer.set_experimental_options({"remapping": False})
    try:
        return model.predict_on_batch(images)
    finally:
        tf.config.optimizer.set_experimental_options({"remapping": given})

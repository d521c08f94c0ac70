"""Projects that are built once for all tests of the flow."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwflow import flow, keras_models
from hwflow.simulate import csim

ROOT = Path(__file__).parents[2]

TINY = """
name: tiny
network: {file: tiny.h5}
preprocessing: {mean: 0, scale: 0.00784313725490196}
quantization:
  weights: {width: 5}
  activations: {width: 6}
  layers: {pointwise: {weights: {width: 4}}}
calibration: {source: noise, seed: 1, count: 4}
hardware:
  part: zcu102
  target: {interval_cycles: 400}
verification: {source: noise, seed: 2, count: 3}
"""


@dataclass(frozen=True)
class Built:
    """A design and what was built of it.

    Attributes:
        design: the design file.
        root: folder of projects.
        name: of the design.
        metrics: what the build returned.
    """

    design: Path
    root: Path
    name: str
    metrics: dict[str, Any]

    @property
    def project(self) -> Path:
        return self.root / self.name

    @property
    def workspace(self) -> Path:
        return self.root / f".{self.name}"

    def copied(self, folder: Path, *, workspace: bool = True) -> Built:
        """A copy that may be spoiled: the design, the project and the folders of its steps."""
        folder.mkdir(parents=True, exist_ok=True)
        for path in self.design.parent.iterdir():
            if path.is_file():
                shutil.copy2(path, folder)
        shutil.copytree(self.project, folder / "projects" / self.name)
        if workspace:
            shutil.copytree(self.workspace, folder / "projects" / f".{self.name}")
        return Built(folder / self.design.name, folder / "projects", self.name, self.metrics)


def tiny_network() -> Any:
    """A convolution with padding, overlapping pooling, a 1x1 convolution, a mean over six."""
    import keras

    layers = keras.layers
    x = image = keras.Input((6, 7, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", name="conv")(x)
    x = layers.ReLU(name="conv_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool")(x)
    x = layers.Conv2D(4, 1, name="pointwise")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return with_weights(keras.Model(image, x, name="tiny"), seed=5)


def with_weights(model: Any, seed: int) -> Any:
    """The model with weights drawn so that its sums stay near one."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.4, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="session", autouse=True)
def quick_compiler() -> Iterator[None]:
    """Compiles without optimisation: so little is simulated that compiling takes longer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csim, "FLAGS", tuple(f.replace("-O3", "-O0") for f in csim.FLAGS))
        yield


def built(design: Path, root: Path, name: str) -> Built:
    """Builds a design unless another worker did; whoever comes later reuses every step."""
    root.mkdir(exist_ok=True)
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = flow.build(design, root)
    return Built(design, root, name, result.metrics)


def built_tiny(folder: Path, text: str = TINY) -> Built:
    """The network of four layers, built by a design in a folder that workers share."""
    folder.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        design = folder / "tiny.yaml"
        if not design.exists():
            keras_models.save_keras(tiny_network(), folder / "tiny.h5")
            design.write_text(text)
    return built(design, folder / "projects", "tiny")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def small(shared: Path) -> Built:
    """The shipped small SqueezeNet, built and verified."""
    return built(ROOT / "designs" / "squeezenet_small.yaml", shared / "small", "squeezenet_small")


@pytest.fixture(scope="session")
def tiny(shared: Path) -> Built:
    """A network of four layers from a file, built and verified."""
    return built_tiny(shared / "tiny")

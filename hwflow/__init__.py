"""hwflow: from a quantized Keras CNN to an FPGA project known to be right and known to fit.

result = hwflow.build("designs/squeezenet_int8.yaml")
project = hwflow.open(result.project)
project.predict(images, witness="csim").integers
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from hwflow.flow import BuildResult
    from hwflow.project import Project

__version__ = "0.1.0"

# TensorFlow reads these when it is loaded: no chatter, and convolutions as sums of products in
# float32 (oneDNN may choose other algorithms, which are not exact on integers).
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def build(design: Path | str, output: Path | str = "hls_projects") -> BuildResult:
    """Builds and verifies a design; see `hwflow.flow.build` for more control.

    Args:
        design: the design file.
        output: folder of projects.

    Raises:
        HwflowError: a DesignError, MismatchError, DoesNotFitError or ToolError, as the build ends.
    """
    from pathlib import Path

    from hwflow import flow

    return flow.build(Path(design), Path(output))


def open(project: Path | str) -> Project:  # noqa: A001 - the name that users expect
    """Opens a published project.

    Raises:
        DesignError: if the folder is no whole project.
    """
    from hwflow.project import Project

    return Project(project)

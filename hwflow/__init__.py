"""hwflow: from a quantized Keras CNN to an FPGA project known to be right and known to fit."""

from __future__ import annotations

__version__ = "0.1.0"

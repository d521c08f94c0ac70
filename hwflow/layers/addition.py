"""Residual addition of tensors of any formats."""

from __future__ import annotations

from hwflow.layers.merge import merge_kind
from hwflow.opset import Add

KIND = merge_kind("addition", "Add", Add, computes=True)

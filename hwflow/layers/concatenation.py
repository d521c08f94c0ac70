"""Concatenation of tensors of any formats along the channels."""

from __future__ import annotations

from hwflow.layers.merge import merge_kind
from hwflow.opset import Concatenate

KIND = merge_kind("concatenation", "Concatenate", Concatenate, computes=False)

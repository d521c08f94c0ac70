"""Weights and biases in memory: order, packing, and the text of arrays."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint
from hwflow.hls import packing
from hwflow.opset import Conv2D
from hwflow.plan import blocks
from tests.support.kernel_harness import STRICT, compile_library, precompiled_prelude


def layer(shape: tuple[int, int, int, int], groups: int = 1) -> Conv2D:
    """Weights that say where they come from."""
    weights = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    return Conv2D(
        "conv", ("x",), weights, np.zeros(shape[3], np.int64), FixedPoint(16, 16), groups=groups
    )


@pytest.mark.parametrize(("groups", "pe", "simd"), [(1, 2, 3), (1, 8, 1), (2, 4, 3), (2, 1, 2)])
def test_weight_rows_follow_the_schedule(groups: int, pe: int, simd: int) -> None:
    operation = layer((2, 3, 6, 8), groups)
    expected = [
        [
            operation.weights[y, x, cf * simd + s, group * (8 // groups) + nf * pe + p]
            for p in range(pe)
            for s in range(simd)
        ]
        for group in range(groups)
        for nf in range(8 // groups // pe)
        for cf in range(6 // simd)
        for y in range(2)
        for x in range(3)
    ]
    assert packing.weight_rows(operation, pe, simd).tolist() == expected


def test_depthwise_weight_rows_follow_the_schedule() -> None:
    operation = layer((3, 2, 1, 12), groups=6)
    expected = [
        [operation.weights[y, x, 0, fold * 3 + p] for p in range(3)]
        for fold in range(4)
        for y in range(3)
        for x in range(2)
    ]
    assert packing.depthwise_weight_rows(operation, 3).tolist() == expected


def drawn_rows(rng: np.random.Generator, width: int, shape: tuple[int, int]) -> Any:
    """Weights of a width, the extremes first; of one bit, signs."""
    low, high = -(1 << (width - 1)), (1 << (width - 1)) - 1
    rows = rng.integers(low, high, shape, np.int64, endpoint=True)
    rows[0], rows[1] = low, high
    return 2 * rows + 1 if width == 1 else rows


@pytest.mark.parametrize("width", range(1, 33))
@pytest.mark.parametrize("lanes", [1, 3, 16])
def test_packed_rows_hold_every_bit(width: int, lanes: int) -> None:
    rng = np.random.default_rng(width)
    rows = drawn_rows(rng, width, (5, lanes))
    packed = packing.pack_rows(rows, width)
    if width in (8, 16, 32):
        assert packed.dtype == np.dtype(f"int{width}")
        np.testing.assert_array_equal(packed, rows)
        return
    element = packed.dtype.itemsize * 8
    assert packed.dtype.kind == "u"
    for row, words in zip(rows, packed.tolist(), strict=True):
        bits = sum(word << (index * element) for index, word in enumerate(words))
        for lane, weight in enumerate(row.tolist()):
            expected = weight < 0 if width == 1 else weight % (1 << width)
            assert (bits >> (lane * width)) % (1 << width) == expected
        assert bits >> (lanes * width) == 0


@pytest.mark.parametrize("lanes", [1, 3, 7, 13, 16])
def test_kernels_read_every_lane(lanes: int, tmp_path: Path) -> None:
    """Every width, whatever words its lanes lie across."""
    rng = np.random.default_rng(lanes)
    source = ""
    all_rows = {}
    for width in range(1, 33):
        rows = drawn_rows(rng, width, (8, lanes))
        all_rows[width] = rows
        source += (
            f"namespace width{width} {{\n"
            f"struct config {{ static const int weight_width = {width}; }};\n"
            f"{packing.array_text('weights', packing.pack_rows(rows, width))}}}\n"
            f'extern "C" int read{width}(int row, int lane) {{ return '
            f"hwflow::weight_lane<width{width}::config>(width{width}::weights[row], lane); }}\n"
        )
    library = compile_library(source, tmp_path, STRICT, precompiled_prelude(STRICT))
    for width, rows in all_rows.items():
        read = library[f"read{width}"]
        assert [[read(row, lane) for lane in range(lanes)] for row in range(8)] == rows.tolist()


@pytest.mark.parametrize(
    ("width", "lanes", "bits"),
    [(4, 1, 8), (4, 4, 16), (4, 16, 64), (6, 16, 32), (3, 3, 16), (5, 13, 8), (8, 16, 8)],
)
def test_words_waste_the_least(width: int, lanes: int, bits: int) -> None:
    assert blocks.word_bits(width, lanes) == bits


def test_arrays_are_what_the_compiler_reads(tmp_path: Path) -> None:
    arrays = {
        "a": np.array([[-128, 127], [0, 1]], np.int8),
        "b": np.array([[-(2**31), 2**31 - 1, 5]], np.int32),
        "c": np.array([[2**64 - 1], [1]], np.uint64),
        "d": np.array([[-(2**62), 2**62]], np.int64),
        "e": np.array([[2**32 - 1]], np.uint32),
    }
    source = "".join(packing.array_text(name, array) for name, array in arrays.items())
    source += "".join(
        f'extern "C" const void* get_{name}() {{ return {name}; }}\n' for name in arrays
    )
    library = compile_library(source, tmp_path, ("-O0",))
    for name, array in arrays.items():
        function = library[f"get_{name}"]
        function.restype = ctypes.c_void_p
        size = array.nbytes
        read = np.frombuffer(ctypes.string_at(function(), size), array.dtype)
        np.testing.assert_array_equal(read.reshape(array.shape), array)


def test_text_has_a_row_a_line() -> None:
    text = packing.array_text("weights", np.array([[1, -2], [3, 4]], np.int8))
    assert text == "static const signed char weights[2][2] = {\n{1,-2},\n{3,4}};\n"


def test_biases_are_as_wide_as_needed() -> None:
    assert packing.bias_rows(np.arange(6), 2).dtype == np.int32
    assert packing.bias_rows(np.arange(6) << 31, 3).dtype == np.int64
    assert packing.bias_rows(np.arange(6), 3).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_unsigned_weights_take_a_bit_more() -> None:
    zeros = np.zeros(2, np.int64)
    for weights, declared, width in (
        ([1, 5], FixedPoint(7, 3, False), 8),
        ([1, 5], FixedPoint(8, 3), 8),
        ([1, 0], FixedPoint(1, 1, False), 2),
        ([-1, 0], FixedPoint(1, 1), 2),
        ([-1, 1], FixedPoint(2, 2), 1),
        ([-1, -1], FixedPoint(8, 8), 1),
    ):
        made = np.array(weights).reshape(1, 1, 1, 2)
        assert Conv2D("c", ("s",), made, zeros, declared).weight_width == width


def test_refusals() -> None:
    operation = layer((1, 1, 6, 8), groups=2)
    with pytest.raises(DesignError, match="conv: pe must divide the 4 output channels of a group"):
        packing.weight_rows(operation, 8, 1)
    with pytest.raises(DesignError, match=r"conv: simd must divide the 6 input .* a group, not 4"):
        packing.weight_rows(operation, 1, 4)
    with pytest.raises(DesignError, match="one input channel in each group, not 6: use matrix_vec"):
        packing.depthwise_weight_rows(operation, 1)
    with pytest.raises(DesignError, match="conv: pe must divide the 6 input channels, not 4"):
        packing.depthwise_weight_rows(layer((1, 1, 1, 12), groups=6), 4)
    with pytest.raises(DesignError, match="weights from -9 to 7 do not fit in 4 bits: -8 to 7"):
        packing.pack_rows(np.array([[-9, 7]]), 4)
    with pytest.raises(DesignError, match="from 1 to 32 bits, not 33"):
        packing.pack_rows(np.array([[0]]), 33)

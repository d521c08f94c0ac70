"""Convolutions: a sliding window where there is one, then the products."""

from __future__ import annotations

from hwflow.opset import Conv2D
from hwflow.plan.instances.base import Instance, builds
from hwflow.plan.instances.windows import windows_of
from hwflow.plan.lanes import foldable, multiplier_of, weight_memory
from hwflow.plan.streams import Memory


@builds(Conv2D)
def convolution(it: Instance) -> str:
    """`matrix_vector`, or `depthwise` where every filter reads one channel."""
    operation, fold = it.operation, it.fold
    assert isinstance(operation, Conv2D)
    assert fold is not None
    kernel_height, kernel_width, inputs, filters = operation.weights.shape
    taps = kernel_height * kernel_width
    steps = taps // fold.taps
    if operation.has_window:
        kernel = (kernel_height, kernel_width)
        stream = windows_of(it, kernel, operation.strides, operation.padding, 0, operation.dilation)
    else:
        stream = it.input()
    out = it.made.shape
    pixels = out[0] * out[1]
    groups = operation.groups
    if inputs == 1 and groups > 1:
        multiplier = filters // groups
        words = (groups // fold.pe) * multiplier * steps
        kernel_name = "depthwise"
        settings = {
            "taps": taps,
            "parallel": fold.taps,
            "channels": groups,
            "multiplier": multiplier,
            "pe": fold.pe,
        }
    else:
        words = groups * (filters // groups // fold.pe) * (inputs // fold.simd) * steps
        kernel_name = "matrix_vector"
        settings = {
            "taps": steps,  # those side by side are inputs of it
            "in_channels": inputs * groups * fold.taps,
            "out_channels": filters,
            "groups": groups,
            "simd": fold.terms,
            "pe": fold.pe,
        }
    word_bits = fold.multipliers * operation.weight_width
    rom = weight_memory(it.choices, operation, words, word_bits)
    bias_width = it.tensor(operation.name).format.width + operation.shift_bits
    biases = Memory("biases", filters // fold.pe, fold.pe * bias_width, "lutram")
    return it.process(
        kernel_name,
        (stream,),
        {
            "pixels": pixels,
            **settings,
            "weight_width": operation.weight_width,
            "product_shift": operation.product_shift,
            "shift_bits": operation.shift_bits,
        },
        pixels * words,
        memories=(rom, biases),
        weights=operation.weights,
        biases=operation.biases,
        channel_shifts=operation.channel_shifts,
        weight_format=operation.weight_format,
        multipliers=fold.multipliers,
        multiplier=multiplier_of(it.choices, operation, foldable(it.wiring.graph, operation)),
        **it.sums(),
    )

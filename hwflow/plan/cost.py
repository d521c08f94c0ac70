"""Estimates of LUT, FF, DSP, BRAM and UltraRAM: of processes, of streams, and of whole plans.

The figures are those that a C synthesis report gives; implementation usually needs fewer LUTs. The
rules of multipliers, memories and FIFOs are read from published reports of hls4ml designs; the rest
is counted from the kernels' code (docs/planner.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hwflow.plan import blocks
from hwflow.plan.device import Device
from hwflow.plan.fifo import STRAIGHT_DEPTH
from hwflow.plan.folding import Fold, Foldable
from hwflow.plan.loading import PORT_BITS, STREAM_DEPTH
from hwflow.plan.parallel_window import ParallelWindow, window_memories
from hwflow.plan.process_schedule import parallel_window_of
from hwflow.plan.streams import Memory, Process, Stream, StreamGraph

KINDS = ("lut", "ff", "dsp", "bram_18k", "uram")


@dataclass(frozen=True)
class Resources:
    """What something takes of a device."""

    lut: int = 0
    ff: int = 0
    dsp: int = 0
    bram_18k: int = 0
    uram: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.lut + other.lut,
            self.ff + other.ff,
            self.dsp + other.dsp,
            self.bram_18k + other.bram_18k,
            self.uram + other.uram,
        )

    def beyond(self, other: Resources) -> Resources:
        """What this takes more than another of each kind; nothing of what it takes less."""
        return Resources(
            **{kind: max(0, getattr(self, kind) - getattr(other, kind)) for kind in KINDS}
        )

    def at_least(self, other: Resources) -> Resources:
        """The larger of two of each kind."""
        return self + other.beyond(self)

    def fits(self, device: Device, share: float = 1.0) -> bool:
        """Whether a share of each kind that a device has is enough."""
        return all(getattr(self, kind) <= share * getattr(device, kind) for kind in KINDS)

    def shares(self, device: Device) -> dict[str, float]:
        """The share of each kind that a device has."""
        return {
            kind: getattr(self, kind) / getattr(device, kind)
            for kind in KINDS
            if getattr(device, kind)
        }

    def to_json(self) -> dict[str, int]:
        """By kind."""
        return dataclasses.asdict(self)


NOTHING = Resources()

_PRODUCT_LUTS = {6: 23, 7: 33, 8: 40, 9: 50, 10: 62}
"""LUTs of a product by the bits of its wider operand."""

_SMALL_PRODUCT_LUTS = 5
"""LUTs of a product whose narrower operand has up to four bits."""

_REQUANTIZATION = 1.6
"""LUTs of rounding and saturation for each bit of the sum and each two of the output: 60 for a
channel of 16 to 10 bits, as reports say."""

_CONTROL = {
    "sliding_window": Resources(lut=450, ff=350),
    "parallel_window": Resources(lut=280, ff=240),
    "matrix_vector": Resources(lut=160, ff=140),
    "depthwise": Resources(lut=160, ff=140),
}
_OTHER_CONTROL = Resources(lut=70, ff=60)
"""Counters, comparisons, handshakes and the start and end of the loop."""


def multiplier_impl(wide: int, narrow: int, wanted: str = "auto") -> str:
    """`lut`, `dsp` or `dsp_pair`: what is wanted, or what the tool would choose."""
    if wanted != "auto":
        return wanted
    return "dsp" if wide >= 11 and narrow >= 5 else "lut"


def multiplier(first: int, second: int, wanted: str = "auto") -> Resources:
    """One product of operands of these widths, the sign included."""
    wide, narrow = max(first, second), min(first, second)
    if multiplier_impl(wide, narrow, wanted) == "dsp":
        return Resources(dsp=1 if wide <= 27 and narrow <= 18 else 2)
    if narrow <= 2:  # its operand is added, subtracted or left out by the adder's own LUTs
        return NOTHING
    if narrow <= 4:
        return Resources(lut=_SMALL_PRODUCT_LUTS)
    if wide in _PRODUCT_LUTS:
        return Resources(lut=_PRODUCT_LUTS[wide])
    return Resources(lut=_PRODUCT_LUTS[6] if wide < 6 else wide * narrow * 5 // 8)


def requantization(sum_width: int, output_width: int, divisor: int = 1) -> Resources:
    """Shift, rounding and saturation of one lane, and the product that divides."""
    lut = round(_REQUANTIZATION * (sum_width + 2 * output_width))
    if divisor == 1:
        return Resources(lut=lut, ff=sum_width + output_width)
    tiles = -(-sum_width // 26) * -(-(sum_width + divisor.bit_length()) // 17)
    return Resources(lut=lut + 2 * sum_width, ff=4 * sum_width, dsp=tiles)


def memory(words: int, width_bits: int, storage: str) -> Resources:
    """A read-only memory or a buffer."""
    if storage == "bram":
        return Resources(bram_18k=blocks.bram_18k(words, width_bits), ff=width_bits)
    if storage == "uram":
        return Resources(uram=blocks.uram(words, width_bits), ff=width_bits)
    return Resources(lut=blocks.luts(words, width_bits), ff=width_bits)


def loading(row_bits: int) -> Resources:
    """What fills a memory at start-up: the process that deals its words out with two FIFOs, and
    the loop that gathers a row in registers.
    """
    fifo = Resources(
        lut=20 + blocks.srl_luts(STREAM_DEPTH, PORT_BITS),
        ff=12 + PORT_BITS,
    )
    gathered = Resources(ff=-(-row_bits // PORT_BITS) * PORT_BITS)
    return fifo + fifo + _OTHER_CONTROL + _OTHER_CONTROL + gathered


def auto_storage(words: int, width_bits: int) -> str:
    """What `memories.place` chooses for a buffer or ROM."""
    from hwflow.plan.memories import place

    return place("buffer", words, width_bits).storage


def products_of(layer: Foldable, fold: Fold, impl: str) -> Resources:
    """The multipliers of a convolution.

    A DSP slice that makes two products needs one more addition for them: what the lower one
    borrowed is given back to the upper one.
    """
    if impl == "dsp_pair":
        pairs, single = divmod(fold.pe, 2)
        given_back = pairs * fold.terms * (layer.input_width + layer.weight_width)
        return Resources(lut=given_back, dsp=(pairs + single) * fold.terms)
    one = multiplier(layer.input_width, layer.weight_width, impl)
    return Resources(lut=fold.multipliers * one.lut, dsp=fold.multipliers * one.dsp)


def convolution(
    layer: Foldable, fold: Fold, impl: str, storage: str, *, is_loaded: bool = False
) -> Resources:
    """The engine of a convolution, without its sliding window.

    Args:
        layer: its shape and widths.
        fold: how it is folded.
        impl: `lut`, `dsp`, `dsp_pair` or `auto` for its products.
        storage: of its weights: `bram`, `lutram` or `uram`.
        is_loaded: whether they come through the load port.
    """
    lanes = fold.pe
    products = fold.multipliers
    made = products_of(layer, fold, impl)
    product_bits = layer.input_width + layer.weight_width
    adders = lanes * ((fold.terms - 1) * (product_bits + 2) + layer.sum_width)
    # a channel's scale: a shifter, whose tables choose one of four each
    shifters = lanes * layer.sum_width * -(-layer.shift_bits // 2)
    words = layer.weight_words(fold)
    bias_words = layer.filters * layer.groups // lanes
    total = _CONTROL["matrix_vector"] + Resources(
        lut=made.lut + adders + shifters,
        ff=2 * products * product_bits + lanes * layer.sum_width,
        dsp=made.dsp,
    )
    row_bits = products * layer.weight_width
    if is_loaded:  # what a constant leaves unused of its integers is no memory
        row_bits = blocks.row_bits(layer.weight_width, products)
        total += loading(row_bits)
    total += memory(words, row_bits, storage)
    total += memory(bias_words, lanes * (layer.sum_width + layer.shift_bits), "lutram")
    rounding = requantization(layer.sum_width, layer.output_width)
    total += Resources(lut=lanes * rounding.lut, ff=lanes * rounding.ff)
    if layer.filters > (1 if layer.is_depthwise else lanes):  # beats kept for the other folds
        kept = layer.taps // fold.taps * (layer.inputs // fold.simd)
        width = fold.taps * layer.input_lanes(fold) * layer.input_width
        total += memory(kept, width, auto_storage(kept, width))
    return total


def window(words: int, width_bits: int, storage: str) -> Resources:
    """A sliding window and its line buffer."""
    muxes = Resources(lut=width_bits, ff=2 * width_bits)
    return _CONTROL["sliding_window"] + muxes + memory(words, width_bits, storage)


def parallel_window(walk: ParallelWindow, width: int, memories: Sequence[Memory] = ()) -> Resources:
    """A window that emits all taps at once, with its line buffer.

    Args:
        walk: the instance.
        width: bits of a value.
        memories: where it keeps rows and columns, as far as they are not registers.
    """
    column, beat = (values * walk.lanes * width for values in (walk.kernel[0], walk.taps))
    # a tap that may lie outside chooses between two values; a LUT does so for two bits
    total = _CONTROL["parallel_window"] + Resources(
        lut=-(-walk.masked_taps * walk.lanes * width // 2),
        ff=beat + column + walk.register_values * width,
    )
    for held in memories:
        total += memory(held.words, held.width_bits, held.storage)
    return total


def window_of(layer: Foldable, fold: Fold) -> Resources:
    """What makes the windows of a convolution, and the FIFO in which they wait."""
    width = layer.input_width * layer.input_lanes(fold)
    beats = layer.pixels * layer.inputs * layer.groups // layer.input_lanes(fold)
    depth = max(2, min(STRAIGHT_DEPTH, beats * layer.taps // fold.taps))
    if fold.taps == 1:
        buffer = buffer_memory(layer, fold)
        return window(buffer.words, buffer.width_bits, buffer.storage) + fifo(depth, width)
    walk = layer.window_of(fold)
    made = parallel_window(walk, layer.input_width, window_memories(walk, layer.input_width))
    # a row of windows comes at once, and is worked off while rows without windows go by
    work = layer.reuse_factor(fold)  # cycles of a window
    comes = walk.strides[1] * walk.folds
    waiting = 0
    if walk.strides[0] > 1 and work > comes:
        waiting = walk.out_width * walk.folds * (work - comes) // work
    return made + fifo(depth + waiting, width * fold.taps)


def foldable_of(process: Process, streams: Mapping[str, Stream]) -> tuple[Foldable, Fold]:
    """What a convolution's process was folded from, and how; without its window.

    Taps side by side are inputs to `matrix_vector`.
    """
    settings = process.settings
    assert process.accumulator is not None
    source, out = streams[process.inputs[0]], streams[process.outputs[0]]
    is_depthwise = process.kernel == "depthwise"
    groups = settings["channels"] if is_depthwise else settings["groups"]
    shape = Foldable(
        process.layer,
        settings["pixels"],
        settings["taps"],
        1 if is_depthwise else settings["in_channels"] // groups,
        settings["multiplier"] if is_depthwise else settings["out_channels"] // groups,
        groups,
        source.format.width,
        out.format.width,
        process.memories[0].width_bits // process.multipliers,
        process.accumulator.width,
        settings["shift_bits"],
    )
    simd, taps = (1, settings["parallel"]) if is_depthwise else (settings["simd"], 1)
    return shape, Fold(simd, settings["pe"], taps)


def process_cost(process: Process, streams: Mapping[str, Stream]) -> Resources:
    """What a process takes, its memories included."""
    source, out = streams[process.inputs[0]], streams[process.outputs[0]]
    if process.kernel in ("matrix_vector", "depthwise"):
        layer, fold = foldable_of(process, streams)
        held = process.memories[0]
        return convolution(layer, fold, process.multiplier, held.storage, is_loaded=held.is_loaded)
    if process.kernel == "parallel_window":
        walk = parallel_window_of(process.settings)
        return parallel_window(walk, source.format.width, process.memories)
    if process.kernel == "sliding_window":
        (buffer,) = process.memories
        return window(buffer.words, buffer.width_bits, buffer.storage)
    lanes, width = out.lanes, out.format.width
    total = _OTHER_CONTROL + Resources(ff=2 * out.width_bits)
    for held in process.memories:
        total += memory(held.words, held.width_bits, held.storage)
    if process.kernel == "repack":
        held_bits = max(source.width_bits, out.width_bits)
        return total + Resources(lut=held_bits, ff=held_bits)
    if process.kernel == "select_channels":  # each lane picks one value of a word
        return total + Resources(lut=lanes * lanes * width // 3)
    if process.kernel == "max_pool":
        compared = lanes * process.settings["parallel"]
        return total + Resources(lut=compared * 2 * width, ff=compared * width)
    if process.kernel == "top_k":
        index_bits = process.settings["channels"].bit_length()
        moved = source.lanes * process.settings["k"] * (source.format.width + index_bits)
        return total + Resources(lut=2 * moved, ff=moved)
    if process.kernel == "softmax":  # a subtraction for each bit of the quotient
        bits = process.settings["sum_width"]
        stages = process.settings["exponential_width"] + process.settings["fraction_bits"]
        return total + Resources(lut=bits * stages, ff=2 * bits * stages)
    if process.accumulator is None or process.kernel == "duplicate":
        return total
    bits = process.accumulator.width
    if process.kernel == "upsample_bilinear":  # four products by weights of a few bits
        one = multiplier(bits, 4)
        total += Resources(lut=lanes * (4 * one.lut + 3 * bits), ff=2 * lanes * bits)
    if process.kernel in ("multiply", "scale"):
        other = streams[process.inputs[1]].format.width
        one = multiplier(source.format.width, other, process.multiplier)
        total += Resources(lut=lanes * one.lut, ff=lanes * bits, dsp=lanes * one.dsp)
    if process.kernel in ("add", "window_sum", "global_sum"):
        sums = max(1, len(process.inputs) - 1, process.settings.get("parallel", 1))
        total += Resources(lut=lanes * bits * sums, ff=lanes * bits * sums)
    if process.kernel == "concatenate":  # which input is passed on
        total += Resources(lut=lanes * bits * (len(process.inputs) - 1) // 2)
    if process.kernel == "window_sum" and process.memories:
        factor_bits = 1 + sum(held.width_bits for held in process.memories)
        one = multiplier(bits, factor_bits, process.multiplier)
        total += Resources(lut=lanes * one.lut, ff=lanes * bits, dsp=lanes * one.dsp)
    if process.kernel == "global_sum":
        words = process.settings["channels"] // lanes
        total += memory(words, lanes * bits, "lutram")
    if process.accumulator != process.target or process.divisor > 1:
        one = requantization(bits, width, process.divisor)
        total += Resources(lut=lanes * one.lut, ff=lanes * one.ff, dsp=lanes * one.dsp)
    return total


def fifo(depth: int, width_bits: int) -> Resources:
    """A FIFO in shift registers or block RAM, whichever is the cheaper."""
    control = Resources(lut=20, ff=12 + width_bits)
    if blocks.fifo_storage(depth, width_bits) == "bram":
        return control + Resources(bram_18k=blocks.bram_18k(depth, width_bits))
    return control + Resources(lut=blocks.srl_luts(depth, width_bits))


def stream_cost(stream: Stream) -> Resources:
    """What a stream's FIFO takes."""
    return fifo(stream.depth, stream.width_bits)


def layer_costs(graph: StreamGraph) -> dict[str, Resources]:
    """By layer: its processes, and the FIFOs that they write to."""
    total = dict.fromkeys(graph.layers, NOTHING)
    for process in graph.processes:
        total[process.layer] += process_cost(process, graph.streams)
        for name in process.outputs:
            if name not in graph.outputs:
                total[process.layer] += stream_cost(graph.streams[name])
    return total


def total_cost(graph: StreamGraph) -> Resources:
    """Of all layers."""
    return sum(layer_costs(graph).values(), NOTHING)


def buffer_memory(layer: Foldable, fold: Fold) -> Memory:
    """The line buffer of a convolution's sliding window."""
    lanes = layer.input_lanes(fold)
    words = layer.buffer_pixels * (layer.inputs * layer.groups // lanes)
    width = lanes * layer.input_width
    return Memory("buffer", words, width, auto_storage(words, width))

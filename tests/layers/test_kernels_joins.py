"""add, concatenate, duplicate and repack, and the stream model beneath all kernels."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest

from hwflow.fixed_point import FixedPoint, IntArray, Overflow, Rounding
from hwflow.hls.packing import Requantization
from tests.support.kernel_cases import config, constants, divisors, extreme_images, types
from tests.support.kernel_harness import (
    STRICT,
    Case,
    Port,
    compile_library,
    precompiled_prelude,
    run_case,
    run_cases,
)

SHAPE = (3, 4, 6)
PIXELS = 12


def check(
    batch: list[tuple[Case, list[IntArray], IntArray]],
    folder: Path,
    flags: tuple[str, ...] = STRICT,
) -> None:
    results = run_cases([(case, inputs) for case, inputs, _ in batch], folder, flags)
    for (case, _, expected), streams in zip(batch, results, strict=True):
        for stream in streams:
            np.testing.assert_array_equal(
                stream.reshape(expected.shape), expected, err_msg=case.definitions
            )


Formats = tuple[FixedPoint, ...]
Shifts = tuple[int, ...]


def join_case(
    kernel: str,
    sources: Formats,
    shifts: Shifts,
    accumulator: FixedPoint,
    output: FixedPoint | None,
    channels: tuple[int, ...],
    lanes: int,
) -> Case:
    """With a requantization, or with `unchanged` to the accumulator's own format."""
    if output is None:
        output = accumulator
        text = f"typedef hwflow::unchanged<{accumulator.raw_type}, {output.raw_type}> narrowing;\n"
    else:
        text = Requantization(accumulator, output).text("narrowing")
    total = channels[0] if kernel == "add" else sum(channels)
    parts = ", ".join(f"hwflow::part<{c}, {s}>" for c, s in zip(channels, shifts, strict=True))
    text += config(
        "join",
        constants(pixels=PIXELS, lanes=lanes, channels=total),
        types(
            inputs_t=f"hwflow::parts<{parts} >",
            output_t=output.raw_type,
            accumulator_t=accumulator.raw_type,
            requantization="narrowing",
        ),
    )
    ports = tuple(
        Port(source, lanes, PIXELS * count // lanes)
        for source, count in zip(sources, channels, strict=True)
    )
    names = ", ".join(f"in{index}" for index in range(len(sources)))
    out = Port(output, lanes, PIXELS * total // lanes)
    return Case(text, f"hwflow::{kernel}<join>(out0, {names});", ports, (out,))


def operands() -> list[tuple[Formats, Shifts]]:
    return [
        ((FixedPoint(8, 4, False), FixedPoint(8, 4, False)), (0, 0)),
        ((FixedPoint(8, 4, False), FixedPoint(6, 4)), (0, 2)),
        ((FixedPoint(2, 2), FixedPoint(16, 8), FixedPoint(3, 1, False)), (8, 0, 6)),
        ((FixedPoint(16, 1), FixedPoint(12, 3)), (0, 6)),
        ((FixedPoint(32, 8), FixedPoint(20, 4, False)), (0, 8)),
        (tuple(FixedPoint(*sizes) for sizes in ((7, 3), (5, 5), (8, 4), (2, 2))), (0, 4, 0, 4)),
    ]


def accumulator_of(sources: Formats, shifts: Shifts, adds: bool) -> FixedPoint:
    lows = [s.minimum << bits for s, bits in zip(sources, shifts, strict=True)]
    highs = [s.maximum << bits for s, bits in zip(sources, shifts, strict=True)]
    low, high = (sum(lows), sum(highs)) if adds else (min(lows), max(highs))
    return FixedPoint.containing(low, high, sources[0].fraction_bits + shifts[0])


@pytest.mark.parametrize("kernel", ["add", "concatenate"])
def test_joins(kernel: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(15)
    batch = []
    for sources, shifts in operands():
        accumulator = accumulator_of(sources, shifts, kernel == "add")
        for lanes, output in (
            (1, None),
            (2, FixedPoint(8, accumulator.integer_bits - 1, accumulator.signed)),
            (3, FixedPoint(9, 3, True, Rounding.RND_INF, Overflow.WRAP)),
        ):
            channels = (6,) * 4 if kernel == "add" else (6, 12, 6, 18)
            channels = channels[: len(sources)]
            inputs = [
                extreme_images(rng, (*SHAPE[:2], count), source)
                for source, count in zip(sources, channels, strict=True)
            ]
            parts = [part << bits for part, bits in zip(inputs, shifts, strict=True)]
            exact = sum(parts[1:], parts[0]) if kernel == "add" else np.concatenate(parts, axis=-1)
            case = join_case(kernel, sources, shifts, accumulator, output, channels, lanes)
            expected = exact if output is None else output.rescale(exact, accumulator.fraction_bits)
            batch.append((case, inputs, expected))
    check(batch, tmp_path)


@pytest.mark.parametrize("source", [FixedPoint(8, 4, False), FixedPoint(13, 4)], ids=str)
def test_duplicate_and_repack(source: FixedPoint, tmp_path: Path) -> None:
    images = extreme_images(np.random.default_rng(16), (3, 4, 12), source)
    wider = FixedPoint(source.width + 3, source.integer_bits + 3)
    batch = []
    for lanes in (1, 4):
        text = config(
            "copy",
            constants(pixels=PIXELS, channels=12, lanes=lanes),
            types(input_t=source.raw_type, output_t=wider.raw_type),
        )
        beats = PIXELS * 12 // lanes
        out = Port(wider, lanes, beats)
        call = "hwflow::duplicate<copy>(in0, out0, out1);"
        batch.append(
            (Case(text, call, (Port(source, lanes, beats),), (out, out)), [images], images)
        )
    sizes = [(a, b) for a in divisors(12) for b in divisors(12) if a % b == 0 or b % a == 0]
    assert (12, 1) in sizes
    for in_lanes, out_lanes in sizes:
        text = config(
            "repacking",
            constants(pixels=PIXELS, channels=12, in_lanes=in_lanes, out_lanes=out_lanes),
            types(input_t=source.raw_type, output_t=wider.raw_type),
        )
        ports = (Port(source, in_lanes, PIXELS * 12 // in_lanes),)
        out = Port(wider, out_lanes, PIXELS * 12 // out_lanes)
        case = Case(text, "hwflow::repack<repacking>(in0, out0);", ports, (out,))
        batch.append((case, [images], images))
    check(batch, tmp_path)


STREAM_PROBE = """
using namespace hls::simulation;
struct pair_of { ap_int<5> low; ap_int<12> high; };

extern "C" const char* probe() {
    static std::string log;
    log = "";
    { hls::stream<int> s("early"); if (s.read() != 0) log += "not zero;"; }
    { hls::stream<int> s("late"); s.write(1); s.write(2); s.read(); }
    { hls::stream<int> s; s.write(3); }
    for (const std::string& fault : faults()) log += fault + ";";
    faults().clear();

    // The order is kept through growth, moves to the front and interleaving.
    hls::stream<long long> fifo("fifo");
    long long wrote = 0, read = 0;
    bool ordered = true;
    for (int round = 0; round < 400; ++round) {
        for (int i = 0; i < (round * 37) % 101; ++i) fifo << wrote++;
        for (int i = 0; i < (round * 53) % 97 && !fifo.empty(); ++i)
            ordered &= fifo.read() == read++;
    }
    ordered &= fifo.size() == std::size_t(wrote - read);
    while (!fifo.empty()) { long long value; fifo >> value; ordered &= value == read++; }
    log += ordered && read == wrote ? "ordered;" : "disordered;";
    log += std::to_string(greatest_fill("fifo") > 100) + ";";

    { hls::stream<char> s("deep"); for (int i = 0; i < 7; ++i) s.write('x');
      char c; s.read_nb(c); s.read_nb(c); s.write_nb('y'); while (s.read_nb(c)) {}
      log += std::string(1, c) + std::to_string(s.read_nb(c)) + std::to_string(s.full()); }
    log += std::to_string(greatest_fill("deep")) + ";";

    // Recording, armed before the stream exists and while it does.
    record("armed");
    hls::stream<pair_of> armed(std::string("armed")), bystander("bystander");
    pair_of value;
    value.low = -3;
    value.high = 1000;
    armed.write(value);
    bystander.write(value);
    log += std::to_string(recorded("armed").size() / sizeof(pair_of));
    pair_of back;
    std::memcpy(static_cast<void*>(&back), recorded("armed").data(), sizeof(back));
    log += back.low == -3 && back.high == 1000 ? "same;" : "other;";
    record("bystander");
    bystander.write(value);
    log += std::to_string(recorded("bystander").size() / sizeof(pair_of));
    forget("armed");
    armed.write(value);
    log += std::to_string(recorded("armed").size()) + ";";
    while (!armed.empty()) armed.read();
    while (!bystander.empty()) bystander.read();

    // What is drained frees its memory; the element that was read last still stands.
    hls::stream<pair_of> large("large");
    bool kept = true;
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 100000; ++i) {
            value.high = i % 2000;
            large.write(value);
        }
        const pair_of* last = NULL;
        for (int i = 0; i < 100000; ++i) {
            last = &large.read();
            kept &= last->high == i % 2000 && last->low == -3;
        }
        kept &= large.empty() && last->high == 99999 % 2000;
        large.write(value);
        kept &= large.read().high == value.high;
    }
    log += kept ? "kept;" : "lost;";
    return log.c_str();
}
"""


def test_stream_model(tmp_path: Path) -> None:
    library = compile_library(STREAM_PROBE, tmp_path, STRICT, precompiled_prelude(STRICT))
    library.probe.restype = ctypes.c_char_p
    assert library.probe().decode().split(";") == [
        "stream 'early': read while empty",
        "stream 'late': 1 elements were never read",
        "stream 'unnamed': 1 elements were never read",
        "ordered",
        "1",
        "y007",
        "1same",
        "10",
        "kept",
        "",
    ]


SPILLING = """
using namespace hls::simulation;
extern "C" int spilled(const char* path, int count) {
    record("long", path);
    {
        hls::stream<int> stream("long");
        for (int i = 0; i < count; ++i) { stream.write(i); stream.read(); }
    }
    const bool fits = recorded("long").capacity() < (4 << 20);
    const bool whole = spill(channel_of("long"));
    forget("long");
    return fits && whole && faults().empty() ? 1 : 0;
}
"""


def test_long_recordings_go_to_their_file(tmp_path: Path) -> None:
    library = compile_library(SPILLING, tmp_path, STRICT, precompiled_prelude(STRICT))
    path, count = tmp_path / "long.bin", 3_000_000
    assert library.spilled(str(path).encode(), count) == 1
    np.testing.assert_array_equal(np.fromfile(path, np.int32), np.arange(count))
    assert library.spilled(str(tmp_path / "no" / "folder.bin").encode(), count) == 0


LANE_SIZES = """
extern "C" int size(int width) {
    switch (width) {
    case 1: return sizeof(hwflow::beat<ap_uint<1>, 4>);
    case 8: return sizeof(hwflow::beat<ap_int<8>, 4>);
    case 9: return sizeof(hwflow::beat<ap_uint<9>, 4>);
    case 17: return sizeof(hwflow::beat<ap_int<17>, 4>);
    case 32: return sizeof(hwflow::beat<ap_uint<32>, 4>);
    default: return sizeof(hwflow::beat<ap_int<33>, 4>);
    }
}
"""


def test_recorded_lanes_are_native_integers(tmp_path: Path) -> None:
    """A reader of recordings may take them as arrays of the least native integer that fits."""
    library = compile_library(LANE_SIZES, tmp_path, STRICT, precompiled_prelude(STRICT))
    assert [library.size(w) // 4 for w in (1, 8, 9, 17, 32, 33)] == [1, 1, 2, 4, 4, 8]


def test_harness_notices_faults(tmp_path: Path) -> None:
    source = FixedPoint(32, 4)
    port = Port(source, 1, 1)
    image = np.full((1, 1, 1), source.maximum)
    beat = "hwflow::beat<ap_int<32>, 1> to; to.lane[0]"
    calls = (
        f"int v = in0.read().lane[0].to_int(); {beat} = v + v; out0.write(to);",  # overflows
        f"in0.size(); {beat} = 1; out0.write(to);",  # leaves its input
        f"{beat} = in0.read().lane[0]; out0.write(to); out0.write(to);",  # writes too much
        "in0.read(); out0.size();",  # writes too little
        f"{beat} = in0.read().lane[0]; out0.write(to);",  # faultless
    )
    cases = [Case("", call, (port,), (port,)) for call in calls]
    source_text = "".join(case.text(index) for index, case in enumerate(cases))
    library = compile_library(source_text, tmp_path, STRICT, precompiled_prelude(STRICT))
    for index, case in enumerate(cases[:-1]):
        with pytest.raises(AssertionError, match="1 stream faults"):
            run_case(library, index, case, [image])
    assert run_case(library, len(cases) - 1, cases[-1], [image])[0].tolist() == [[[2**31 - 1]]]

"""Runs instances of the HLS kernels, compiled with g++, on arrays of raw integers.

A `Case` is one instance: its C++ definitions and the streams of its function `layer`. Many cases
share one translation unit, since the compiler spends most of its time on headers.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import hashlib
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

import hwflow.hls
from hwflow.fixed_point import FixedPoint, IntArray

HLS_FOLDER = Path(hwflow.hls.__file__).parent


@dataclass(frozen=True)
class Port:
    """A stream of a kernel: the format of its integers, its lanes, and its beats an image."""

    format: FixedPoint
    lanes: int
    beats: int

    @property
    def type(self) -> str:
        return f"hls::stream<hwflow::beat<{self.format.raw_type}, {self.lanes}> >"


@dataclass(frozen=True)
class Case:
    """One kernel instance.

    Attributes:
        definitions: C++ of the instance: constants, `struct config`.
        call: the kernel call; the streams are `in0, in1, out0, out1`.
        inputs: streams in.
        outputs: streams out.
    """

    definitions: str = field(repr=False)  # long, and repeated by what prints cases
    call: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def text(self, index: int) -> str:
        names = [f"in{i}" for i in range(len(self.inputs))]
        names += [f"out{i}" for i in range(len(self.outputs))]
        ports = [*self.inputs, *self.outputs]
        parameters = ", ".join(f"{p.type}& {n}" for p, n in zip(ports, names, strict=True))
        streams = "".join(f'    {p.type} {n}("{n}");\n' for p, n in zip(ports, names, strict=True))
        pushes = "".join(
            f"        push(in{i}, in[{i}], {port.beats});\n" for i, port in enumerate(self.inputs)
        )
        pops = "".join(
            f"        pop(out{i}, out[{i}], {port.beats});\n" for i, port in enumerate(self.outputs)
        )
        return (
            f"namespace case{index} {{\n{self.definitions}"
            f"void layer({parameters}) {{\n    {self.call}\n}}\n}}\n"
            f'extern "C" int run{index}(int images, const long long** in, long long** out) {{\n'
            f"    {{\n{streams}    for (int image = 0; image < images; ++image) {{\n{pushes}"
            f"        case{index}::layer({', '.join(names)});\n{pops}    }}\n    }}\n"
            "    return take_faults();\n}\n"
        )


_PRELUDE = """
#include <cstdio>
#include "beat.h"
#include "depthwise.h"
#include "frame.h"
#include "heads.h"
#include "joins.h"
#include "loading.h"
#include "matrix_vector.h"
#include "parallel_window.h"
#include "pooling.h"
#include "requantize.h"
#include "selection.h"
#include "sliding_window.h"
#include "upsampling.h"
namespace {
template <typename T, int N>
void push(hls::stream<hwflow::beat<T, N> >& stream, const long long*& values, int beats) {
    for (int index = 0; index < beats; ++index) {
        hwflow::beat<T, N> value;
        for (int lane = 0; lane < N; ++lane) value.lane[lane] = *values++;
        stream.write(value);
    }
}
template <typename T, int N>
void pop(hls::stream<hwflow::beat<T, N> >& stream, long long*& values, int beats) {
    for (int index = 0; index < beats; ++index) {
        const hwflow::beat<T, N> value = stream.read();
        for (int lane = 0; lane < N; ++lane) *values++ = value.lane[lane].to_int64();
    }
}
int overflows = 0;
int take_faults() {
    const int count = int(hls::simulation::faults().size()) + overflows;
    overflows = 0;
    for (const std::string& fault : hls::simulation::faults())
        std::fprintf(stderr, "%s\\n", fault.c_str());
    hls::simulation::faults().clear();
    return count;
}
}
// The sanitizer calls this for every overflow of a native integer and every index out of bounds.
extern "C" __attribute__((visibility("default"))) void __ubsan_on_report() { ++overflows; }
"""

STRICT = ("-O0", "-fsanitize=signed-integer-overflow,bounds", "-static-libubsan")
"""Compiles quickly; an overflow of native arithmetic is a fault."""

FAST = ("-O3", "-march=native")
"""Vectorises as C-simulation does."""


FAST_TYPES = HLS_FOLDER / "simulation" / "fast_types"
"""The folder of our own ap_int.h, on native integers."""


def ap_types_folder() -> Path:
    """The folder of the reference ap_int.h; found without importing hls4ml."""
    spec = importlib.util.find_spec("hls4ml")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "templates" / "vivado" / "ap_types"


def _compile(
    arguments: Sequence[str | Path], flags: Sequence[str], types: Path | None = None
) -> None:
    compiler = shutil.which("g++")
    assert compiler is not None, "the kernel tests need g++"
    command = [compiler, "-std=c++11", "-fPIC", *flags, "-Wall", "-Wextra", "-Werror"]
    command += ["-Wno-unknown-pragmas", "-Wno-unused-label", "-Wno-unused-function"]
    command += ["-Wno-uninitialized", "-Wno-maybe-uninitialized"]  # ap_int's own constructor
    command += ["-I", str(HLS_FOLDER / "simulation"), "-I", str(HLS_FOLDER / "kernels")]
    command += ["-isystem", str(types or ap_types_folder()), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


def compile_library(
    source: str,
    folder: Path,
    flags: Sequence[str] = ("-O1",),
    prelude: Path | None = None,
    types: Path | None = None,
) -> ctypes.CDLL:
    """Compiles C++ text to a shared library and loads it; warnings of the kernels are errors."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    path = folder / f"cases_{digest}_{types.name if types else ''}.cpp"
    library = path.with_suffix(".so")
    path.write_text(source)
    include = () if prelude is None else ("-include", prelude)
    _compile((*include, "-shared", path, "-o", library), flags, types)
    return ctypes.CDLL(str(library))


@functools.cache
def precompiled_prelude(flags: tuple[str, ...], types: Path | None = None) -> Path:
    """The headers, compiled once a session: they take longer than a batch of cases."""
    folder = Path(tempfile.mkdtemp(prefix="hwflow_kernels_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    header = folder / "prelude.h"
    header.write_text(_PRELUDE)
    _compile(("-x", "c++-header", header, "-o", folder / "prelude.h.gch"), flags, types)
    return header


def run_cases(
    cases: Sequence[tuple[Case, Sequence[IntArray]]],
    folder: Path,
    flags: tuple[str, ...] = STRICT,
) -> list[list[IntArray]]:
    """Compiles the cases together and runs each on its inputs, with either headers of ap_int.

    Args:
        cases: each with its input tensors, shape `(N, ...)` in the order of the stream.
        folder: where the sources go.
        flags: of the compiler.

    Returns:
        For each case its output streams, shape `(N, beats, lanes)`.
    """
    source = "".join(case.text(index) for index, (case, _) in enumerate(cases))
    found = []
    for types in (ap_types_folder(), FAST_TYPES):
        prelude = precompiled_prelude(flags, types)
        library = compile_library(source, folder, flags, prelude, types)
        found.append([run_case(library, i, case, inputs) for i, (case, inputs) in enumerate(cases)])
    for case, *both in zip((case for case, _ in cases), *found, strict=True):
        for reference, fast in zip(*both, strict=True):
            np.testing.assert_array_equal(fast, reference, err_msg=case.call)
    return found[0]


def run_case(
    library: ctypes.CDLL, index: int, case: Case, inputs: Sequence[IntArray]
) -> list[IntArray]:
    """Runs one case of a compiled library; a fault of a stream is an error."""
    images = len(inputs[0])
    for port, tensor in zip(case.inputs, inputs, strict=True):
        assert tensor.size == images * port.beats * port.lanes, (tensor.shape, port)
    arrays = [np.ascontiguousarray(tensor, dtype=np.int64) for tensor in inputs]
    results = [np.full((images, p.beats, p.lanes), -999999, np.int64) for p in case.outputs]
    faults = library[f"run{index}"](ctypes.c_int(images), _pointers(arrays), _pointers(results))
    assert faults == 0, f"{faults} stream faults in case {index}: {case.call}"
    return results


def _pointers(arrays: Sequence[npt.NDArray[np.int64]]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))

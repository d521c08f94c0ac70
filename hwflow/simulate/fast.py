"""The bit-accurate engine: the integer graph at the speed of an optimized runtime.

The engine itself is a C++ library (`sim/`) that reads the two files of an `IntegerGraph`, proves
every format anew and runs the program; this module hands it NumPy arrays.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError, HwflowError, ToolError
from hwflow.fixed_point import FixedPoint
from hwflow.integer_graph import IntegerGraph
from hwflow.simulate.engine_sources import source_digest
from hwflow.simulate.held_signals import HeldSignals

Keep = Callable[[str], bool] | Iterable[str] | None
Progress = Callable[[int, int], bool | None]

_DONE, _BAD_PROGRAM, _BAD_INPUT, _CANCELLED = range(4)
_MESSAGE_BYTES = 4096
_ITEM_TYPES = tuple(np.dtype(t) for t in ("u1", "i1", "u2", "i2", "u4", "i4", "i8"))


class CancelledError(HwflowError):
    """A run that its progress function stopped."""


@dataclass(frozen=True)
class TensorStatistics:
    """What a tensor's raw integers were over all images seen.

    Attributes:
        count: number of values.
        minimum: the least raw integer.
        maximum: the greatest raw integer.
        saturated: values that were clipped to the format's range (or to zero).
        below: of those, the ones under the range: what ReLU clips, if the format is unsigned.
        wrapped: values that lost bits above the format's width.
        unused_bits: bits at the top that no value needed.
    """

    count: int
    minimum: int
    maximum: int
    saturated: int
    below: int
    wrapped: int
    unused_bits: int


class FastEngine:
    """Runs an integer graph, equal to `IntegerGraph.evaluate` bit by bit on every tensor.

    Args:
        graph: the program.
        threads: for images and within one; 0 takes one for each processor.
        path: instruction set, one of `paths()`; the fastest of this machine if None.
        statistics: gather `statistics` while predicting (nothing is fused then: slower).

    Raises:
        DesignError: if the engine cannot prove the graph, or `threads` or `path` is not possible.
        ToolError: if the engine is not built.
    """

    def __init__(
        self,
        graph: IntegerGraph,
        threads: int = 0,
        path: str | None = None,
        *,
        statistics: bool = False,
    ) -> None:
        files = graph.to_files()
        self._library = _library()
        self._graph = graph
        self._index = {op.name: index for index, op in enumerate(graph.operations)}
        self._gathers = statistics
        document, arrays = files["integer_graph.json"], files["integer_graph.npz"]
        status = ctypes.c_int32()
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        self._handle = self._library.hwflow_load(
            document,
            len(document),
            arrays,
            len(arrays),
            threads,
            (path or "").encode(),
            ctypes.byref(status),
            message,
            len(message),
        )
        _check(status.value, message)
        self._finalizer = weakref.finalize(self, self._library.hwflow_free, self._handle)

    @staticmethod
    def paths() -> tuple[str, ...]:
        """Instruction sets that this machine can run, the fastest first, `portable` last."""
        names: bytes = _library().hwflow_paths()
        return tuple(names.decode().split(","))

    @property
    def path(self) -> str:
        """The instruction set in use."""
        name: bytes = self._library.hwflow_path(self._handle)
        return name.decode()

    @property
    def threads(self) -> int:
        """The number of threads in use."""
        return int(self._library.hwflow_threads(self._handle))

    @property
    def arena_bytes(self) -> int:
        """Memory for the tensors of one image when only the outputs are kept."""
        return int(self._library.hwflow_arena_bytes(self._handle))

    def predict(
        self,
        inputs: Mapping[str, npt.NDArray[np.integer[Any]]],
        keep: Keep = None,
        progress: Progress | None = None,
    ) -> dict[str, npt.NDArray[np.signedinteger[Any]]]:
        """Runs the graph over images.

        Args:
            inputs: raw integers of every input, shape `(N, H, W, C)`.
            keep: tensors to return besides the outputs: their names, or a function that tells.
            progress: called with the images done and their number; returning False stops the run.
                What a signal's handler raises stops it too.

        Returns:
            Raw integers by tensor name, shape `(N, H, W, C)`: int32 where the tensor's reach fits,
            else int64.

        Raises:
            DesignError: if an input is missing, has another shape or leaves its format's range, or
                `keep` names an unknown tensor.
            CancelledError: if `progress` returned False.
        """
        given, images = self._arrays(inputs)
        results = {name: self._empty(name, images) for name in self._kept(keep)}
        failure: list[BaseException] = []

        def told(done: int, _: object) -> int:
            try:
                signals.deliver()
                return int(progress is not None and progress(done, images) is False)
            except BaseException as error:  # carried across the library, raised below
                failure.append(error)
                return 1

        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        with HeldSignals() as signals:
            status = self._library.hwflow_run(
                self._handle,
                self._described(given),
                len(given),
                self._described(results),
                len(results),
                images,
                self._gathers,
                _PROGRESS(told),
                None,
                message,
                len(message),
            )
        if failure:
            raise failure[0]
        _check(status, message)
        return results

    @property
    def statistics(self) -> dict[str, TensorStatistics]:
        """By tensor, over all predictions so far; empty before the first.

        Raises:
            ValueError: if the engine was not told to gather them.
        """
        if not self._gathers:
            raise ValueError("FastEngine(..., statistics=True) gathers statistics, this one not")
        seen = (_Statistics * len(self._index))()
        self._library.hwflow_read_statistics(self._handle, seen)
        return {
            name: TensorStatistics(
                part.count,
                part.minimum,
                part.maximum,
                part.saturated,
                part.below,
                part.wrapped,
                unused_bits(self._graph.tensors[name].format, part.minimum, part.maximum),
            )
            for name, part in zip(self._index, seen, strict=True)
            if part.count
        }

    def reset_statistics(self) -> None:
        """Forgets what was gathered."""
        self._library.hwflow_reset_statistics(self._handle)

    def _arrays(
        self, inputs: Mapping[str, npt.NDArray[np.integer[Any]]]
    ) -> tuple[dict[str, npt.NDArray[Any]], int]:
        given: dict[str, npt.NDArray[Any]] = {}
        faults: list[str] = []
        for name in self._graph.inputs:
            if name not in inputs:
                faults.append(f"input {name!r} is missing")
                continue
            array = np.asarray(inputs[name])
            shape = self._graph.tensors[name].shape
            if not np.issubdtype(array.dtype, np.integer):
                faults.append(f"input {name!r} must be raw integers, not {array.dtype}")
                continue
            if array.ndim != 4 or array.shape[1:] != shape:
                faults.append(
                    f"input {name!r} must have shape (N, {', '.join(map(str, shape))}),"
                    f" not {array.shape}"
                )
                continue
            if array.dtype not in _ITEM_TYPES:
                if array.size and array.max() > np.iinfo(np.int64).max:
                    faults.append(f"input {name!r} has integers beyond 63 bits")
                    continue
                array = array.astype(np.int64)
            given[name] = np.ascontiguousarray(array)
        counts = {len(array) for array in given.values()}
        if len(counts) > 1:
            faults.append(f"the inputs hold different numbers of images: {sorted(counts)}")
        if faults:
            raise DesignError(faults)
        return given, counts.pop() if counts else 0

    def _kept(self, keep: Keep) -> list[str]:
        named = keep or ()
        wanted = {name for name in self._index if named(name)} if callable(named) else set(named)
        unknown = sorted(wanted - set(self._index))
        if unknown:
            raise DesignError([f"tensor {name!r} is not in the graph" for name in unknown])
        wanted |= set(self._graph.outputs)
        return [name for name in self._index if name in wanted]

    def _empty(self, name: str, images: int) -> npt.NDArray[np.signedinteger[Any]]:
        tensor = self._graph.tensors[name]
        reach = tensor.interval
        small = np.iinfo(np.int32)
        fits = small.min <= reach.low.min() and reach.high.max() <= small.max
        return np.empty((images, *tensor.shape), np.int32 if fits else np.int64)

    def _described(self, arrays: Mapping[str, npt.NDArray[Any]]) -> ctypes.Array[_Array]:
        described = (_Array * max(len(arrays), 1))()
        for entry, (name, array) in zip(described, arrays.items(), strict=False):
            entry.operation = self._index[name]
            entry.data = array.ctypes.data
            entry.item_bytes = array.dtype.itemsize
            entry.is_signed = int(array.dtype.kind == "i")
        return described


def peak_macs_per_second(path: str | None = None, rounds: int = 20) -> float:
    """Multiply-accumulates that one core can do in registers alone, the best of some rounds.

    Args:
        path: instruction set, one of `FastEngine.paths()` but `portable`; the fastest if None.
        rounds: of about a millisecond.

    Raises:
        DesignError: if the path cannot run here or is the portable one.
    """
    peak = float(_library().hwflow_peak((path or "").encode(), rounds))
    if peak <= 0:
        raise DesignError(f"path {path or 'portable'!r} has no kernels on this machine")
    return peak


class _Array(ctypes.Structure):
    """`hwflow_array` of `sim/bindings/c_api.h`."""

    _fields_ = [
        ("operation", ctypes.c_int64),
        ("data", ctypes.c_void_p),
        ("item_bytes", ctypes.c_int32),
        ("is_signed", ctypes.c_int32),
    ]


class _Statistics(ctypes.Structure):
    """`hwflow_statistics` of `sim/bindings/c_api.h`."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in ("count", "minimum", "maximum", "saturated", "below", "wrapped")
    ]


_PROGRESS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int64, ctypes.c_void_p)


_REBUILD = "run `python setup.py build_ext --inplace` in the project's folder"


def _check_fresh(library: ctypes.CDLL) -> None:
    """Refuses a library that was compiled from other sources than those beside the package."""
    sources = source_digest(Path(__file__).resolve().parents[2])
    if not sources:
        return  # installed without them, in one piece with its library
    compiled = b""
    if hasattr(library, "hwflow_source_digest"):
        library.hwflow_source_digest.restype = ctypes.c_char_p
        compiled = library.hwflow_source_digest()
    if compiled.decode() != sources:
        raise ToolError(
            "hwflow.simulate: the simulation engine is stale: it was compiled from other sources "
            f"than those in sim/; {_REBUILD}"
        )


@functools.cache
def _library() -> ctypes.CDLL:
    found = sorted(Path(__file__).parent.glob("_engine*.so"))
    if not found:
        raise ToolError(f"hwflow.simulate: the simulation engine is not built; {_REBUILD}")
    library = ctypes.CDLL(str(found[0]))
    _check_fresh(library)
    handle, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "hwflow_paths": (text, []),
        "hwflow_load": (
            handle,
            [
                text,
                size,
                text,
                size,
                ctypes.c_int32,
                text,
                ctypes.POINTER(ctypes.c_int32),
                text,
                size,
            ],
        ),
        "hwflow_free": (None, [handle]),
        "hwflow_path": (text, [handle]),
        "hwflow_threads": (ctypes.c_int32, [handle]),
        "hwflow_arena_bytes": (size, [handle]),
        "hwflow_run": (
            ctypes.c_int32,
            [
                handle,
                ctypes.POINTER(_Array),
                size,
                ctypes.POINTER(_Array),
                size,
                size,
                ctypes.c_int32,
                _PROGRESS,
                ctypes.c_void_p,
                text,
                size,
            ],
        ),
        "hwflow_read_statistics": (None, [handle, ctypes.POINTER(_Statistics)]),
        "hwflow_reset_statistics": (None, [handle]),
        "hwflow_peak": (ctypes.c_double, [text, ctypes.c_int32]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _check(status: int, message: ctypes.Array[ctypes.c_char]) -> None:
    if status == _DONE:
        return
    text = message.value.decode(errors="replace")
    if status in (_BAD_PROGRAM, _BAD_INPUT):
        raise DesignError(text)
    if status == _CANCELLED:
        raise CancelledError(text)
    raise ToolError(f"the simulation engine failed: {text}")


def unused_bits(declared: FixedPoint, minimum: int, maximum: int) -> int:
    """Bits at the top of a format that no raw integer from `minimum` to `maximum` needs."""
    needed = max(maximum.bit_length(), (-minimum - 1).bit_length() if minimum < 0 else 0)
    return declared.width - needed - declared.signed

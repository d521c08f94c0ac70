"""IntegerGraph: the one truth about arithmetic.

A flat program of integer operations in the order of execution, with a proved `FixedPoint` on every
tensor, accumulators included. It knows neither Keras nor hls4ml.
"""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, IntArray
from hwflow.opset import (
    KINDS,
    Conv2D,
    Input,
    Operation,
    Tensor,
)
from hwflow.opset.base import UNSAID

FORMAT = "hwflow-integer-graph"
FORMAT_VERSION = 1

_UNREADABLE = (
    DesignError,
    AttributeError,
    EOFError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What reading damaged files can raise."""


@dataclass(frozen=True)
class IntegerGraph:
    """The network as integer operations.

    Attributes:
        name: of the design.
        operations: in order of execution, inputs first.
        outputs: names of the tensors that the hardware puts out.
        tensors: shape, format and reach of every operation's result, by its name.
    """

    name: str
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]

    @classmethod
    def build(
        cls, name: str, operations: Iterable[Operation], outputs: Iterable[str]
    ) -> IntegerGraph:
        """Infers and proves the format of every tensor from the operations.

        Formats that lose bits stand in the operations (`Input`, `Requantize`, `Table`); every other
        format is the narrowest that interval arithmetic over the actual weights allows.

        Raises:
            DesignError: for duplicated or unknown names, shapes that do not fit, units that do not
                align, or values beyond 64 bits.
        """
        order = tuple(operations)
        tensors: dict[str, Tensor] = {}
        for operation in order:
            tensors[operation.name] = infer(operation, tensors)
        chosen = tuple(outputs)
        for output in chosen:
            if output not in tensors:
                raise DesignError(f"output {output!r} is not made by any operation")
        return cls(name, order, chosen, tensors)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input tensors."""
        return tuple(op.name for op in self.operations if isinstance(op, Input))

    def operation(self, name: str) -> Operation:
        """The operation of that name; KeyError if there is none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Operation]:
        return {operation.name: operation for operation in self.operations}

    def consumers(self, name: str) -> tuple[Operation, ...]:
        """The operations that read a tensor, in order."""
        return self._consumers.get(name, ())

    @cached_property
    def _consumers(self) -> dict[str, tuple[Operation, ...]]:
        found: dict[str, tuple[Operation, ...]] = {}
        for operation in self.operations:
            for source in dict.fromkeys(operation.inputs):
                found[source] = (*found.get(source, ()), operation)
        return found

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image."""
        return sum(
            op.macs(*(self.tensors[source].shape for source in op.inputs)) for op in self.operations
        )

    @property
    def weight_bits(self) -> int:
        """Bits of all weights and biases, each at its declared width."""
        return sum(
            op.weights.size * op.weight_format.width
            + op.biases.size * max(1, FixedPoint.containing(*_extent(op.biases), 0).width)
            for op in self.operations
            if isinstance(op, Conv2D)
        )

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(
            op.weights.size + op.biases.size for op in self.operations if isinstance(op, Conv2D)
        )

    def evaluate(
        self,
        inputs: Mapping[str, npt.ArrayLike],
        keep: Callable[[str], bool] = lambda name: True,
    ) -> dict[str, IntArray]:
        """Runs the graph in NumPy.

        Args:
            inputs: raw integers of every input, shape `(N, H, W, C)`.
            keep: which tensors to return; others are freed once read for the last time.

        Returns:
            Raw integers by tensor name, shape `(N, H, W, C)`.

        Raises:
            DesignError: if an input is missing, has another shape or leaves its format's range.
        """
        return {
            name: values
            for name, values in self.stream(inputs)
            if keep(name) or name in self.outputs
        }

    def stream(self, inputs: Mapping[str, npt.ArrayLike]) -> Iterator[tuple[str, IntArray]]:
        """Runs the graph in NumPy and yields each tensor when it is made.

        What is yet to be read waits in the narrowest native integers that its format fits, and is
        freed once it has been read for the last time: memory holds the tensors that are alive
        between two operations, and one operation's operands and result as 64-bit integers.

        Args:
            inputs: raw integers of every input, shape `(N, H, W, C)`.

        Yields:
            A tensor's name and its raw integers, shape `(N, H, W, C)`, in the graph's order.

        Raises:
            DesignError: if an input is missing, has another shape or leaves its format's range.
        """
        last_use = {s: i for i, op in enumerate(self.operations) for s in op.inputs}
        waiting: dict[str, npt.NDArray[Any]] = {}
        for index, operation in enumerate(self.operations):
            if isinstance(operation, Input):
                values = _checked_input(operation, inputs)
            else:
                read = (waiting[source].astype(np.int64) for source in operation.inputs)
                values = operation.evaluate(*read)
            for source in set(operation.inputs):
                if last_use[source] == index:
                    del waiting[source]
            if operation.name in last_use:
                waiting[operation.name] = self.narrowed(operation.name, values)
            yield operation.name, values
            del values

    def narrowed(self, name: str, values: IntArray) -> npt.NDArray[Any]:
        """A tensor's raw integers in the narrowest native integers that its format fits.

        Raises:
            OverflowError: if a value is out of that range, which the tensor's proof excludes.
        """
        dtype = self.tensors[name].format.native
        reach = np.iinfo(dtype)
        if values.size and (values.min() < reach.min or values.max() > reach.max):
            raise OverflowError(f"{name}: a value leaves {self.tensors[name].format}")
        return values.astype(dtype)

    # --- files -------------------------------------------------------------------------------

    def to_files(self) -> dict[str, bytes]:
        """`integer_graph.json` and `integer_graph.npz`; the same graph gives the same bytes."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        program = []
        for operation in self.operations:
            attributes = {}
            for field in dataclasses.fields(operation):
                value = getattr(operation, field.name)
                if field.metadata == UNSAID and value == field.default:
                    continue
                if isinstance(value, np.ndarray):
                    key = f"{operation.name}/{field.name}"
                    arrays[key] = _narrowest(value)
                    attributes[field.name] = {"array": key}
                elif field.name not in ("name", "inputs") and value is not None:
                    attributes[field.name] = _to_json(value)
            program.append(
                {
                    "name": operation.name,
                    "kind": operation.kind,
                    "inputs": list(operation.inputs),
                    "attributes": attributes,
                }
            )
        tensors = {
            name: {
                "shape": list(tensor.shape),
                "format": tensor.format.to_json(),
                "divisor": tensor.divisor,
                "range": [int(tensor.interval.low.min()), int(tensor.interval.high.max())],
            }
            for name, tensor in self.tensors.items()
        }
        document = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "name": self.name,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "operations": program,
            "tensors": tensors,
        }
        return {
            "integer_graph.json": (json.dumps(document, indent=1) + "\n").encode(),
            "integer_graph.npz": _npz(arrays),
        }

    @classmethod
    def load(cls, folder: Path) -> IntegerGraph:
        """Reads the two files back and proves every format anew.

        Raises:
            DesignError: if a file is missing, malformed, of another version, or says other formats
                than its operations imply.
        """
        try:
            document = json.loads((folder / "integer_graph.json").read_text())
            if not isinstance(document, dict) or document.get("format") != FORMAT:
                raise ValueError("not an integer graph")
            if document["version"] != FORMAT_VERSION:
                raise ValueError(f"version {document['version']}, expected {FORMAT_VERSION}")
            content = io.BytesIO((folder / "integer_graph.npz").read_bytes())
            with np.load(content, allow_pickle=False) as arrays:
                operations = [_operation(entry, arrays) for entry in document["operations"]]
            graph = cls.build(document["name"], operations, document["outputs"])
            for name, tensor in graph.tensors.items():
                if tensor.format.to_json() != document["tensors"][name]["format"]:
                    raise ValueError(f"tensor {name!r} has another format than its operations")
        except _UNREADABLE as error:
            raise DesignError(f"{folder / 'integer_graph.json'}: {error}") from error
        return graph


def infer(operation: Operation, tensors: Mapping[str, Tensor]) -> Tensor:
    """Shape, proved format and reach of an operation's result.

    Args:
        operation: to be appended to a graph.
        tensors: what the operations before it make, by name.

    Raises:
        DesignError: as `IntegerGraph.build`.
    """
    if operation.name in tensors:
        raise DesignError(f"two operations are named {operation.name!r}")
    missing = [source for source in operation.inputs if source not in tensors]
    if missing:
        raise DesignError(
            f"{operation.name}: reads {missing[0]!r}, which no earlier operation makes"
        )
    try:
        return operation.infer(*(tensors[source] for source in operation.inputs))
    except ValueError as error:
        raise DesignError(f"{operation.name}: {error}") from error


def _checked_input(operation: Input, inputs: Mapping[str, npt.ArrayLike]) -> IntArray:
    if operation.name not in inputs:
        raise DesignError(f"input {operation.name!r} is missing")
    given = np.asarray(inputs[operation.name])
    if not np.issubdtype(given.dtype, np.integer):
        raise DesignError(f"input {operation.name!r} must be raw integers, not {given.dtype}")
    value = given.astype(np.int64)
    if value.ndim != 4 or value.shape[1:] != operation.shape:
        raise DesignError(
            f"input {operation.name!r} must have shape (N, {', '.join(map(str, operation.shape))}),"
            f" not {value.shape}"
        )
    low, high = operation.format.minimum, operation.format.maximum
    if value.size and (value.min() < low or value.max() > high):
        raise DesignError(f"input {operation.name!r} leaves its range of {low} to {high}")
    return value


def _extent(array: npt.NDArray[Any]) -> tuple[int, int]:
    return int(array.min(initial=0)), int(array.max(initial=0))


def _narrowest(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    low, high = _extent(array)
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return array.astype(dtype)
    return array.astype(np.int64)


def _npz(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A compressed .npz whose bytes depend on the arrays alone (no time stamps)."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            np.save(data, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)),
                data.getvalue(),
                zipfile.ZIP_DEFLATED,
            )
    return target.getvalue()


def _to_json(value: Any) -> Any:
    if isinstance(value, FixedPoint):
        return value.to_json()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return int(value) if isinstance(value, np.integer) else value


def _operation(entry: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Operation:
    kind = entry["kind"]
    if kind not in KINDS:
        raise ValueError(f"unknown operation kind {kind!r}")
    attributes: dict[str, Any] = {}
    for name, value in entry["attributes"].items():
        if isinstance(value, dict) and set(value) == {"array"}:
            attributes[name] = arrays[value["array"]].astype(np.int64)
        elif isinstance(value, dict):
            attributes[name] = FixedPoint(**value)
        else:
            attributes[name] = tuple(value) if isinstance(value, list) else value
    return KINDS[kind](name=entry["name"], inputs=tuple(entry["inputs"]), **attributes)

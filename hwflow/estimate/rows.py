"""Rows that describe layers and designs: the columns of a calibration table.

Columns that hold results are ignored. A column may be absent; what a row then lacks is said by
the estimator that needs it. A faulty cell spoils its row, not the table.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hwflow.errors import DesignError, Fault
from hwflow.estimate.precision import Precision, parse_precision

MAX_FILE_BYTES = 64 * 1024 * 1024

COUNT_LIMITS: dict[str, int] = {
    "n_in": 10**8,
    "n_out": 10**6,
    "n_chan": 10**6,
    "n_filt": 10**6,
    "in_h": 10**5,
    "in_w": 10**6,
    "out_h": 10**5,
    "out_w": 10**6,
    "kh": 1024,
    "kw": 1024,
    "sh": 1024,
    "sw": 1024,
    "rf_l": 10**8,
    "n_weights": 10**10,
    "n_zeros": 10**10,
    "n_nonzero_w": 10**10,
    "wuniq": 10**8,
}
"""Columns of whole numbers, each with the largest value that is believed."""

MAY_BE_ZERO = {"n_weights", "n_zeros", "n_nonzero_w", "wuniq"}
TYPE_COLUMNS = ("in_t", "out_t", "w_t", "b_t", "acc_t")
TEXT_COLUMNS = (
    "source_repo",
    "path",
    "tool",
    "part",
    "io_type",
    "strategy",
    "precision",
    "layer_or_model",
    "input_shape",
    "kernel",
    "stride",
    "kind",
    "config",
    "strategy_l",
    "impl",
    "ptype",
    "family",
)
NUMBER_COLUMNS = ("clock_ns", "reuse_factor")
RESULT_COLUMNS = (
    "latency_min",
    "latency_max",
    "ii",
    "ii_max",
    "lut",
    "ff",
    "dsp",
    "bram18",
    "uram",
    "clk_est",
)
DESCRIPTION_COLUMNS = {*COUNT_LIMITS, *TYPE_COLUMNS, *TEXT_COLUMNS, *NUMBER_COLUMNS}
KNOWN_COLUMNS = {*DESCRIPTION_COLUMNS, *RESULT_COLUMNS}

UNUSED_COLUMNS = {"b_t", "n_weights", "n_zeros", "wuniq"}
"""Columns that estimates do without: a fault there is a remark."""

_EMPTY = {"", "nan", "none", "null", "na", "n/a", "-"}
_SYMBOLS = {"n_chan": {"n_filt"}, "kh": {"pool_height"}, "kw": {"pool_width"}}
"""Names that a configuration writes in place of a number; the value stands in another column."""

_KINDS = {"", "layer", "model", "model_1layer", "model_impl"}
_IO_TYPES = {"", "io_parallel", "io_stream"}
_PRECISION_PART = re.compile(r"(in|w|b|acc|out)=(\S*)")


@dataclass(frozen=True)
class Row:
    """One layer or design, as far as the table describes it.

    Attributes:
        line: line in the file, from 1.
        kind: `layer`, `model` (a whole design), `model_1layer` or `model_impl`.
        name: what the table calls it.
        function: the template's function (`conv_2d_cl`), empty when unknown.
        fused: functions that the row counts in: `relu` of `dense+relu`.
        tool: tool and version.
        part: device part number.
        clock_ns: target clock period, none when unknown.
        io_type: `io_parallel` or `io_stream`; a type `array<...>` means the latter.
        strategy: `latency`, `resource` or empty.
        reuse_factor: reuse factor of the layer, none when unknown.
        counts: whole numbers by column.
        types: types by column, without the `_t`.
        input_shape: sizes as far as they are numbers.
        group: repository and path, the same for the rows of one design.
        impl: the configuration's implementation choice.
        faults: why the row cannot be estimated: its faulty cells, with their columns.
        remarks: faulty cells that estimates do without.
    """

    line: int
    kind: str
    name: str
    function: str
    fused: tuple[str, ...]
    tool: str
    part: str
    clock_ns: float | None
    io_type: str
    strategy: str
    reuse_factor: int | None
    counts: Mapping[str, int]
    types: Mapping[str, Precision]
    input_shape: tuple[int, ...]
    group: tuple[str, str]
    impl: str
    faults: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def vitis(self) -> bool:
        """Vitis HLS rather than Vivado HLS; taken for granted when the tool is unknown."""
        return "vivado" not in self.tool.lower()

    @property
    def tool_family(self) -> str:
        """`vitis` or `vivado`."""
        return "vitis" if self.vitis else "vivado"

    @property
    def seven_series(self) -> bool:
        """A 7-series device rather than UltraScale or later."""
        return self.part.lower().startswith(("xc7", "xa7", "xq7"))

    @property
    def stream(self) -> bool:
        """Whether values come over a stream."""
        return self.io_type == "io_stream"

    @property
    def target_ns(self) -> float:
        """The clock period, 5 ns when none is given."""
        return self.clock_ns if self.clock_ns is not None else 5.0

    def count(self, *columns: str) -> int | None:
        """The first of the columns that has a value."""
        for column in columns:
            if column in self.counts:
                return self.counts[column]
        return None

    def width(self, name: str, default: int = 16) -> int:
        """Bits of a type (`in out w b acc`), or the default."""
        return self.types[name].width if name in self.types else default


def read_rows(path: Path) -> list[Row]:
    """Reads a table.

    Returns:
        One row a line that has cells, in order.

    Raises:
        DesignError: if the file cannot be read as such a table.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise DesignError(Fault(str(path), "", "must be a CSV file, not a folder or device."))
        if size > MAX_FILE_BYTES:
            raise DesignError(
                Fault(
                    str(path),
                    "",
                    f"has {size} bytes; a table of layers may have {MAX_FILE_BYTES}. "
                    "Split it into several files.",
                )
            )
        data = path.read_bytes()
    except OSError as error:
        raise DesignError(Fault(str(path), "", f"cannot be read: {error.strerror}.")) from error
    if b"\0" in data:
        raise DesignError(Fault(str(path), "", "must be CSV text, but holds binary data."))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DesignError(
            Fault(str(path), "", f"must be CSV text in UTF-8, but byte {error.start} is not.")
        ) from error
    return parse_rows(text, str(path))


def parse_rows(text: str, where: str) -> list[Row]:
    """Reads a table from text; `where` names it in faults.

    Raises:
        DesignError: as `read_rows`.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        _check_header(header, where)
        rows.extend(
            _row(header, cells, reader.line_num)
            for cells in reader
            if len(cells) > 1 or (cells and cells[0].strip())
        )
    except csv.Error as error:
        raise DesignError(
            Fault(f"{where}:{reader.line_num}", "", f"is no CSV: {error}.")
        ) from error
    if not rows:
        raise DesignError(Fault(where, "", "holds a header and no rows; give one row a layer."))
    return rows


def _check_header(header: list[str], where: str) -> None:
    if not any(header):
        raise DesignError(Fault(where, "", "is empty; a header of column names must come first."))
    faults = [
        Fault(f"{where}:1", name, "stands twice among the columns; keep one.")
        for name in sorted({name for name in header if name and header.count(name) > 1})
    ]
    if not set(header) & DESCRIPTION_COLUMNS:
        faults.append(
            Fault(
                f"{where}:1",
                "layer_or_model",
                f"must be among the columns (a layer's name, its function in brackets: "
                f"conv1[conv_2d_cl]), but none that describes a layer is: "
                f"{', '.join(header)[:120]!r}.",
            )
        )
    if faults:
        raise DesignError(faults)


def _row(header: list[str], cells: list[str], line: int) -> Row:
    """A row; its faulty cells are left out and listed in it."""
    cell = {
        name: "" if value.strip().lower() in _EMPTY else value.strip()
        for name, value in zip(header, cells, strict=False)
    }
    faults = _Faults()
    if len(cells) > len(header):
        faults.add("", f"the row has {len(cells)} cells where the header names {len(header)}")
    elif not any(cell.values()):
        faults.add("", "the row is empty")
    counts = _counts(cell, faults)
    types = _types(cell, faults)
    kind = _choice(cell, "kind", _KINDS, faults)
    io_type = _choice(cell, "io_type", _IO_TYPES, faults)
    if any(precision.elements for precision in types.values()):
        io_type = "io_stream"
    name = cell.get("layer_or_model", "")
    strategy = cell.get("strategy_l", "") or cell.get("strategy", "")
    clock_ns = _clock(cell, faults)
    reuse_factor = counts.pop("rf_l", None)
    if reuse_factor is None:
        reuse_factor = _reuse_factor(cell, faults)
    _complete(counts, cell)
    functions = _functions(name, cell.get("impl", ""))
    return Row(
        line=line,
        kind=kind or ("model" if name and "[" not in name else "layer"),
        name=name,
        function=functions[0],
        fused=functions[1:],
        tool=cell.get("tool", ""),
        part=cell.get("part", ""),
        clock_ns=clock_ns,
        io_type=io_type or "io_parallel",
        strategy=strategy.lower(),
        reuse_factor=reuse_factor,
        counts=counts,
        types=types,
        input_shape=_shape(cell.get("input_shape", "")),
        group=(cell.get("source_repo", ""), cell.get("path", "")),
        impl=cell.get("impl", ""),
        faults=tuple(faults.spoiling),
        remarks=tuple(faults.remarks),
    )


class _Faults:
    """Faulty cells of a row: those that spoil it, and those that estimates do without."""

    def __init__(self) -> None:
        self.spoiling: list[str] = []
        self.remarks: list[str] = []

    def add(self, column: str, message: str) -> None:
        if column in UNUSED_COLUMNS:
            self.remarks.append(f"{column} is left out: it {message}")
        else:
            self.spoiling.append(f"{column} {message}" if column else message)


def _choice(cell: Mapping[str, str], column: str, known: set[str], faults: _Faults) -> str:
    text = cell.get(column, "").lower()
    if text in known:
        return text
    faults.add(column, f"must be one of {', '.join(sorted(known - {''}))}, not {text[:40]!r}")
    return ""


def _counts(cell: Mapping[str, str], faults: _Faults) -> dict[str, int]:
    counts: dict[str, int] = {}
    for column, limit in COUNT_LIMITS.items():
        text = cell.get(column, "")
        if not text or text in _SYMBOLS.get(column, set()) or (column == "n_filt" and text == "-1"):
            continue
        least = 0 if column in MAY_BE_ZERO else 1
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not (least <= value <= limit) or value != int(value):
            faults.add(column, f"must be a whole number from {least} to {limit}, not {text[:40]!r}")
            continue
        counts[column] = int(value)
    return counts


def _types(cell: Mapping[str, str], faults: _Faults) -> dict[str, Precision]:
    texts = {column[:-2]: cell.get(column, "") for column in TYPE_COLUMNS}
    for key, text in _PRECISION_PART.findall(cell.get("precision", "")):
        if not texts[key]:
            texts[key] = text
    types: dict[str, Precision] = {}
    for key, text in texts.items():
        if text:
            try:
                types[key] = parse_precision(text)
            except ValueError as error:
                faults.add(f"{key}_t", str(error))
    return types


def _clock(cell: Mapping[str, str], faults: _Faults) -> float | None:
    text = cell.get("clock_ns", "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.1 <= value <= 10_000:
        faults.add("clock_ns", f"must be a period from 0.1 to 10000 ns, not {text[:40]!r}")
        return None
    return value


def _reuse_factor(cell: Mapping[str, str], faults: _Faults) -> int | None:
    """The reuse factor of the `reuse_factor` column; of several (`9/36/72`) the largest."""
    text = cell.get("reuse_factor", "")
    if not text:
        return None
    values = []
    for part in text.split("/"):
        try:
            value = float(part)
        except ValueError:
            value = -1.0
        if not 1 <= value <= 10**8 or value != int(value):
            faults.add(
                "reuse_factor",
                f"must be a whole number from 1, or several between slashes, not {text[:40]!r}",
            )
            return None
        values.append(int(value))
    return max(values)


def _complete(counts: dict[str, int], cell: Mapping[str, str]) -> None:
    """Fills sizes that another column gives."""
    if cell.get("n_chan") == "n_filt" and "n_filt" in counts:
        counts["n_chan"] = counts["n_filt"]
    for column, pair in (("kernel", ("kh", "kw")), ("stride", ("sh", "sw"))):
        sizes = _shape(cell.get(column, ""))
        if len(sizes) == 2:
            for name, size in zip(pair, sizes, strict=True):
                counts.setdefault(name, size)
    if cell.get("kh") == "pool_height" and "sh" in counts:
        counts.setdefault("kh", counts["sh"])
    if cell.get("kw") == "pool_width" and "sw" in counts:
        counts.setdefault("kw", counts["sw"])
    shape = _shape(cell.get("input_shape", ""))
    axes: dict[int, tuple[str, ...]] = {3: ("in_h", "in_w", "n_chan"), 2: ("in_w", "n_chan")}
    names = axes.get(len(shape), ())
    for name, size in zip(names, shape, strict=False):
        counts.setdefault(name, size)


def _shape(text: str) -> tuple[int, ...]:
    """Sizes in `32x32x3` or `32,32,3`; nothing unless all are numbers from 1."""
    parts = [part.strip() for part in re.split(r"[x,*]", text)] if text else []
    if not parts or not all(part.isdecimal() and 1 <= int(part) <= 10**6 for part in parts):
        return ()
    return tuple(int(part) for part in parts)


def _functions(name: str, impl: str) -> tuple[str, ...]:
    """The template's functions in the brackets behind a name, the numbering of copies removed."""
    match = re.search(r"\[([^\]]*)\]\s*$", name)
    functions = []
    for part in (match[1] if match else "").lower().split("+"):
        function = re.sub(r"(_\d+)+$", "", part.strip()).removeprefix("nnet::")
        if function.startswith("conv_") and impl.endswith("::pointwise"):
            function = f"pointwise_{function}"
        functions.append(function)
    return tuple(functions)

"""Known failures of the vendor's tools: what they mean, and what to change in the design file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """An explanation of what a tool said.

    Attributes:
        key: short name of the failure.
        line: what the tool said.
        meaning: what it means.
        change: what to do about it.
    """

    key: str
    line: str
    meaning: str
    change: str

    def __str__(self) -> str:
        return f"{self.meaning}\n    change: {self.change}"


@dataclass(frozen=True)
class _Known:
    key: str
    pattern: re.Pattern[str]
    meaning: str
    change: str


def _known(key: str, pattern: str, meaning: str, change: str) -> _Known:
    return _Known(key, re.compile(pattern, re.IGNORECASE), meaning, change)


# Message numbers as the tools print them: Vivado HLS 2018.2 to 2020.1, Vitis HLS 2020.2 to 2025.2,
# Vivado; UG902, UG1399, and threads in the trackers of hls4ml and its neighbours.
_FAILURES = (
    _known(
        "disk",
        r"no space left on device|disk (is )?full|error writing .*: no space",
        "the disk is full",
        "free some space; finished stages are kept, so start the same command again",
    ),
    _known(
        "memory",
        r"out of memory|bad_alloc|cannot allocate memory|virtual memory exhausted|"
        r"memory allocation (failed|failure)",
        "the machine has too little memory for this design",
        "synthesize layer by layer (--per-layer, fewer --workers), or make {layer} smaller: "
        "a greater {key}.reuse_factor means fewer multipliers in parallel",
    ),
    _known(
        "licence",
        r"valid license was not found|no (valid )?license|licen[cs]e.*(not found|denied|"
        r"unavailable|expired|checkout failed|could not be)|failed to (get|check ?out).*licen[cs]e",
        "there is no licence for this tool or part",
        "set XILINXD_LICENSE_FILE or choose in hardware.part a device that the free edition covers",
    ),
    _known(
        "part",
        r"part '?\S*'? .*(not installed|not found|not supported|does not exist)|"
        r"(specified part|part name).*(could not be found|cannot be found|not found|invalid)|"
        r"cannot find .*\bpart\b|failed to set part|no parts matched",
        "the device is not installed with this tool",
        "install its device family, or set hardware.part to one that is installed",
    ),
    _known(
        "unroll",
        r"(XFORM 203-504|200-1471)|stop unrolling loop|unroll.*(limit|too large|exceed)",
        "a loop is unrolled beyond what the tool accepts (4096 copies, or too much code)",
        "raise {key}.reuse_factor so that fewer products of {layer} are made at once",
    ),
    _known(
        "partition",
        r"partitioned elements number|partition.*(ex+c?eed|exeed|too many|limit|threshold)|"
        r"XFORM 203-103",
        "an array is split into more registers than the tool accepts (4096; vivado_hls 1024)",
        "raise {key}.reuse_factor, or set {key}.storage: bram so that the array stays a memory",
    ),
    _known(
        "width",
        r"(bit-?width|word|aggregat|reshap).*(larger|greater|exceed|more).*(65536|65535|4096|limit)",
        "a word is wider than the tool accepts (65,536 bits in memory, 4,096 at a port)",
        "raise {key}.reuse_factor: fewer weights are then read in one word",
    ),
    _known(
        "deadlock",
        r"deadlock",
        "the co-simulation stands still: a FIFO is too shallow for the streams that join there",
        "this is a fault of the FIFO depths, not of the design file: report it with the log; "
        "`hwflow build --force` computes the depths anew",
    ),
    _known(
        "simulation",
        r"SIM 211-100|CSim failed|C\+?\+? ?simulation failed|nonzero return value|"
        r"SIM 212-(361|4)|COSIM.*failed|C/RTL co-simulation.*fail",
        "the testbench found values that differ, or did not run",
        "`hwflow verify PROJECT` names the first tensor that differs; the tool's own log is above",
    ),
    _known(
        "compile",
        r"(error: .*(no member|undeclared|expected|no matching|not found))|"
        r"HLS 207-\d+|compilation errors? found|SIM 211-200",
        "the tool's compiler refuses the code",
        "hardware.backend must be the tool's ({backends}); vivado_hls knows C++11 only",
    ),
    _known(
        "y2k22",
        r"bad lexical cast",
        "tools before 2022 cannot pack IP since 2022: the date overflows their revision number",
        "install the vendor's patch AR76960, or leave the export out (it is not needed here)",
    ),
    _known(
        "timing",
        r"timing constraints are not met|HLS 200-(871|1016).*|"
        r"estimated clock period .* exceeds the target",
        "the clock is too fast for the logic",
        "a longer hardware.clock_period_ns, or a greater {key}.reuse_factor",
    ),
)

_NOTES = (
    _FAILURES[-1],
    _known(
        "urem",
        r"[us](rem|div)_\d+n?s?_|\burem\b",
        "the tool builds a divider for an index, slow and large",
        "choose {key}.reuse_factor as a divisor of the layer's inputs, or a multiple of them",
    ),
    _known(
        "interval",
        r"HLS 200-880|unable to (satisfy|enforce).*(II|initiation interval|carried dependence)|"
        r"II violation",
        "a loop does not reach its initiation interval, so {layer} takes longer than planned",
        "nothing has to change; a greater {key}.reuse_factor asks less of the memories",
    ),
)


def _advice(known: _Known, line: str, layers: Sequence[str]) -> Advice:
    named = []
    for layer in layers:
        written = re.escape(re.sub(r"\W", "_", layer))  # as C++ has it
        if re.search(rf"(?<![A-Za-z0-9]){written}(?![A-Za-z0-9])", line):
            named.append(layer)
    layer = max(named, key=len) if named else ""
    fields = {
        "layer": layer or "the layer that the message names",
        "key": f"hardware.layers.{layer}" if layer else "hardware",
        "backends": "vitis for vitis-run and vitis_hls, vivado for vivado_hls",
    }
    return Advice(known.key, line, known.meaning.format(**fields), known.change.format(**fields))


def explain(
    lines: Iterable[str], layers: Sequence[str] = (), exit_status: int = 1
) -> tuple[Advice, ...]:
    """What the error lines of a log mean, the first of each kind.

    Args:
        lines: error lines.
        layers: names of the design's layers, to say whose key to change.
        exit_status: of the tool; -9 and 137 mean that the system ended it, as it does when memory
            runs out.
    """
    found = _match(_FAILURES, lines, layers)
    if exit_status in (-9, 137) and not any(advice.key == "memory" for advice in found):
        memory = next(known for known in _FAILURES if known.key == "memory")
        found = (*found, _advice(memory, f"ended by the system ({exit_status})", layers))
    return found


def remarks(lines: Iterable[str], layers: Sequence[str] = ()) -> tuple[Advice, ...]:
    """What to know about a run that succeeded, from its warnings and modules."""
    return _match(_NOTES, lines, layers)


def _match(
    known: Sequence[_Known], lines: Iterable[str], layers: Sequence[str]
) -> tuple[Advice, ...]:
    found: dict[str, Advice] = {}
    for line in lines:
        for entry in known:
            if entry.pattern.search(line):
                found.setdefault(entry.key, _advice(entry, line, layers))
                break
    return tuple(found.values())

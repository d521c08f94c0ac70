"""Estimates of our own kernels: what the plan counts, with what is known of its error.

There are no vendor results of these kernels until some are ingested. Their uncertainty is
transferred: residuals of the hls4ml layers whose rules they share (products, memories, FIFOs,
cycles), doubled, and never below what is claimed where another kind of layer stands in. Results
that were ingested take its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hwflow.estimate.coefficients import Coefficients, shipped
from hwflow.estimate.estimator import BORROWED_ERROR, with_route
from hwflow.estimate.figures import CYCLES, FIGURES, Estimate, Figure, Source

OUTSIDE = ("own kernels",)
"""What says that no result of such a layer is in the calibration data."""

TRANSFER_FACTOR = 2.0
"""By how much an error grows on its way from hls4ml's layers to other kernels of the same rules."""

LEAST_ERROR = {"lut": BORROWED_ERROR, "ff": BORROWED_ERROR}
LEAST_COUNT_ERROR = 0.1
"""Least relative error of what is counted: blocks and cycles."""

MOST_ERROR = 1.0
"""Greatest relative error transferred: more says only that nothing is known."""

FEW_ROWS = 4
"""Results below which their spread says too little of the error that remains."""

QUARTILES_TO_DEVIATION = 1.349
"""Distance of the quartiles of a normal distribution in standard deviations."""

_COMPARABLE = {
    **dict.fromkeys(
        ("matrix_vector", "depthwise", "sliding_window", "parallel_window"), "convolution"
    ),
    **dict.fromkeys(("max_pool", "window_sum", "global_sum"), "pooling"),
}
_OTHERS = "activation"
_CSYNTH_STAGES = ("csynth", "csynth_per_layer")
_VIVADO_STAGES = ("routed", "placed", "synthesized")


@dataclass(frozen=True)
class KernelLayer:
    """A layer as the plan counts it.

    Attributes:
        name: of the layer.
        kernels: names of the kernels that make it up.
        figures: by the names in `FIGURES`.
    """

    name: str
    kernels: tuple[str, ...]
    figures: Mapping[str, int]


@dataclass(frozen=True)
class KernelEstimates:
    """A design of our own kernels.

    Attributes:
        whole: of the design.
        layers: by name, in the order of the data.
        notes: what was recalibrated.
    """

    whole: Estimate
    layers: Mapping[str, Estimate]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`whole`, `layers` (a list in order, each with its `name`) and `notes`."""
        return {
            "whole": self.whole.to_json(),
            "layers": [{"name": name, **item.to_json()} for name, item in self.layers.items()],
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Results:
    """What the vendor's reports say of a design.

    Attributes:
        csynth: figures of the whole design by high-level synthesis.
        vivado: the same by logic synthesis or implementation.
        csynth_layers: by layer.
        vivado_layers: by layer.
    """

    csynth: Mapping[str, int] = field(default_factory=dict)
    vivado: Mapping[str, int] = field(default_factory=dict)
    csynth_layers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    vivado_layers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @classmethod
    def of_metrics(cls, metrics: Mapping[str, Any], design: str) -> Results:
        """What `metrics.json` holds of ingested reports."""
        vendor = metrics.get("vendor", {})
        found: dict[str, dict[str, int]] = {"csynth": {}, "vivado": {}}
        for name, figure in vendor.get("figures", {}).items():
            stage = figure.get("stage", "")
            if not _is_bound(stage, name):
                found.get(_column(stage), {})[name] = figure["value"]
        for report in vendor.get("reports", ()):
            column = _column(report.get("stage", ""))
            if column and report.get("top", design) == design:
                values = {**report, "latency_cycles": report.get("latency_cycles_max")}
                values["initiation_interval_cycles"] = report.get("initiation_interval_max")
                for name in FIGURES:
                    if values.get(name) is not None:
                        found[column].setdefault(name, values[name])
        layers = vendor.get("per_layer", {})
        return cls(
            _known(found["csynth"]),
            _known(found["vivado"]),
            layers.get("csynth", {}),
            next((layers[stage] for stage in _VIVADO_STAGES if layers.get(stage)), {}),
        )


def _is_bound(stage: str, figure: str) -> bool:
    """Whether a figure is no result but a bound: layers synthesized alone, one after the other."""
    return stage == "csynth_per_layer" and figure == "latency_cycles"


def _column(stage: str) -> str:
    if stage in _CSYNTH_STAGES or stage == "cosim":
        return "csynth"
    return "vivado" if stage in _VIVADO_STAGES else ""


def _known(values: Mapping[str, int]) -> dict[str, int]:
    return {name: int(values[name]) for name in FIGURES if name in values}


def estimate_kernels(
    layers: Sequence[KernelLayer],
    whole: Mapping[str, int],
    vitis: bool,
    *,
    results: Results | None = None,
    factors: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None,
    coefficients: Coefficients | None = None,
) -> KernelEstimates:
    """The figures of a design and its layers, each with source and uncertainty, in two columns.

    Args:
        layers: as the plan counts them.
        whole: figures of the design, by the names in `FIGURES`.
        vitis: Vitis HLS rather than Vivado HLS.
        results: of the vendor's tools, which take the place of estimates.
        factors: by stage and figure: what earlier results say estimates have to be multiplied by
            (`factor`, the quartiles `low` and `high`, and how many `rows` they come from).
        coefficients: errors and ratios; those shipped by default.
    """
    known = shipped() if coefficients is None else coefficients
    given, local = results or Results(), factors or {}
    found = {layer.name: _layer(layer, vitis, known) for layer in layers}
    total = _whole(whole, list(found.values()))
    notes = _notes(local)
    finished = {
        name: _finish(
            item, local, given.csynth_layers.get(name, {}), given.vivado_layers.get(name, {}), known
        )
        for name, item in found.items()
    }
    return KernelEstimates(
        _finish(total, local, given.csynth, given.vivado, known), finished, notes
    )


def _layer(layer: KernelLayer, vitis: bool, known: Coefficients) -> Estimate:
    figures = {
        name: Figure(
            layer.figures[name],
            _transferred(layer.kernels, name, vitis, known),
            Source.RULE,
            outside=OUTSIDE,
        )
        for name in FIGURES
    }
    return Estimate("kernels", figures)


def _transferred(kernels: Iterable[str], figure: str, vitis: bool, known: Coefficients) -> float:
    """The error that residuals of comparable hls4ml layers lead to expect."""
    errors = []
    for family in sorted({_COMPARABLE.get(kernel, _OTHERS) for kernel in kernels}):
        regime = f"{'vitis' if vitis else 'vivado'}_resource"
        pooled = known.errors.get(f"{family}/{figure}", BORROWED_ERROR)
        errors.append(known.errors.get(f"{family}/{regime}/{figure}", pooled))
    least = LEAST_ERROR.get(figure, LEAST_COUNT_ERROR)
    error = min(TRANSFER_FACTOR * max(errors, default=0.0), MOST_ERROR)
    return round(max(error, least), 3)


def _whole(values: Mapping[str, int], layers: Sequence[Estimate]) -> Estimate:
    """The design: errors of layers are of the same kind, so they add up, not their squares."""
    figures = {}
    for name in FIGURES:
        parts = [layer.figures[name] for layer in layers]
        sizes = [max(part.value or 0, 1) for part in parts]
        if name in CYCLES:  # those of the slowest layer
            sizes = [size if size == max(sizes) else 0 for size in sizes]
        errors = [(part.uncertainty or 0.0) * size for part, size in zip(parts, sizes, strict=True)]
        error = sum(errors) / max(sum(sizes), 1)
        figures[name] = Figure(values[name], round(error, 3), Source.RULE, outside=OUTSIDE)
    return Estimate("kernels", figures)


# --- results of the vendor's tools ---------------------------------------------------------------


def _finish(
    raw: Estimate,
    factors: Mapping[str, Mapping[str, Mapping[str, float]]],
    csynth: Mapping[str, int],
    vivado: Mapping[str, int],
    known: Coefficients,
) -> Estimate:
    """Both columns: results where there are any, else estimates, recalibrated where possible."""
    local = _factors(factors, _CSYNTH_STAGES)
    figures = {
        name: Figure(int(csynth[name]), 0.0, Source.CSYNTH)
        if name in csynth
        else _recalibrated(figure, local.get(name))
        for name, figure in raw.figures.items()
    }
    routed = with_route(replace(raw, figures=figures), known).after_route
    local = _factors(factors, _VIVADO_STAGES)
    after = {}
    for name, figure in routed.items():
        if name in vivado:
            after[name] = Figure(int(vivado[name]), 0.0, Source.VIVADO)
        elif name in local and name not in csynth:
            after[name] = _recalibrated(raw.figures[name], local[name])
        else:
            after[name] = figure
    after["uram"] = figures["uram"]  # placed as it was asked for
    if "uram" in vivado:
        after["uram"] = Figure(int(vivado["uram"]), 0.0, Source.VIVADO)
    return replace(raw, figures=figures, after_route=after)


def _factors(
    factors: Mapping[str, Mapping[str, Mapping[str, float]]], stages: Sequence[str]
) -> dict[str, Mapping[str, float]]:
    """By figure: the factor of the first of the stages that has one."""
    found: dict[str, Mapping[str, float]] = {}
    for stage in stages:
        for name, factor in factors.get(stage, {}).items():
            if not _is_bound(stage, name):
                found.setdefault(name, factor)
    return found


def _recalibrated(figure: Figure, factor: Mapping[str, float] | None) -> Figure:
    if factor is None or figure.value is None or figure.uncertainty is None:
        return figure
    middle = factor["factor"]
    spread = (factor["high"] - factor["low"]) / QUARTILES_TO_DEVIATION / max(middle, 0.01)
    error = max(spread, LEAST_COUNT_ERROR)
    if factor["rows"] < FEW_ROWS:
        error = max(error, figure.uncertainty / 2)
    return Figure(round(figure.value * middle), round(error, 3), Source.FITTED)


def _notes(factors: Mapping[str, Mapping[str, Mapping[str, float]]]) -> tuple[str, ...]:
    found = []
    for column, stages in (("csynth", _CSYNTH_STAGES), ("vivado", _VIVADO_STAGES)):
        for name, factor in sorted(_factors(factors, stages).items()):
            if name in FIGURES:
                found.append(
                    f"{name} ({column}) recalibrated: x {factor['factor']:g}, from "
                    f"{factor['rows']:g} results of earlier syntheses"
                )
    return tuple(found)

"""Estimates of designs and projects of our own kernels, from what the plan counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwflow.errors import DesignError, Fault
from hwflow.estimate.figures import CYCLES, FIGURES
from hwflow.estimate.kernels import KernelEstimates, KernelLayer, Results, estimate_kernels
from hwflow.progress import Progress
from hwflow.recalibration import Factors, local_factors


@dataclass(frozen=True)
class ProjectEstimate:
    """What a design takes, estimated or read from reports.

    Attributes:
        design: its name.
        part: device.
        clock_period_ns: asked for.
        estimates: of the whole and of each layer.
    """

    design: str
    part: str
    clock_period_ns: float
    estimates: KernelEstimates

    def to_json(self) -> dict[str, Any]:
        """What the command prints with `--json`."""
        return {
            "design": self.design,
            "part": self.part,
            "clock_period_ns": self.clock_period_ns,
            **self.estimates.to_json(),
        }


def of_project(folder: Path) -> ProjectEstimate:
    """The figures of a built project; ingested results take the place of estimates.

    Raises:
        DesignError: if the folder is no project, or the table of results beside it is damaged.
    """
    metrics, plan = (_read(folder / name) for name in ("metrics.json", "plan.json"))
    return _estimate(metrics, plan, folder)


def of_design(
    design: Path, output: Path = Path("hls_projects"), progress: Progress | None = None
) -> ProjectEstimate:
    """The figures of a design: it is planned, not built.

    Raises:
        DesignError: if it cannot be planned, or the table of results in `output` is damaged.
    """
    from hwflow import flow

    metrics, plan = flow.planned(design, output, progress)
    return _estimate(metrics, plan, output / str(metrics["design"]))


def _estimate(metrics: Mapping[str, Any], plan: Mapping[str, Any], folder: Path) -> ProjectEstimate:
    try:
        return ProjectEstimate(
            metrics["design"],
            metrics["hardware"]["part"],
            _planned(metrics, "latency")["clock_period_ns"],
            of_metrics(metrics, plan, local_factors(folder)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DesignError(
            Fault(str(folder), "", f"is no whole project ({error!r}); run hwflow build")
        ) from error


def of_metrics(
    metrics: Mapping[str, Any], plan: Mapping[str, Any], factors: Factors
) -> KernelEstimates:
    """Estimates from what `metrics.json` and `plan.json` hold.

    Raises:
        KeyError: if the plan's figures are not all there.
    """
    resources, latency = _planned(metrics, "resources"), _planned(metrics, "latency")
    kernels: dict[str, list[str]] = {name: [] for name in resources["per_layer"]}
    for process in plan["processes"]:
        kernels.setdefault(process["layer"], []).append(process["kernel"])
    cycles = layer_cycles(plan)
    layers = [
        KernelLayer(
            name,
            tuple(kernels[name]),
            {**dict.fromkeys(CYCLES, 0), **row, **cycles.get(name, {})},
        )
        for name, row in resources["per_layer"].items()
    ]
    whole = {name: (latency if name in CYCLES else resources)[name] for name in FIGURES}
    results = Results.of_metrics(metrics, metrics["design"]) if "vendor" in metrics else None
    vitis = metrics["hardware"]["backend"] == "vitis"
    return estimate_kernels(layers, whole, vitis, results=results, factors=factors)


def layer_cycles(plan: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Latency and interval of each layer: those of its slowest function."""
    slowest: dict[str, int] = {}
    for process in plan["processes"]:
        layer = process["layer"]
        slowest[layer] = max(slowest.get(layer, 0), process["cycles"])
    return {layer: dict.fromkeys(CYCLES, cycles) for layer, cycles in slowest.items()}


def _planned(metrics: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    """What the plan said, whether or not results have taken its place."""
    found: Mapping[str, Any] = metrics.get("estimates", {}).get(section) or metrics[section]
    return found


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DesignError(
            Fault(
                str(path.parent), "", f"holds no {path.name}: give a design file or a built project"
            )
        ) from error
    except (OSError, ValueError) as error:
        raise DesignError(Fault(str(path), "", f"cannot be read: {error}")) from error

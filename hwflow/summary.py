"""What the commands show on the terminal, from the same dictionaries that `--json` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from hwflow.doctor import Finding
    from hwflow.networks.family import Family


_FIGURES = {
    "lut": "LUT",
    "ff": "FF",
    "dsp": "DSP",
    "bram_18k": "BRAM18",
    "uram": "URAM",
    "latency_cycles": "latency",
    "initiation_interval_cycles": "interval",
}


def _console() -> Console:
    return Console(highlight=False, markup=False)


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _pairs(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    return table


def verification_line(verification: Mapping[str, Any]) -> str:
    """One line: `exact: 3 witnesses, 4 images, 14,000,000 values compared, 0 differ`."""
    status = verification.get("status", "skipped")
    if status == "skipped":
        return "skipped: nothing was compared"
    witnesses = verification.get("witnesses", [])
    return (
        f"{status}: {len(witnesses)} witnesses ({', '.join(map(str, witnesses))}), "
        f"{_number(verification.get('images', 0))} images, "
        f"{_number(verification.get('values_compared', 0))} values compared, "
        f"{_number(verification.get('mismatches', 0))} differ"
    )


def print_build(project: Path | None, metrics: Mapping[str, Any]) -> None:
    """The end of a build, the verdict in the last line; `project` is None if none was published."""
    rows = [
        (label, _number(metrics[key]))
        for label, key in (
            ("design", "design"),
            ("network", "network"),
            ("parameters", "parameters"),
            ("MACs an image", "macs"),
            ("weight bits", "weight_bits"),
        )
        if key in metrics
    ]
    for output in metrics.get("outputs", []):
        shape = " x ".join(map(str, output["shape"]))
        rows.append(("output", f"{output['name']}: {shape}, {output['format']}"))
    if "calibration" in metrics:
        rows.append(("calibration", calibration_line(metrics["calibration"])))
    rows += _hardware_rows(metrics)
    timings = metrics.get("timings_s", {})
    if timings:
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in timings.items())
        rows.append(("seconds", f"{sum(timings.values()):.1f} ({steps})"))
    rows.append(("project", "not published: stopped by --to" if project is None else str(project)))
    console = _console()
    console.print(_pairs(rows))
    print_verification(metrics.get("verification", {}))


def calibration_line(calibration: Mapping[str, Any]) -> str:
    """One line: `8 images on integers: clipped conv1 0.3%; top bits unused pool10 1`."""
    clipped = ", ".join(f"{name} {share:.2g}%" for name, share in _percent(calibration["clipped"]))
    unused = ", ".join(f"{name} {bits}" for name, bits in calibration["unused_bits"].items())
    return (
        f"{_number(calibration['images'])} images on integers: clipped {clipped or 'nothing'}; "
        f"top bits unused {unused or 'none'}"
    )


def _percent(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(name, 100 * share) for name, share in shares.items()]


def _hardware_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Size and speed, with where they come from."""
    rows = []
    resources, latency = metrics.get("resources"), metrics.get("latency")
    estimate = metrics.get("estimate", {})
    if estimate:
        for label, suffix in (("csynth", ""), ("place and route", "_vivado")):
            rows.append((f"figures, {label}", _figures(estimate["whole"], suffix)))
        rows += [("note", note) for note in estimate["notes"]]
    if resources:
        used = ", ".join(
            f"{kind} {_number(resources[kind])}" for kind in _FIGURES if kind in resources
        )
        fits = {True: "fits", False: "does not fit", None: "unknown device"}[resources["fits"]]
        rows.append((f"resources ({resources['source']})", f"{used}: {fits}"))
        if not resources["fits"] and "verdict" in resources:
            rows.append(("fit", resources["verdict"]))
            rows += _needs(resources.get("devices", {}))
    if latency:
        parts = [
            text.format(latency[key])
            for key, text in (
                ("frames_per_second", "{:.1f} frames/s"),
                ("initiation_interval_cycles", "interval {:,} cycles"),
                ("latency_cycles", "latency {:,} cycles"),
                ("bottleneck", "bottleneck {}"),
            )
            if key in latency  # a report may lack any of them
        ]
        if latency.get("load_cycles"):
            parts.append(f"weights loaded in {latency['load_cycles']:,} cycles at start-up")
        rows.append((f"speed ({latency['source']})", ", ".join(parts)))
    return rows


def _needs(devices: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What exceeds every listed device is told of each, the largest first."""
    from hwflow.plan.fit import excesses

    if any(device["fits"] for device in devices.values()):
        return []
    return [(f"needs, of {name}", excess) for name, excess in excesses(devices)]


def _figures(whole: Mapping[str, Any], suffix: str) -> str:
    """Every figure with its source and how far it may be off."""
    cells = []
    for name, label in _FIGURES.items():
        value = whole.get(f"{name}{suffix}")
        if value is None:
            continue
        error = whole[f"{name}{suffix}_uncertainty"]
        cells.append(f"{label} {value:,} ({whole[f'{name}{suffix}_source']} ±{error:.0%})")
    return ", ".join(cells)


def print_verification(verification: Mapping[str, Any]) -> None:
    """Layers that differ, if any, and the verdict."""
    console = _console()
    wrong = [layer for layer in verification.get("layers", []) if layer.get("mismatches")]
    if wrong:
        table = Table("tensor", "values", "differ")
        for layer in wrong:
            table.add_row(
                str(layer["name"]), _number(layer.get("values", "")), _number(layer["mismatches"])
            )
        console.print(table)
    console.print(verification_line(verification), soft_wrap=True)


def print_check(summary: Mapping[str, Any]) -> None:
    """The layers of a design, and its totals."""
    table = Table("layer", "kind", "shape")
    table.add_column("parameters", justify="right")
    table.add_column("MACs", justify="right")
    for layer in summary.get("layers", []):
        shape = " x ".join(map(str, layer.get("shape", ())))
        counts = [_number(layer.get(key, 0)) for key in ("parameters", "macs")]
        table.add_row(str(layer.get("name")), str(layer.get("kind")), shape, *counts)
    console = _console()
    console.print(table)
    totals = [
        (key.replace("_", " "), _number(value))
        for key, value in summary.items()
        if isinstance(value, str | int | float)
    ]
    console.print(_pairs(totals))


def describe_family(family: Family) -> dict[str, Any]:
    """A family and its parameters, JSON-ready."""
    schema = family.parameters.model_json_schema()
    required = schema.get("required", [])
    return {
        "name": family.name,
        "summary": family.summary,
        "source": family.source,
        "parameters": [
            {
                "name": name,
                "required": name in required,
                "default": field.get("default"),
                "description": field.get("description", ""),
            }
            for name, field in schema.get("properties", {}).items()
        ],
    }


def print_networks(families: Sequence[Mapping[str, Any]]) -> None:
    """Every family with its parameters."""
    console = _console()
    for family in families:
        console.print(f"{family['name']}: {family['summary']}\n  {family['source']}")
        table = Table("parameter", "default", "what it is")
        for parameter in family["parameters"]:
            default = "(required)" if parameter["required"] else _plain(parameter["default"])
            table.add_row(parameter["name"], default, parameter["description"])
        console.print(table)


def _plain(value: Any) -> str:
    return "null" if value is None else str(value)


def print_findings(findings: Sequence[Finding]) -> None:
    """The result of `hwflow doctor`."""
    table = Table("", "what", "found", "")
    for finding in findings:
        mark = "ok" if finding.ok else "MISSING" if finding.required else "-"
        table.add_row(mark, finding.name, finding.found, "" if finding.ok else finding.hint)
    _console().print(table)

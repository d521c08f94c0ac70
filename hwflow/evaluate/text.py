"""An evaluation on the terminal, from the same dictionary that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from hwflow.simulate.statistics import lost_share

_MOST_TENSORS = 20
_WIDTH = 120  # columns of what is no terminal


def print_evaluation(result: Mapping[str, Any], console: Console | None = None) -> None:
    """Tables of accuracy, agreement, confusion and, where gathered, of tensors."""
    shown = console or Console(highlight=False, markup=False)
    if not shown.is_terminal:
        shown.width = max(shown.width, _WIDTH)
    percent = f"{result['confidence']:.0%}"
    shown.print(f"{result['project']}: {result['images']:,} images, {result['classes']:,} classes")
    shown.print(_accuracy(result["witnesses"], percent))
    if result["agreement"]:
        shown.print(_agreement(result["agreement"], percent))
    for name, pair in result["agreement"].items():
        if pair.get("equality_proved") is False:
            shown.print(
                f"{name}: float32 cannot hold every sum of this network, so logits may differ; "
                "hwflow verify compares in float64 too",
                soft_wrap=True,
            )
    for name, found in result["witnesses"].items():
        if found["most_confused"]:
            pairs = ", ".join(f"{a} as {b} ({n})" for a, b, n in found["most_confused"][:5])
            shown.print(f"{name} takes most often {pairs}", soft_wrap=True)
        if found["ties"]:
            shown.print(f"{name}: {found['ties']:,} ties for top-1, which the lower class wins")
    if "statistics" in result:
        print_statistics(result["statistics"], shown)


def _accuracy(witnesses: Mapping[str, Any], percent: str) -> Table:
    table = _table("", "top-1", percent, "top-5", percent, "images/s")
    for name, found in witnesses.items():
        fifth = _rate(found["top5"]) if found["top5"] else ("-", "-")
        table.add_row(name, *_rate(found["top1"]), *fifth, f"{found['images_per_second']:,.1f}")
    return table


def _agreement(pairs: Mapping[str, Any], percent: str) -> Table:
    table = _table(
        "", "same top-1", percent, "first alone right", "second alone right", "same logits"
    )
    for name, pair in pairs.items():
        equal = pair.get("equal_logits")
        table.add_row(
            name,
            *_rate(pair["top1"]),
            f"{pair['first_alone_right']:,}",
            f"{pair['second_alone_right']:,}",
            _rate(equal)[0] if equal else "-",
        )
    return table


def print_statistics(statistics: Mapping[str, Any], console: Console) -> None:
    """Tensors by how often they leave their range, then those that never use their top bits."""
    ordered = sorted(statistics.items(), key=lambda item: (-lost_share(item[1]), item[0]))
    table = _table(
        "tensor", "format", "least", "greatest", "above", "below", "wrapped", "unused bits"
    )
    for name, seen in ordered[:_MOST_TENSORS]:
        above = seen["saturated"] - seen["below"]
        table.add_row(
            name,
            seen["format"],
            f"{seen['minimum']:,}",
            f"{seen['maximum']:,}",
            *(_share(value, seen["count"]) for value in (above, seen["below"], seen["wrapped"])),
            str(seen["unused_bits"]),
        )
    console.print(table)
    if len(ordered) > _MOST_TENSORS:
        console.print(f"and {len(ordered) - _MOST_TENSORS} more tensors in evaluation.json")
    unused = [(seen["unused_bits"], name) for name, seen in ordered if seen["unused_bits"] > 0]
    if unused:
        most = ", ".join(f"{name} ({bits})" for bits, name in sorted(unused, reverse=True)[:10])
        console.print(f"bits that no value used: {most}", soft_wrap=True)


def _share(value: int, count: int) -> str:
    return f"{100 * value / count:.3g}%"


def _rate(value: Mapping[str, Any]) -> tuple[str, str]:
    return f"{value['rate']:.1%}", f"{value['low']:.1%} - {value['high']:.1%}"


def _table(*names: str) -> Table:
    table = Table(*names, box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(table.columns):
        column.no_wrap = True
        column.justify = "right" if index else "left"
    return table

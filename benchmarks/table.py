"""What `results.json` holds, as Markdown, and its place in `docs/performance.md`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BEGIN = "<!-- figures: written by `python -m benchmarks` from benchmarks/results.json -->"
END = "<!-- end of figures -->"


def render(results: Mapping[str, Any]) -> str:
    """The results as Markdown tables.

    Args:
        results: numbers, texts and lists of them make one table of two columns; a mapping of plain
            values makes a table of its own, and a mapping of mappings one with a column each.
    """
    plain = {name: value for name, value in results.items() if not isinstance(value, Mapping)}
    parts = [_table(["figure", "value"], [[_code(n), _cell(v)] for n, v in plain.items()])]
    for name, value in results.items():
        if isinstance(value, Mapping):
            parts.append(f"**{_words(name)}**\n\n{_mapping(value)}")
    return "\n".join(parts)


def in_document(document: str, results: Mapping[str, Any]) -> str:
    """The document with the results between its two marks.

    Raises:
        ValueError: if it has not each mark once, in their order.
    """
    before, begin, rest = document.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end or BEGIN in old + after or END in after:
        raise ValueError(f"the document must hold each once, in this order: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{render(results)}\n{END}{after}"


def _mapping(value: Mapping[str, Any]) -> str:
    if value and all(isinstance(column, Mapping) for column in value.values()):
        rows = dict.fromkeys(row for column in value.values() for row in column)
        last = [row for row in rows if row.startswith("whole")]
        ordered = [row for row in rows if row not in last] + last
        return _table(
            ["", *value],
            [
                [_words(r), *(_cell(column.get(r, "-")) for column in value.values())]
                for r in ordered
            ],
        )
    return _table(["", ""], [[_words(row), _cell(entry)] for row, entry in value.items()])


def _table(header: list[str], rows: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, rule, *rows])


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_cell(entry) for entry in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(name)} {_cell(entry)}" for name, entry in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("|", r"\|")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _code(name: str) -> str:
    return f"`{name}`"

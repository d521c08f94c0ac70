"""Activations without a table: ReLU and its kin, linear, hard tanh and hard sigmoid."""

from __future__ import annotations

from collections.abc import Mapping

from hwflow.estimate import rules
from hwflow.estimate.registry import Family
from hwflow.estimate.rows import Row


class Activation(Family):
    """Comparisons, rounding and saturation of each element.

    Source: hls4ml 1.3 templates `nnet_activation.h`, `nnet_activation_stream.h`.
    """

    name = "activation"
    functions = frozenset(
        {"relu", "relu1", "relu6", "relu_max", "linear", "hard_tanh", "hard_sigmoid", "thresholded"}
    )

    def missing(self, row: Row) -> str | None:
        if "in" not in row.types:
            return "the row gives no input type"
        return None if row.count("n_in") or row.stream else "the row gives no n_in"

    def regime(self, row: Row, figure: str) -> str:
        out = row.types.get("out")
        if row.function.startswith("hard"):
            kind = "hard"
        elif figure == "lut" and out is not None and (out.rounds or out.saturates):
            kind = "rounding"
        else:
            kind = "plain"
        return f"{'stream' if row.stream else 'parallel'}_{kind}"

    def rule(self, row: Row, figure: str) -> float | None:
        if figure in ("uram", "bram_18k", "dsp"):
            return 0.0
        if figure == "latency_cycles":
            return float(_latency(row))
        if figure == "initiation_interval_cycles":
            whole = row.stream and (_beats(row) > 1 or row.vitis)
            return float(_latency(row) if whole else 1)
        if figure == "ff" and not row.stream and _latency(row) == 0:
            return 0.0
        if row.function == "linear" and figure == "lut" and row.types["in"] == row.types.get("out"):
            return 0.0
        return None

    def terms(self, row: Row, figure: str) -> Mapping[str, float]:
        data = row.types["in"]
        out = row.types.get("out", data)
        lanes = _lanes(row)
        if figure == "ff":
            registered = row.seven_series and row.target_ns < 20 and _beats(row) > 1
            return {
                "fixed": 1.0,
                "counter": float(_beats(row).bit_length()),
                "registers": float(lanes * data.width) if registered or not row.stream else 0.0,
                "wide_registers": float(lanes * max(data.width - 18, 0)),
            }
        cut = max(data.fraction_bits - out.fraction_bits, 0)
        return {
            "fixed": 1.0 if row.stream else 0.0,
            "select": float(lanes * out.width),
            "compare": float(lanes * data.width),
            "round": float(lanes * out.width) if out.rounds and cut else 0.0,
            "saturate": float(lanes * max(data.integer_bits - out.integer_bits, 1))
            if out.saturates
            else 0.0,
        }

    def ranges(self, row: Row) -> Mapping[str, float]:
        return {"elements": _lanes(row), "in_width": row.width("in")}


def _lanes(row: Row) -> int:
    return row.types["in"].elements or row.count("n_in") or 1


def _beats(row: Row) -> int:
    return rules.ceil_div(row.count("n_in") or 1, _lanes(row)) if row.stream else 1


def _latency(row: Row) -> int:
    beats = _beats(row)
    if not row.stream:
        return int(row.target_ns < 4 and row.seven_series)
    if beats == 1:
        return 3 if row.vitis else 0
    if row.vitis:
        return beats + (4 if row.function.startswith("hard") else 2)
    deep = row.seven_series and row.target_ns < 20
    return beats + 2 + deep + (row.width("in") > 18)


FAMILY = Activation()

"""Fits the coefficients: `python -m hwflow.estimate.fit --data DIR`.

The same data gives the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hwflow.errors import DesignError
from hwflow.estimate import calibration
from hwflow.estimate.calibration import Measured, distinct, usable
from hwflow.estimate.coefficients import FILE_NAME, Coefficients
from hwflow.estimate.estimator import estimate_layer
from hwflow.estimate.figures import FIGURES
from hwflow.estimate.fitting import fit_terms
from hwflow.estimate.registry import Family, families, family_of

SINGLE_SOURCE_FACTOR = 2.0
"""By how much the error grows where a single repository backs it: it cannot be tried elsewhere."""

LEAST_RELATIVE_SCALE = 1.0


def pools(measured: Sequence[Measured]) -> dict[str, list[Measured]]:
    """The samples of each `pool/figure` that is fitted, repeated ones left out."""
    groups: dict[str, list[Measured]] = defaultdict(list)
    for sample in measured:
        family = family_of(sample.row)
        if family is None:
            continue
        for figure in FIGURES:
            if usable(sample, figure) and family.rule(sample.row, figure) is None:
                groups[f"{family.pool(sample.row, figure)}/{figure}"].append(sample)
    return {key: distinct(group, key.rsplit("/", 1)[1]) for key, group in sorted(groups.items())}


def fit_pool(key: str, samples: Sequence[Measured]) -> dict[str, float]:
    """Weights of one pool and figure."""
    figure = key.rsplit("/", 1)[1]
    terms = [_terms(sample, figure) for sample in samples]
    values = [sample.results[figure] for sample in samples]
    return fit_terms(terms, values, _shares(samples))


def fit(measured: Sequence[Measured]) -> Coefficients:
    """Everything that ships: weights, errors, ranges, and ratios to logic synthesis."""
    plain = Coefficients(
        weights={key: fit_pool(key, samples) for key, samples in pools(measured).items()},
        ranges=_ranges(measured),
        after_route={
            name: (ratio, calibration.HLS_TO_VIVADO_SPREAD[name])
            for name, ratio in calibration.HLS_TO_VIVADO.items()
        },
    )
    return replace(plain, errors=_errors(measured, plain))


def by_repository(sample: Measured) -> str:
    """Groups samples by who published them."""
    return sample.repository


def by_layer(sample: Measured) -> str:
    """Groups samples by repository and the layer's size, whatever else was varied."""
    family = family_of(sample.row)
    counts = [sample.row.counts.get(name, 0) for name in ("n_in", "n_out", "n_filt", "in_h")]
    return f"{sample.repository} {family.name if family else ''} {counts}"


def held_out(
    measured: Sequence[Measured],
    plain: Coefficients,
    group: Callable[[Measured], str] = by_repository,
) -> dict[str, list[tuple[Measured, str, float, float]]]:
    """Every result beside its prediction from the *other* groups, by default repositories.

    Returns:
        By figure: the sample, the key `family/regime/figure`, the prediction, the result.
    """
    out: dict[str, list[tuple[Measured, str, float, float]]] = defaultdict(list)
    groups = pools(measured)
    for name in sorted({group(sample) for sample in measured}):
        weights = {}
        for key, samples in groups.items():
            kept = [sample for sample in samples if group(sample) != name]
            if len(kept) == len(samples):
                weights[key] = plain.weights[key]
            elif kept:
                weights[key] = fit_pool(key, kept)
        others = replace(plain, weights=weights)
        for figure in FIGURES:
            mine = [s for s in measured if group(s) == name and usable(s, figure)]
            for sample in distinct(mine, figure):
                family = family_of(sample.row)
                predicted = estimate_layer(sample.row, others).value(figure)
                if family is not None and predicted is not None:
                    key = f"{family.name}/{family.regime(sample.row, figure)}/{figure}"
                    actual = sample.results[figure]
                    out[figure].append((sample, key, float(predicted), actual))
    return out


def _terms(sample: Measured, figure: str) -> Mapping[str, float]:
    family = family_of(sample.row)
    assert family is not None  # samples were chosen by their family
    return family.terms(sample.row, figure)


def _shares(samples: Sequence[Measured]) -> list[float]:
    """A repository counts as the square root of its samples, so that none drowns the others."""
    counts: dict[str, int] = defaultdict(int)
    for sample in samples:
        counts[sample.repository] += 1
    return [1.0 / math.sqrt(counts[sample.repository]) for sample in samples]


def _ranges(measured: Sequence[Measured]) -> dict[str, dict[str, tuple[float, float]]]:
    ranges: dict[str, dict[str, tuple[float, float]]] = {family.name: {} for family in families()}
    seen = set()
    for sample in measured:
        family: Family | None = family_of(sample.row)
        if family is None or not usable(sample, "lut"):
            continue
        seen.add(family.name)
        known = ranges[family.name]
        for name, value in family.ranges(sample.row).items():
            low, high = known.get(name, (value, value))
            known[name] = (min(low, value), max(high, value))
    return {name: known for name, known in ranges.items() if name in seen}


def _errors(measured: Sequence[Measured], plain: Coefficients) -> dict[str, float]:
    """Relative standard deviations of held-out residuals, by regime and by family."""
    backing = {
        key: {sample.repository for sample in samples} for key, samples in pools(measured).items()
    }
    residuals: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for figure, results in held_out(measured, plain).items():
        for sample, key, predicted, actual in results:
            value = predicted
            family = family_of(sample.row)
            assert family is not None  # held-out samples have one
            pool = f"{family.pool(sample.row, figure)}/{figure}"
            if family.rule(sample.row, figure) is None and len(backing[pool]) < 2:
                own = estimate_layer(sample.row, plain).value(figure)
                value = float(own) if own is not None else predicted
            relative = (actual - value) / max(value, LEAST_RELATIVE_SCALE)
            residuals[key].append((sample.repository, relative))
            residuals[f"{family.name}/{figure}"].append((sample.repository, relative))
    errors = {}
    for key, pairs in residuals.items():
        by_repository: dict[str, list[float]] = defaultdict(list)
        for repository, relative in pairs:
            by_repository[repository].append(min(relative * relative, 4.0))
        spread = math.sqrt(
            sum(sum(squares) / len(squares) for squares in by_repository.values())
            / len(by_repository)
        )
        if len(by_repository) < 2:
            spread = max(spread, 0.05) * SINGLE_SOURCE_FACTOR
        errors[key] = float(f"{spread:.3g}")
    return errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the coefficients file."""
    parser = argparse.ArgumentParser(prog="hwflow.estimate.fit", description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with calibration.csv")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).with_name(FILE_NAME),
        help="file to write (default: the package's own)",
    )
    options = parser.parse_args(arguments)
    try:
        _, measured = calibration.load(options.data)
        options.output.write_text(fit(measured).dumps(), encoding="utf-8")
    except DesignError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{options.output}: cannot be written: {error.strerror}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A sample of `make fuzz`: random operations of every kind, on every path, equal to NumPy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from hwflow.opset import KINDS
from tests import fuzz_engine
from tests.fuzz_engine import Tally, run_program
from tests.support import operation_cases


@pytest.fixture(scope="module")
def sample() -> Tally:
    total = Tally()
    for index in range(40):
        total.add(run_program(7, index))
    return total


def test_a_sample_of_random_operations_is_equal(sample: Tally) -> None:
    assert sample.failures == []
    assert sample.cases.total() == 4000
    assert set(sample.cases) == set(KINDS)
    assert min(sample.cases.values()) >= 4000 // (2 * len(operation_cases.kinds()))


def test_every_attribute_of_every_kind_is_varied(sample: Tally) -> None:
    """What a generator leaves at its default would never be compared."""
    for kind, operation in KINDS.items():
        for field in dataclasses.fields(operation):
            if field.name not in ("name", "inputs"):
                values = sample.fields[f"{kind}.{field.name}"]
                assert len(values) > 1, f"{kind}.{field.name} is always the same"


def test_a_kind_without_a_generator_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(operation_cases.GENERATORS, "multiply")
    with pytest.raises(LookupError, match=r"no generator for \['multiply'\]"):
        operation_cases.kinds()


def test_a_value_that_differs_is_told_with_its_case(monkeypatch: pytest.MonkeyPatch) -> None:
    predict = fuzz_engine.FastEngine.predict

    def wrong(self: fuzz_engine.FastEngine, *arguments: object) -> dict[str, np.ndarray]:
        found = predict(self, *arguments)  # type: ignore[arg-type]
        next(iter(found.values())).flat[0] ^= 1
        return found

    monkeypatch.setattr(fuzz_engine.FastEngine, "predict", wrong)
    tally = run_program(7, 1, 3)
    assert len(tally.failures) == len(fuzz_engine.FastEngine.paths())
    assert "differs:\n  input" in tally.failures[0]
    assert run_program(7, 1, 3).fields == tally.fields  # the seed says all

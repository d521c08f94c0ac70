"""FastEngine: what it takes, gives and refuses."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, Overflow, Rounding
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D, Input, Requantize
from hwflow.simulate import fast
from hwflow.simulate.fast import CancelledError, FastEngine, TensorStatistics

INPUT_FORMAT = FixedPoint(8, 4)


def small_graph(overflow: Overflow = Overflow.SAT) -> IntegerGraph:
    weights = np.array([1, 2, -3, 4, 5, -6], np.int64).reshape(1, 1, 2, 3)
    kept = FixedPoint(6, 4, rounding=Rounding.TRN, overflow=overflow)
    return IntegerGraph.build(
        "small",
        [
            Input("x", (), (2, 2, 2), INPUT_FORMAT),
            Conv2D("sums", ("x",), weights, np.array([1, 2, 3]), FixedPoint(4, 4)),
            Requantize("y", ("sums",), kept, 4),
        ],
        ["y"],
    )


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(-128, 128, (count, 2, 2, 2))


def test_outputs_alone_are_returned_unless_told_otherwise() -> None:
    graph, x = small_graph(), images(3)
    expected = graph.evaluate({"x": x})
    engine = FastEngine(graph)
    assert set(engine.predict({"x": x})) == {"y"}
    assert set(engine.predict({"x": x}, keep=["sums"])) == {"sums", "y"}
    everything = engine.predict({"x": x}, keep=lambda name: True)
    assert list(everything) == ["x", "sums", "y"]
    for name, values in everything.items():
        np.testing.assert_array_equal(values, expected[name])
        assert values.dtype == np.int32


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", ">i4"])
def test_every_integer_type_is_taken(dtype: str) -> None:
    graph, x = small_graph(), images(2)
    result = FastEngine(graph).predict({"x": x.astype(dtype)})
    np.testing.assert_array_equal(result["y"], graph.evaluate({"x": x})["y"])


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8"])
def test_unsigned_types_keep_their_values(dtype: str) -> None:
    graph = small_graph()
    x = np.arange(8, dtype=dtype).reshape(1, 2, 2, 2) + np.array(120, dtype)
    result = FastEngine(graph).predict({"x": x})
    np.testing.assert_array_equal(result["y"], graph.evaluate({"x": x})["y"])
    with pytest.raises(DesignError, match="leaves its range of -128 to 127"):
        FastEngine(graph).predict({"x": x + np.array(1, dtype)})


def test_a_view_with_gaps_is_taken() -> None:
    graph, x = small_graph(), images(6)
    result = FastEngine(graph).predict({"x": x[::2]})
    np.testing.assert_array_equal(result["y"], graph.evaluate({"x": x[::2]})["y"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "input 'x' is missing"),
        ({"x": np.zeros((1, 2, 2, 2))}, "must be raw integers, not float64"),
        ({"x": np.zeros((1, 2, 3, 2), int)}, r"must have shape \(N, 2, 2, 2\), not \(1, 2, 3, 2\)"),
        ({"x": np.full((1, 2, 2, 2), 128)}, "input 'x' leaves its range of -128 to 127"),
        ({"x": np.full((1, 2, 2, 2), 2**63, np.uint64)}, "beyond 63 bits"),
    ],
)
def test_unfit_inputs_are_refused(given: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(DesignError, match=message):
        FastEngine(small_graph()).predict(given)


def test_inputs_must_hold_the_same_number_of_images() -> None:
    graph = IntegerGraph.build(
        "two", [Input(name, (), (1, 1, 1), INPUT_FORMAT) for name in "ab"], ["a", "b"]
    )
    a, b = np.zeros((2, 1, 1, 1), int), np.zeros((3, 1, 1, 1), int)
    with pytest.raises(DesignError, match=r"different numbers of images: \[2, 3\]"):
        FastEngine(graph).predict({"a": a, "b": b})
    np.testing.assert_array_equal(FastEngine(graph).predict({"a": a, "b": a})["b"], a)


def test_unknown_tensors_threads_and_paths_are_refused() -> None:
    graph = small_graph()
    with pytest.raises(DesignError, match="tensor 'z' is not in the graph"):
        FastEngine(graph).predict({"x": images(1)}, keep=["z"])
    with pytest.raises(DesignError, match="threads must be from 0 to 256"):
        FastEngine(graph, threads=-1)
    with pytest.raises(
        DesignError, match=r"path .abacus. cannot run on this machine; it has .*portable"
    ):
        FastEngine(graph, path="abacus")


def test_paths_end_with_the_portable_one_and_the_first_is_taken() -> None:
    paths = FastEngine.paths()
    assert paths[-1] == "portable"
    assert FastEngine(small_graph()).path == paths[0]
    assert FastEngine(small_graph(), 3, "portable").threads == 3


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("count", [2, 9])
def test_progress_counts_the_images_and_can_stop(threads: int, count: int) -> None:
    graph = small_graph()
    engine = FastEngine(graph, threads)
    told: list[tuple[int, int]] = []
    engine.predict({"x": images(count)}, progress=lambda *state: told.append(state))
    assert told[-1] == (count, count)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    with pytest.raises(CancelledError):
        engine.predict({"x": images(200)}, progress=lambda done, total: False)

    def interrupted(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.predict({"x": images(200)}, progress=interrupted)
    x = images(count)
    np.testing.assert_array_equal(engine.predict({"x": x})["y"], graph.evaluate({"x": x})["y"])


@pytest.mark.parametrize("watched", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_library_runs_stops_it(
    number: signal.Signals, watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal finds no line of Python but the first of the function that the library calls."""

    class TerminatedError(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise TerminatedError

    engine = FastEngine(small_graph(), 1)
    run, calls = engine._library.hwflow_run, []

    def interrupted(*arguments: object) -> int:
        signal.raise_signal(number)
        return int(run(*arguments))

    monkeypatch.setattr(engine._library, "hwflow_run", interrupted)
    before = signal.signal(number, handler)
    try:
        with pytest.raises(TerminatedError):
            engine.predict({"x": images(200)}, progress=calls.append if watched else None)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    assert not calls


@pytest.mark.parametrize("progress", [None, lambda done, total: None])
def test_an_interrupt_stops_a_long_run_at_once(progress: object) -> None:
    engine, x = FastEngine(small_graph(), 1), images(4000)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT))

    def predict_for_ever() -> None:
        timer.start()
        while True:
            engine.predict({"x": x}, progress=progress)

    with pytest.raises(KeyboardInterrupt):
        predict_for_ever()
    timer.join()


def test_a_handler_that_raises_nothing_lets_the_run_go_on() -> None:
    engine, x, seen = FastEngine(small_graph()), images(3), []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        result = engine.predict({"x": x}, progress=lambda *state: signal.raise_signal(2))
    finally:
        signal.signal(signal.SIGINT, before)
    assert set(seen) == {signal.SIGINT}
    np.testing.assert_array_equal(result["y"], small_graph().evaluate({"x": x})["y"])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("path", FastEngine.paths())
@pytest.mark.parametrize("overflow", Overflow)
def test_statistics_are_those_of_all_values(path: str, threads: int, overflow: Overflow) -> None:
    graph = small_graph(overflow)
    engine = FastEngine(graph, threads, path, statistics=True)
    assert engine.statistics == {}
    parts = [images(1), images(7)]
    for part in parts:
        engine.predict({"x": part})
    values = graph.evaluate({"x": np.concatenate(parts)})
    exact = values["sums"] >> 2
    lost = int(np.sum(exact != values["y"]))
    assert lost > 0
    below = int(np.sum(exact < graph.tensors["y"].format.minimum))
    assert 0 < below < lost
    wraps = overflow is Overflow.WRAP
    for name, tensor in values.items():
        seen = engine.statistics[name]
        assert (seen.count, seen.minimum, seen.maximum) == (tensor.size, tensor.min(), tensor.max())
        assert (seen.saturated, seen.below, seen.wrapped) == (
            (0, 0, 0) if name != "y" else (0, 0, lost) if wraps else (lost, below, 0)
        )
    engine.reset_statistics()
    assert engine.statistics == {}


@pytest.mark.parametrize(
    ("low", "high", "unused"), [(0, 7, 4), (-8, 7, 4), (-9, 1, 3), (-128, 0, 0)]
)
def test_unused_bits_are_the_top_bits_that_no_value_needed(
    low: int, high: int, unused: int
) -> None:
    graph = IntegerGraph.build("g", [Input("x", (), (1, 1, 2), INPUT_FORMAT)], ["x"])
    engine = FastEngine(graph, statistics=True)
    engine.predict({"x": np.array([low, high]).reshape(1, 1, 1, 2)})
    assert engine.statistics["x"] == TensorStatistics(2, low, high, 0, 0, 0, unused)


def test_statistics_must_be_asked_for() -> None:
    with pytest.raises(ValueError, match="statistics=True"):
        _ = FastEngine(small_graph()).statistics


def test_no_images_give_empty_arrays() -> None:
    result = FastEngine(small_graph()).predict({"x": images(0)})
    assert result["y"].shape == (0, 2, 2, 3)


def test_a_program_that_declares_another_format_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = small_graph()
    files = graph.to_files()
    document = json.loads(files["integer_graph.json"])
    document["tensors"]["sums"]["format"]["width"] -= 1
    files["integer_graph.json"] = json.dumps(document).encode()
    monkeypatch.setattr(IntegerGraph, "to_files", lambda self: files)
    with pytest.raises(DesignError, match=r"tensors\.sums: declared .*but its operation makes"):
        FastEngine(graph)


def test_a_missing_library_says_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(fast, "__file__", f"{tmp_path}/fast.py")
    fast._library.cache_clear()
    try:
        with pytest.raises(fast.ToolError, match="the simulation engine is not built"):
            FastEngine(small_graph())
    finally:
        fast._library.cache_clear()


def test_a_stale_library_says_how_to_build_it_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is stale if the sources beside the package are not those that it was compiled from."""
    library = fast._library()
    package = tmp_path / "hwflow" / "simulate"
    package.mkdir(parents=True)
    monkeypatch.setattr(fast, "__file__", str(package / "fast.py"))
    fast._check_fresh(library)  # no sources: installed in one piece with its library
    sources = Path(fast.FastEngine.__init__.__code__.co_filename).parents[2] / "sim"
    shutil.copytree(sources, tmp_path / "sim")
    fast._check_fresh(library)
    (tmp_path / "sim" / "src" / "notes.txt").write_text("not compiled")
    fast._check_fresh(library)
    engine = tmp_path / "sim" / "src" / "engine.cpp"
    engine.write_text(engine.read_text() + "\n")
    with pytest.raises(fast.ToolError, match=r"is stale.*setup\.py build_ext --inplace"):
        fast._check_fresh(library)
    with pytest.raises(fast.ToolError, match="is stale"):  # one that does not tell is too old
        fast._check_fresh(ctypes.CDLL(None))


def test_ten_thousand_predictions_leak_nothing() -> None:
    engine, x = FastEngine(small_graph(), 1), images(1)
    mallinfo = ctypes.CDLL(None).mallinfo2

    class Info(ctypes.Structure):
        _fields_ = [(f"field{index}", ctypes.c_size_t) for index in range(10)]

    mallinfo.restype = Info
    for _ in range(100):
        engine.predict({"x": x})
    gc.collect()
    before = mallinfo().field7  # bytes in use
    for _ in range(10_000):
        engine.predict({"x": x})
    gc.collect()
    assert mallinfo().field7 - before < 10_000  # less than a byte a prediction


def test_a_thousand_engines_leave_nothing_behind() -> None:
    """Neither weights nor arenas nor threads: each engine holds more than 300 kB."""
    weights = np.ones((3, 3, 64, 256), np.int64)
    graph = IntegerGraph.build(
        "large",
        [
            Input("x", (), (16, 16, 64), INPUT_FORMAT),
            Conv2D("y", ("x",), weights, np.zeros(256, np.int64), FixedPoint(4, 4)),
        ],
        ["y"],
    )
    files = graph.to_files()

    class Written:
        """A graph whose files are written once."""

        to_files = staticmethod(lambda: files)

        def __getattr__(self, name: str) -> object:
            return getattr(graph, name)

    def resident_bytes() -> int:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    x = np.zeros((2, 16, 16, 64), np.int64)
    seen = []
    for index in range(1000):
        engine = FastEngine(Written(), 2)  # type: ignore[arg-type]
        if index % 50 == 0:
            engine.predict({"x": x})
        if index == 100:
            held = engine.arena_bytes
            seen.append((resident_bytes(), threads()))
        del engine
    assert held > 200_000
    assert resident_bytes() - seen[0][0] < 20_000_000  # of 900 engines
    assert threads() <= seen[0][1]


def test_the_peak_is_that_of_the_kernels() -> None:
    for path in FastEngine.paths()[:-1]:
        assert fast.peak_macs_per_second(path, 1) > 0
    with pytest.raises(DesignError, match="has no kernels"):
        fast.peak_macs_per_second("portable", 1)

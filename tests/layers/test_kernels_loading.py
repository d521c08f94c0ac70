"""Weights that are loaded into memories at start-up, against the integer operations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.fixed_point import FixedPoint, IntArray
from hwflow.hls import loading
from hwflow.integer_graph import IntegerGraph
from hwflow.opset import Conv2D
from hwflow.plan.choices import Choices
from hwflow.plan.folding import Fold
from hwflow.plan.loading import load_words, loads_of
from hwflow.plan.mapping import map_graph
from hwflow.plan.streams import StreamGraph
from hwflow.sections import LayerHardware
from tests.support.kernel_cases import conv_graph, emitted_case, extreme_images
from tests.support.kernel_harness import FAST, STRICT, Case, run_cases
from tests.support.plan_graphs import Builder

UINT8 = FixedPoint(8, 3, False)
INT8 = FixedPoint(8, 2)


def check(
    batch: list[tuple[IntegerGraph, Case, IntArray]],
    folder: Path,
    flags: tuple[str, ...] = STRICT,
) -> None:
    results = run_cases([(case, [images]) for _, case, images in batch], folder, flags)
    for (graph, case, images), found in zip(batch, results, strict=True):
        assert "load_rows" in case.definitions
        values = graph.evaluate({graph.inputs[0]: images})
        for name, result in zip(graph.outputs, found, strict=True):
            np.testing.assert_array_equal(result.reshape(values[name].shape), values[name])


def loaded(graph: IntegerGraph, fold: Fold, **more: object) -> Case:
    names = [op.name for op in graph.operations if isinstance(op, Conv2D)]
    return emitted_case(
        graph,
        uram_load_port=True,
        storages=dict.fromkeys(names, "uram"),
        folds=dict.fromkeys(names, fold),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("width", [2, 3, 5, 8, 11, 16, 24])
def test_every_width_and_fold(width: int, tmp_path: Path) -> None:
    """Rows of less than a word of the port, of exactly one, and of several with some to spare."""
    rng = np.random.default_rng(width)
    weights = FixedPoint(width, 1)
    batch = []
    for groups, folds in ((1, ((1, 1), (2, 3), (6, 9), (2, 9), (6, 1))), (3, ((2, 3), (1, 1)))):
        graph = conv_graph(
            rng, (4, 3, 6), (2, 2), 9, UINT8, weights, UINT8, groups=groups, padding=(1, 0, 1, 0)
        )
        images = extreme_images(rng, (4, 3, 6), UINT8)
        batch += [(graph, loaded(graph, Fold(*fold)), images) for fold in folds]
    graph = conv_graph(rng, (3, 4, 6), (3, 3), 12, INT8, weights, INT8, groups=6)
    images = extreme_images(rng, (3, 4, 6), INT8)
    batch += [(graph, loaded(graph, Fold(1, pe)), images) for pe in (1, 3, 6)]
    check(batch, tmp_path)


def signs(rng: np.random.Generator, shape: tuple[int, int, int, int], groups: int) -> IntegerGraph:
    """Weights that are all -1 or 1."""
    inputs = (4, 3, shape[2] * groups)
    graph = conv_graph(
        rng, inputs, shape[:2], shape[3], UINT8, FixedPoint(2, 2), UINT8, groups=groups
    )
    changed = [
        dataclasses.replace(op, weights=rng.choice([-1, 1], shape))
        if isinstance(op, Conv2D)
        else op
        for op in graph.operations
    ]
    return IntegerGraph.build(graph.name, changed, graph.outputs)


def test_weights_of_one_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    batch = []
    for shape, groups, folds in (
        ((2, 2, 6, 9), 1, ((1, 1), (3, 3), (6, 9))),
        ((3, 3, 1, 5), 5, ((1, 1), (1, 5))),
        ((1, 1, 8, 80), 1, ((8, 80), (2, 5))),
    ):
        graph = signs(rng, shape, groups)
        images = extreme_images(rng, graph.tensors["x"].shape, UINT8)
        for fold in folds:
            case = loaded(graph, Fold(*fold))
            assert "weight_width = 1;" in case.definitions
            batch.append((graph, case, images))
    check(batch, tmp_path)


def test_as_optimised_for_simulation(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    batch = []
    for fold, width in ((Fold(16, 8), 8), (Fold(4, 8), 4)):
        graph = conv_graph(rng, (6, 5, 16), (3, 3), 16, UINT8, FixedPoint(width, 1), UINT8)
        batch.append((graph, loaded(graph, fold), extreme_images(rng, (6, 5, 16), UINT8)))
    check(batch, tmp_path, FAST)


def test_channels_with_their_own_scales(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    shifts = np.array([0, 7, 3, 1, 0, 2])
    graph = conv_graph(rng, (3, 4, 4), (2, 2), 6, UINT8, INT8, UINT8, channel_shifts=shifts)
    images = extreme_images(rng, (3, 4, 4), UINT8)
    check([(graph, loaded(graph, Fold(2, pe)), images) for pe in (1, 3)], tmp_path)


def three_layers(seed: int = 0) -> IntegerGraph:
    """Two branches of a convolution that meet again."""
    build = Builder((5, 4, 3), seed)
    one = build.convolution("image", "one", 6)
    sides = [build.convolution(one, "two", 4), build.convolution(one, "three", 4)]
    return build.build(build.requantize(build.add(sides, "sum"), "out"))


LAYERS = ("one", "two", "three")


def test_several_layers_share_the_port(tmp_path: Path) -> None:
    graph = three_layers()
    images = extreme_images(np.random.default_rng(1), (5, 4, 3), graph.tensors["image"].format)
    batch = []
    for names in (LAYERS, ("one", "three"), ("two",)):
        case = emitted_case(graph, uram_load_port=True, storages=dict.fromkeys(names, "uram"))
        assert case.call.count("deal_words") == len(names) - 1
        batch.append((graph, case, images))
    check(batch, tmp_path)


def planned(graph: IntegerGraph, names: tuple[str, ...] = LAYERS) -> StreamGraph:
    layer = LayerHardware(None, "auto")
    storages = dict.fromkeys(names, "uram")
    return map_graph(graph, Choices(lambda name: layer, uram_load_port=True, storages=storages))


def halved(graph: IntegerGraph, names: tuple[str, ...] = LAYERS) -> IntegerGraph:
    """The same network with other weights, whose sums fit those of the first."""
    operations = [
        dataclasses.replace(op, weights=op.weights // 2)
        if isinstance(op, Conv2D) and op.name in names
        else op
        for op in graph.operations
    ]
    return IntegerGraph.build("other", operations, graph.outputs)


def test_a_second_load_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """The memories keep what was loaded from call to call, until they are loaded again."""
    first = three_layers()
    other = halved(first)
    streams = planned(first)
    words, changed = loading.weights_bytes(streams), loading.weights_of(streams, first, other)
    images = extreme_images(np.random.default_rng(1), (5, 4, 3), first.tensors["image"].format)
    case = emitted_case(
        first,
        {0: words, 2: changed, 4: words},
        uram_load_port=True,
        storages=dict.fromkeys(LAYERS, "uram"),
    )
    ((result,),) = run_cases([(case, [images])], tmp_path)
    expected = first.evaluate({"image": images})["out"]
    theirs = other.evaluate({"image": images})["out"]
    assert np.any(expected[2:4] != theirs[2:4])
    expected[2:4] = theirs[2:4]
    np.testing.assert_array_equal(result.reshape(expected.shape), expected)


@pytest.mark.parametrize("excess", [-1, 1])
def test_words_too_few_or_too_many_are_faults(excess: int, tmp_path: Path) -> None:
    graph = three_layers()
    words = loading.weights_bytes(planned(graph))
    wrong = words[:-8] if excess < 0 else words + bytes(8)
    case = emitted_case(
        graph, {0: wrong}, uram_load_port=True, storages=dict.fromkeys(LAYERS, "uram")
    )
    images = extreme_images(np.random.default_rng(1), (5, 4, 3), graph.tensors["image"].format)
    with pytest.raises(AssertionError, match="1 stream faults"):
        run_cases([(case, [images])], tmp_path)


def test_the_words_are_accounted_for() -> None:
    streams = planned(three_layers())
    loads = loads_of(streams)
    assert [load.process for load in loads] == list(LAYERS)
    place = 0
    for load in loads:
        assert load.first_word == place
        (process,) = (p for p in streams.processes if p.name == load.process)
        assert load.rows == process.memories[0].words
        assert 64 * load.words_a_row >= load.row_bits > 64 * (load.words_a_row - 1)
        place += load.words
    content = loading.weights_bytes(streams)
    assert len(content) == 8 * place == 8 * load_words(streams)
    assert b"".join(loading.part_of(content, streams, name) for name in LAYERS) == content


def test_another_number_of_weights_than_planned_is_refused() -> None:
    streams = planned(three_layers())
    processes = tuple(
        dataclasses.replace(p, weights=np.concatenate([p.weights, p.weights]))  # type: ignore[list-item]
        if p.name == "two"
        else p
        for p in streams.processes
    )
    with pytest.raises(DesignError):
        loading.weights_bytes(dataclasses.replace(streams, processes=processes))


def test_the_words_are_little_endian_and_padded_row_by_row() -> None:
    build = Builder((2, 2, 3))
    graph = build.build(
        build.convolution(
            "image",
            "one",
            1,
        )
    )
    streams = planned(graph, ("one",))
    (process,) = (p for p in streams.processes if p.is_loaded)
    (load,) = loads_of(streams)
    words = np.frombuffer(loading.weights_bytes(streams), "<u8").reshape(load.rows, -1)
    rows = loading.arrays.packed_weights(process).astype(np.int64)
    lanes = rows.shape[1]
    for word, row in zip(words[:, 0].tolist(), rows.tolist(), strict=True):
        assert word == sum((value & 255) << (8 * lane) for lane, value in enumerate(row[:8]))
    assert lanes < 8


def test_what_is_loaded_is_no_constant() -> None:
    case = loaded(
        conv_graph(np.random.default_rng(1), (3, 3, 4), (1, 1), 4, UINT8, INT8, UINT8), Fold(2, 2)
    )
    (line,) = (line for line in case.definitions.splitlines() if "conv_weights[" in line)
    assert line == "    static signed char conv_weights[4][4];"
    assert "type=ram_s2p impl=uram" in case.definitions


def test_other_weights_must_fit_what_was_built() -> None:
    first = three_layers()
    streams = planned(first, ("one", "three"))
    assert loading.weights_of(streams, first, first) == loading.weights_bytes(streams)
    with pytest.raises(DesignError, match="two: must not differ in anything: it is not loaded"):
        loading.weights_of(streams, first, halved(first))
    loading.weights_of(streams, first, halved(first, ("one", "three")))
    with pytest.raises(DesignError, match="has no weights that are loaded"):
        loading.weights_of(planned(first, ()), first, first)
    build = Builder((5, 4, 3))
    shorter = build.build(build.convolution("image", "one", 6))
    with pytest.raises(DesignError, match="the same layers in the same order"):
        loading.weights_of(streams, first, shorter)

    def changed(**values: object) -> IntegerGraph:
        operations = [
            dataclasses.replace(op, **values) if op.name == "one" else op  # type: ignore[arg-type]
            for op in first.operations
        ]
        return IntegerGraph.build("other", operations, first.outputs)

    with pytest.raises(DesignError, match="one: must not differ in anything but its weights"):
        loading.weights_of(streams, first, changed(biases=np.arange(6)))
    with pytest.raises(DesignError, match=r"one: values of .* do not fit those built"):
        loading.weights_of(streams, first, changed(weights=np.full((1, 1, 3, 6), 127 * 200)))

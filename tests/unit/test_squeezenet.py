"""SqueezeNet against its paper and against the outputs of the released weights."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from hwflow.networks import load_network
from hwflow.networks.squeezenet import (
    SqueezeNetParameters,
    build,
    fire_widths,
    smallest_input,
)
from hwflow.pictures import read_pictures
from tests.support.data import data_path

MEAN_V1_1 = np.array([0.485, 0.456, 0.406])
DEVIATION_V1_1 = np.array([0.229, 0.224, 0.225])
PREPROCESSING_V1_1 = SimpleNamespace(
    resize=256,
    resize_mode="short_side",
    crop=224,
    channels="rgb",
    mean=tuple(255 * MEAN_V1_1),
    scale=tuple(1 / (255 * DEVIATION_V1_1)),
)
PREPROCESSING_V1_0 = SimpleNamespace(
    resize=256, resize_mode="warp", crop=227, channels="bgr", mean=(104, 117, 123), scale=1.0
)


def parameters(**values):
    return SqueezeNetParameters(**values)


def released(weights, **values):
    return load_network(
        SimpleNamespace(
            network=SimpleNamespace(
                family="squeezenet", parameters=parameters(**values), file=None
            ),
            weights=SimpleNamespace(source=None, seed=0, file=weights),
        )
    )


# The complex bypass adds 1x1 convolutions with biases around fire2, fire4, fire6 and fire8:
# 96 (or 64) to 128, 128 to 256, 256 to 384 and 384 to 512 channels.
PROJECTIONS_V1_0 = 96 * 128 + 128 + 128 * 256 + 256 + 256 * 384 + 384 + 384 * 512 + 512


@pytest.mark.parametrize(
    ("version", "bypass", "count"),
    [
        ("1.0", "none", 1_248_424),
        ("1.0", "simple", 1_248_424),
        ("1.0", "complex", 1_248_424 + PROJECTIONS_V1_0),
        ("1.1", "none", 1_235_496),
        ("1.1", "simple", 1_235_496),
        ("1.1", "complex", 1_235_496 + PROJECTIONS_V1_0 - 32 * 128),
    ],
)
def test_parameter_counts_of_the_literature(version, bypass, count):
    assert build(parameters(version=version, bypass=bypass)).count_params() == count


def test_output_sizes_of_the_papers_table():
    model = build(parameters(version="1.0", input_shape=(227, 227, 3)))
    sizes = {layer.name: layer.output_shape[1:] for layer in model.layers[1:]}
    table = {
        "conv1": (111, 111, 96),
        "pool1": (55, 55, 96),
        "fire2_concat": (55, 55, 128),
        "fire3_concat": (55, 55, 128),
        "fire4_concat": (55, 55, 256),
        "pool4": (27, 27, 256),
        "fire5_concat": (27, 27, 256),
        "fire6_concat": (27, 27, 384),
        "fire7_concat": (27, 27, 384),
        "fire8_concat": (27, 27, 512),
        "pool8": (13, 13, 512),
        "fire9_concat": (13, 13, 512),
        "conv10": (13, 13, 1000),
        "pool10": (1000,),
    }
    assert {name: sizes[name] for name in table} == table


def test_squeeze_and_expand_filters_of_the_papers_table():
    assert [tuple(widths) for widths in fire_widths(parameters()).values()] == [
        (16, 64, 64),
        (16, 64, 64),
        (32, 128, 128),
        (32, 128, 128),
        (48, 192, 192),
        (48, 192, 192),
        (64, 256, 256),
        (64, 256, 256),
    ]


def test_the_metaparameters_generate_other_members():
    widths = fire_widths(parameters(base_e=40, incr_e=20, freq=3, pct_3x3=0.25, squeeze_ratio=0.5))
    assert [tuple(each) for each in widths.values()] == [
        *[(20, 30, 10)] * 3,
        *[(30, 45, 15)] * 3,
        *[(40, 60, 20)] * 2,
    ]


def test_v1_1_pools_earlier():
    names = [layer.name for layer in build(parameters()).layers]
    assert [name for name in names if name.startswith("pool")] == [
        "pool1",
        "pool3",
        "pool5",
        "pool10",
    ]
    assert "conv10_pad" not in names


@pytest.mark.parametrize(
    ("bypass", "adds", "projections"),
    [
        ("none", [], []),
        ("simple", [3, 5, 7, 9], []),
        ("complex", [2, 3, 4, 5, 6, 7, 8, 9], [2, 4, 6, 8]),
    ],
)
def test_bypasses_of_figure_2(bypass, adds, projections):
    names = {
        layer.name
        for layer in build(parameters(bypass=bypass, input_shape=(64,) * 2 + (3,))).layers
    }
    assert {name for name in names if "bypass_add" in name} == {
        f"fire{number}_bypass_add" for number in adds
    }
    assert {name for name in names if "bypass_conv" in name} == {
        f"fire{number}_bypass_conv" for number in projections
    }


def test_a_bypass_adds_the_modules_input():
    model = build(parameters(bypass="simple"))
    add = model.get_layer("fire5_bypass_add")
    sources = {tensor.node.layer.name for tensor in add.input}
    assert sources == {"fire4_concat", "fire5_concat"}


@pytest.mark.parametrize(("version", "smallest"), [("1.0", 35), ("1.1", 31)])
def test_the_smallest_input_is_built_and_a_smaller_one_refused(version, smallest):
    assert smallest_input(version) == smallest
    model = build(parameters(version=version, input_shape=(smallest, smallest + 20, 1), classes=3))
    assert model.output_shape == (None, 3)
    assert model.get_layer("conv10").output_shape[1] == 1
    with pytest.raises(ValidationError, match=rf"at least {smallest} x {smallest} pixels"):
        parameters(version=version, input_shape=(smallest - 1, 64, 3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": "1.2"}, "'1.0' or '1.1'"),
        ({"version": 1.1}, "'1.0' or '1.1'"),
        ({"classes": 0}, "greater than or equal to 1"),
        ({"classes": "10"}, "valid integer"),
        ({"input_shape": (224, 224)}, "Field required"),
        ({"input_shape": (224.0, 224, 3)}, "valid integer"),
        ({"pct_3x3": 1.0}, "less than 1"),
        ({"fire": 3}, "Extra inputs"),
        ({"base_e": 3}, "fire2_squeeze1x1 must have at least one filter"),
        ({"pct_3x3": 0.001}, "fire2_expand3x3 must have at least one filter"),
        ({"bypass": "simple", "freq": 3}, "Choose an even freq"),
        ({"bypass": "complex", "freq": 1}, "not 128 and 256"),
    ],
)
def test_parameters_that_do_not_fit(values, message):
    with pytest.raises(ValidationError, match=message):
        parameters(**values)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_released_v1_1_reproduces_its_own_outputs(index):
    pair = data_path(f"weights/squeezenet_v1.1/test_data_set/{index}")
    network = released(data_path("weights/squeezenet_v1.1/weights"))
    images = np.load(pair / "input_0.npy").transpose(0, 2, 3, 1)
    logits = np.load(pair / "output_0.npy")
    # Two float32 implementations: the order of their sums differs.
    np.testing.assert_allclose(network.model.predict(images, verbose=0), logits, rtol=1e-4)


def test_released_v1_0_is_pruned_and_shared():
    network = released(
        data_path("weights/squeezenet_v1.0_deep_compression/compressed_SqueezeNet.net"),
        version="1.0",
        input_shape=(227, 227, 3),
        conv10_padding=1,
    )
    assert network.parameters_count == 1_248_424
    weights = network.model.get_weights()
    assert sum(np.count_nonzero(tensor) for tensor in weights) == 419_897
    assert all(len(np.unique(kernel)) <= 257 for kernel in weights if kernel.ndim == 4)
    assert network.model.get_layer("conv10").output_shape == (None, 15, 15, 1000)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_real_pictures_are_recognised(version, tmp_path):
    folder = data_path("images/imagenet_sample")
    with data_path("images/imagenet_sample.csv").open() as file:
        classes = {row["file"]: int(row["class_index"]) for row in csv.DictReader(file)}
    if version == "1.0":
        weights = "weights/squeezenet_v1.0_deep_compression/compressed_SqueezeNet.net"
        shape, preprocessing, padding = (227, 227, 3), PREPROCESSING_V1_0, 1
    else:
        weights = "weights/squeezenet_v1.1/weights"
        shape, preprocessing, padding = (224, 224, 3), PREPROCESSING_V1_1, 0
    network = released(
        data_path(weights), version=version, input_shape=shape, conv10_padding=padding
    )
    files = sorted(classes)[::8][:24]
    for file in files:
        (tmp_path / file).symlink_to(folder / file)
    images = read_pictures(tmp_path, preprocessing, shape)
    best = np.argsort(-network.model.predict(images, verbose=0), axis=1)[:, :5]
    truth = np.array([classes[file] for file in files])[:, None]
    # With .61 and .83 over 1000 pictures, 24 pictures fall below these once in 10,000 draws;
    # a wrong layout of the weights or scale of the pixels leaves next to none.
    assert np.count_nonzero(best[:, :1] == truth) >= 6
    assert np.count_nonzero(best == truth) >= 12

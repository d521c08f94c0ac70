"""MobileNets and EfficientNet: their papers, the published weights and, small, the whole chain."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from hwflow.checking import check
from hwflow.networks import families, load_network
from hwflow.networks.blocks import rounded_channels, strided_padding
from hwflow.networks.mobilenet_v2 import MobileNetV2Parameters, bottlenecks
from hwflow.networks.random_weights import randomise
from hwflow.pictures import read_pictures
from tests.support.data import data_path
from tests.support.networks import build
from tests.support.quantized_chain import (
    Widths,
    assert_equals_keras,
    pictures,
    quantized,
)

PREPROCESSING = SimpleNamespace(
    resize=256, resize_mode="short_side", crop=224, channels="rgb", mean=127.5, scale=1 / 127.5
)


def sizes(model):
    return {layer.name: layer.output_shape[1:] for layer in model.layers[1:]}


# Tables 6 and 7 of arXiv:1704.04861 round these to 4.2, 2.6, 1.3 and 0.5 million.
@pytest.mark.parametrize(
    ("alpha", "count"),
    [
        (1.0, 4_253_864),
        pytest.param(0.75, 2_601_976, marks=pytest.mark.slow),
        pytest.param(0.5, 1_342_536, marks=pytest.mark.slow),
        (0.25, 475_544),
    ],
)
def test_v1_parameter_counts_of_the_literature(alpha, count):
    model = build("mobilenet_v1", alpha=alpha, input_shape=(128, 128, 3))
    assert model.count_params() == count


# The published weights' counts; Table 4 of arXiv:1801.04381 rounds those of 1.0 and 1.4 to 3.4 and
# 6.9 million, without the statistics of batch norm.
@pytest.mark.parametrize(
    ("alpha", "count"),
    [
        (1.4, 6_156_712),
        (1.0, 3_538_984),
        pytest.param(0.75, 2_663_064, marks=pytest.mark.slow),
        pytest.param(0.5, 1_987_224, marks=pytest.mark.slow),
        (0.35, 1_691_208),
    ],
)
def test_v2_parameter_counts_of_the_literature(alpha, count):
    model = build("mobilenet_v2", alpha=alpha, input_shape=(96, 96, 3))
    assert model.count_params() == count


@pytest.mark.parametrize("size", [(97, 130)])
@pytest.mark.parametrize(
    ("family", "published"), [("mobilenet_v1", "MobileNet"), ("mobilenet_v2", "MobileNetV2")]
)
def test_layers_are_those_of_the_published_weights(family, published, size):
    from keras import applications

    shape = (*size, 3)
    mine = build(family, alpha=0.5, input_shape=shape)
    theirs = getattr(applications, published)(alpha=0.5, input_shape=shape, weights=None)

    def described(model):
        return {
            layer.name: [
                type(layer).__name__,
                layer.output_shape,
                *(tuple(weight.shape) for weight in layer.weights),
            ]
            for layer in model.layers[1:]
            if layer.name != "predictions" and "global_average" not in layer.name
        }

    assert described(mine) == described(theirs)


@pytest.mark.parametrize(
    ("family", "values", "published", "shape"),
    [
        ("mobilenet_v1", {"alpha": 0.75}, "MobileNet", (128, 160, 3)),
        ("mobilenet_v2", {"alpha": 1.3}, "MobileNetV2", (192, 99, 3)),
        pytest.param(
            "mobilenet_v3",
            {"size": "large", "alpha": 0.75},
            "MobileNetV3Large",
            (97, 130, 3),
            marks=pytest.mark.slow,
        ),
        (
            "mobilenet_v3",
            {"size": "small", "alpha": 1.25, "minimalistic": True},
            "MobileNetV3Small",
            (225, 161, 3),
        ),
        ("efficientnet", {"member": "b0"}, "EfficientNetB0", (101, 128, 3)),
    ],
)
def test_any_width_and_resolution_has_the_published_shapes(family, values, published, shape):
    from keras import applications

    theirs = getattr(applications, published)(
        input_shape=shape,
        weights=None,
        **{name: value for name, value in values.items() if name not in ("size", "member")},
    )
    mine = build(family, **values, input_shape=shape)

    def kernels(model):
        return {
            layer.name: (layer.output_shape[1:-1], [tuple(w.shape) for w in layer.weights])
            for layer in model.layers
            if "Conv" in type(layer).__name__
        }

    assert kernels(mine) == kernels(theirs)


def test_v1_output_sizes_of_the_papers_table():
    table = {
        "conv1": (112, 112, 32),
        "conv_dw_1": (112, 112, 32),
        "conv_pw_1": (112, 112, 64),
        "conv_dw_2": (56, 56, 64),
        "conv_pw_2": (56, 56, 128),
        "conv_pw_3": (56, 56, 128),
        "conv_dw_4": (28, 28, 128),
        "conv_pw_5": (28, 28, 256),
        "conv_pw_6": (14, 14, 512),
        "conv_pw_11": (14, 14, 512),
        "conv_pw_12": (7, 7, 1024),
        "conv_pw_13": (7, 7, 1024),
        "conv_preds": (1, 1, 1000),
    }
    found = sizes(build("mobilenet_v1"))
    assert {name: found[name] for name in table} == table


def test_v2_output_sizes_of_the_papers_table():
    table = {
        "Conv1": (112, 112, 32),
        "expanded_conv_project": (112, 112, 16),
        "block_2_add": (56, 56, 24),
        "block_5_add": (28, 28, 32),
        "block_9_add": (14, 14, 64),
        "block_12_add": (14, 14, 96),
        "block_15_add": (7, 7, 160),
        "block_16_project": (7, 7, 320),
        "Conv_1": (7, 7, 1280),
        "predictions": (1000,),
    }
    found = sizes(build("mobilenet_v2"))
    assert {name: found[name] for name in table} == table


def test_v2_adds_within_a_stage_alone():
    blocks = bottlenecks(MobileNetV2Parameters())
    assert len(blocks) == 17
    assert [b.name for b in blocks if b.adds] == [
        f"block_{number}" for number in (2, 4, 5, 7, 8, 9, 11, 12, 14, 15)
    ]
    assert [b.expanded for b in blocks[:5]] == [32, 96, 144, 144, 192]
    thin = bottlenecks(MobileNetV2Parameters(alpha=0.1, expansion=3))
    assert {block.filters for block in thin} == {8, 16, 32}
    # where widths meet, a thinned network adds between stages too
    assert [block.name for block in thin[1:6] if block.adds] == ["block_2", "block_4", "block_5"]
    assert thin[0].expanded == 8
    assert {block.expanded for block in thin[1:]} == {24, 48}


@pytest.mark.parametrize(
    ("channels", "expected"), [(3, 8), (11.2, 16), (8.4, 8), (33.6, 32), (44.8, 48), (19, 24)]
)
def test_channels_are_rounded_to_eights_but_never_far_down(channels, expected):
    assert rounded_channels(channels) == expected
    assert rounded_channels(channels) >= 0.9 * channels


def test_strided_layers_pad_like_the_published_weights():
    assert strided_padding((112, 112), 3) == ((0, 1), (0, 1))
    assert strided_padding((57, 56), 3) == ((1, 1), (0, 1))
    assert strided_padding((57, 56), 5) == ((2, 2), (1, 2))


@pytest.mark.parametrize(
    ("family", "values", "message"),
    [
        ("mobilenet_v1", {"alpha": 0.03}, "must leave conv1 at least one of its 32 filters"),
        ("mobilenet_v1", {"alpha": 0}, "greater than 0"),
        ("mobilenet_v1", {"blocks": 14}, "less than or equal to 13"),
        ("mobilenet_v2", {"stages": 0}, "greater than or equal to 1"),
        ("mobilenet_v2", {"width": 1.0}, "Extra inputs"),
        ("mobilenet_v2", {"input_shape": (224, 224)}, "Field required"),
    ],
)
def test_parameters_that_do_not_fit(family, values, message):
    with pytest.raises(ValidationError, match=message):
        families()[family].parameters(**values)


# The published weights' counts, those of EfficientNet without the 7 of its pixel statistics.
@pytest.mark.parametrize(
    ("family", "values", "count"),
    [
        ("mobilenet_v3", {"size": "large"}, 5_507_432),
        ("mobilenet_v3", {"size": "small"}, 2_554_968),
        ("mobilenet_v3", {"size": "small", "alpha": 0.75}, 2_051_552),
        ("mobilenet_v3", {"size": "large", "minimalistic": True}, 3_948_688),
        ("mobilenet_v3", {"size": "small", "minimalistic": True}, 2_056_848),
        ("efficientnet", {"member": "b0"}, 5_330_571 - 7),
        pytest.param("efficientnet", {"member": "b1"}, 7_856_239 - 7, marks=pytest.mark.slow),
        pytest.param("efficientnet", {"member": "b2"}, 9_177_569 - 7, marks=pytest.mark.slow),
        pytest.param("efficientnet", {"member": "b3"}, 12_320_535 - 7, marks=pytest.mark.slow),
        pytest.param("efficientnet", {"member": "b4"}, 19_466_823 - 7, marks=pytest.mark.slow),
        pytest.param("efficientnet", {"member": "b5"}, 30_562_527 - 7, marks=pytest.mark.slow),
        pytest.param("efficientnet", {"member": "b6"}, 43_265_143 - 7, marks=pytest.mark.slow),
        pytest.param("efficientnet", {"member": "b7"}, 66_658_687 - 7, marks=pytest.mark.slow),
    ],
)
def test_later_families_parameter_counts_of_the_literature(family, values, count):
    assert build(family, **values, input_shape=(64, 64, 3)).count_params() == count


@pytest.mark.slow
@pytest.mark.parametrize(
    ("member", "count", "billions"),
    [
        ("b0", 5_330_564, 0.39),
        ("b1", 7_856_232, 0.70),
        ("b2", 9_177_562, 1.0),
        ("b3", 12_320_528, 1.8),
        ("b4", 19_466_816, 4.2),
        ("b5", 30_562_520, 9.9),
        ("b6", 43_265_136, 19),
        ("b7", 66_658_680, 37),
    ],
)
def test_every_efficientnet_is_checked_at_the_papers_size(tmp_path, member, count, billions):
    """Parameters to the last one; multiply-accumulates as the paper's Table 2 rounds its FLOPS."""
    path = tmp_path / "design.yaml"
    path.write_text(f"name: e\nnetwork: {{family: efficientnet, member: {member}}}\n")
    found = check(path)
    assert found["parameters"] == count
    assert found["macs"] == pytest.approx(billions * 1e9, rel=0.05)


def test_compound_scaling_widens_deepens_and_enlarges():
    small = build("efficientnet", input_shape=(32, 32, 3), stages=2)
    large = build("efficientnet", member="b3", input_shape=(32, 32, 3), stages=2)
    assert build("efficientnet", member="b1", stages=1).input_shape == (None, 240, 240, 3)

    def blocks(model):
        return [layer.name for layer in model.layers if layer.name.endswith("_project_conv")]

    assert len(blocks(small)) == 3
    assert len(blocks(large)) == 5  # 1.4 times one and two repeats, rounded up
    assert small.get_layer("stem_conv").filters == 32
    assert large.get_layer("stem_conv").filters == 40


# --- the chain ---------------------------------------------------------------------------------


def test_few_bits_and_a_wide_depth_multiplier():
    model = build(
        "mobilenet_v1",
        alpha=0.125,
        input_shape=(21, 16, 1),
        classes=3,
        blocks=3,
        depth_multiplier=2,
    )
    randomise(model, 2)
    images = pictures(model)
    made, graph = quantized(model, Widths(weights=4, activations=5, inputs=6), images)
    assert_equals_keras(made, graph, images)


# --- real weights ------------------------------------------------------------------------------


@pytest.mark.slow
def test_published_weights_recognise_pictures_and_stay_exact(tmp_path):
    network = load_network(
        SimpleNamespace(
            network=SimpleNamespace(
                family="mobilenet_v1",
                parameters=families()["mobilenet_v1"].parameters(alpha=0.25),
                file=None,
            ),
            weights=SimpleNamespace(
                source=None,
                seed=0,
                file=data_path("weights/mobilenet_v1_0.25_224/mobilenet_v1_0.25_224.h5"),
            ),
        )
    )
    assert network.parameters_count == 475_544
    folder = data_path("images/imagenet_sample")
    with data_path("images/imagenet_sample.csv").open() as file:
        classes = {row["file"]: int(row["class_index"]) for row in csv.DictReader(file)}
    files = sorted(classes)[::10][:20]
    for file in files:
        (tmp_path / file).symlink_to(folder / file)
    images = read_pictures(tmp_path, PREPROCESSING, (224, 224, 3))
    truth = np.array([classes[file] for file in files])
    best = network.model.predict_on_batch(images).argmax(axis=1)
    # With .576 over 1000 pictures, 20 pictures fall below this once in a thousand draws.
    assert np.count_nonzero(best == truth) >= 5
    made, graph = quantized(network.model, images=images[:2])
    assert_equals_keras(made, graph, images[:1])
    assert (
        graph.tensors["conv1_relu"].interval.high.max()
        <= 6 / graph.tensors["conv1_relu"].format.lsb
    )


@pytest.mark.slow
def test_visual_wake_words_is_a_users_own_model():
    from hwflow.networks.keras_file import load_model

    model = load_model(data_path("weights/vww_96/vww_96.h5"))
    images = np.random.default_rng(0).random((1, 96, 96, 3), dtype=np.float32)
    made, graph = quantized(model, images=images)
    assert graph.outputs == ("dense_quantized",)
    assert graph.tensors["dense_quantized"].shape == (1, 1, 2)
    assert_equals_keras(made, graph, images)

"""DenseNet, ResNet, MnasNet, SqueezeNext, DS-CNN: against their papers, published weights."""

from __future__ import annotations

import functools

import pytest
from pydantic import ValidationError

from hwflow.networks import families
from tests.support import networks
from tests.support.networks import trained

slow = pytest.mark.slow


build = functools.lru_cache(maxsize=4)(networks.build)


# torchvision's counts, which are those of the papers' tables before rounding: 11.7, 21.8, 25.6,
# 44.5 and 60.2 million; 0.27, 0.46, 0.66, 0.85 and 1.7 million in Table 6 of arXiv:1512.03385;
# 8.0, 14.1, 20.0 and 33.3 million of arXiv:1608.06993; 3.9 and 4.4 million of arXiv:1807.11626.
@pytest.mark.parametrize(
    ("family", "values", "count"),
    [
        ("resnet", {"depth": "18"}, 11_689_512),
        pytest.param("resnet", {"depth": "34"}, 21_797_672, marks=slow),
        pytest.param("resnet", {"depth": "50"}, 25_557_032, marks=slow),
        pytest.param("resnet", {"depth": "101"}, 44_549_160, marks=slow),
        pytest.param("resnet", {"depth": "152"}, 60_192_808, marks=slow),
        ("resnet", {"depth": "20"}, 269_722),
        ("resnet", {"depth": "32"}, 464_154),
        pytest.param("resnet", {"depth": "44"}, 658_586, marks=slow),
        pytest.param("resnet", {"depth": "56"}, 853_018, marks=slow),
        pytest.param("resnet", {"depth": "110"}, 1_727_962, marks=slow),
        pytest.param("densenet", {"depth": "121"}, 7_978_856, marks=slow),
        pytest.param("densenet", {"depth": "169"}, 14_149_480, marks=slow),
        pytest.param("densenet", {"depth": "201"}, 20_013_928, marks=slow),
        pytest.param("densenet", {"depth": "264"}, 33_337_704, marks=slow),
        ("mnasnet", {"variant": "a1"}, 3_887_038),
        ("mnasnet", {"variant": "b1"}, 4_383_312),
        ("mnasnet", {"variant": "b1", "alpha": 0.5}, 2_218_512),
        pytest.param("mnasnet", {"variant": "b1", "alpha": 0.75}, 3_170_208, marks=slow),
        pytest.param("mnasnet", {"variant": "b1", "alpha": 1.3}, 6_282_256, marks=slow),
    ],
)
def test_parameter_counts_of_the_literature(family, values, count):
    assert trained(build(family, **values)) == count


def described(model):
    return {
        layer.name: (layer.output_shape, [tuple(weight.shape) for weight in layer.weights])
        for layer in model.layers[1:]
        if layer.name != "predictions"
    }


@pytest.mark.parametrize(
    ("family", "values", "published"),
    [
        ("densenet", {"depth": "121"}, "DenseNet121"),
        ("resnet", {"depth": "50", "biases": True}, "ResNet50"),
    ],
)
def test_layers_are_those_of_the_published_weights(family, values, published):
    from keras import applications

    mine = described(build(family, **values, input_shape=(97, 64, 3)))
    theirs = getattr(applications, published)(input_shape=(97, 64, 3), weights=None, pooling="avg")
    assert {name: mine[name] for name in described(theirs)} == described(theirs)
    assert mine.keys() == described(theirs).keys()


def sizes(model):
    return {layer.name: layer.output_shape[1:] for layer in model.layers[1:]}


@pytest.mark.parametrize(
    ("family", "values", "table"),
    [
        (
            "resnet",
            {"depth": "34"},
            {
                "conv1_conv": (112, 112, 64),
                "conv2_block3_out": (56, 56, 64),
                "conv3_block4_out": (28, 28, 128),
                "conv4_block6_out": (14, 14, 256),
                "conv5_block3_out": (7, 7, 512),
            },
        ),
        (
            "resnet",
            {"depth": "20"},
            {
                "conv1_relu": (32, 32, 16),
                "conv2_block3_out": (32, 32, 16),
                "conv3_block3_out": (16, 16, 32),
                "conv4_block3_out": (8, 8, 64),
                "predictions": (10,),
            },
        ),
        (
            "mnasnet",
            {"variant": "a1"},
            {
                "stem_relu": (112, 112, 32),
                "sepconv_project_bn": (112, 112, 16),
                "block1b_add": (56, 56, 24),
                "block2c_add": (28, 28, 40),
                "block3d_add": (14, 14, 80),
                "block4b_add": (14, 14, 112),
                "block5c_add": (7, 7, 160),
                "block6a_project_bn": (7, 7, 320),
            },
        ),
        (
            "squeezenext",
            {"version": "v1"},
            {
                "conv1": (111, 111, 64),
                "pool1": (55, 55, 64),
                "stage1_block1_squeeze1": (55, 55, 16),
                "stage1_block6_add": (55, 55, 32),
                "stage2_block1_squeeze1": (28, 28, 32),
                "stage2_block6_add": (28, 28, 64),
                "stage3_block8_add": (14, 14, 128),
                "stage4_block1_add": (7, 7, 256),
                "conv_last": (7, 7, 128),
            },
        ),
        (
            "squeezenext",
            {"version": "v5"},
            {
                "conv1": (112, 112, 64),
                "pool1": (56, 56, 64),
                "stage1_block2_add": (56, 56, 32),
                "stage2_block4_add": (28, 28, 64),
                "stage3_block14_add": (14, 14, 128),
                "stage4_block1_add": (7, 7, 256),
            },
        ),
    ],
)
def test_output_sizes_of_the_papers(family, values, table):
    found = sizes(build(family, **values))
    assert {name: found[name] for name in table} == table


def test_ds_cnn_is_that_of_mlperf_tiny():
    model = build("ds_cnn")
    assert (model.count_params(), trained(model)) == (24_908, 23_756)
    assert sizes(model)["conv"] == (25, 5, 64)


def test_squeezenext_has_the_parameters_of_table_1():
    assert round(trained(build("squeezenext", version="v1")) / 1e6, 2) == 0.72


def test_squeezenext_alternates_its_separable_convolutions():
    names = [layer.name for layer in build("squeezenext", blocks=(3,)).layers]
    kernels = [name.rpartition("_conv")[2] for name in names if name[-3:] in ("3x1", "1x3")]
    assert kernels == ["3x1", "1x3", "1x3", "3x1", "3x1", "1x3"]


def test_shortcut_a_leaves_pixels_out_and_appends_zeros():
    import numpy as np

    model = build("resnet", depth="20", blocks=(1, 1), stem_filters=2, input_shape=(5, 4, 3))
    from keras import Model

    layers = [
        model.get_layer(name).output for name in ("conv2_block1_out", "conv3_block1_0_concat")
    ]
    image = np.random.default_rng(0).normal(size=(1, 5, 4, 3))
    source, shortcut = (array.numpy() for array in Model(model.input, layers)(image))
    np.testing.assert_array_equal(shortcut[..., :2], source[:, ::2, ::2])
    assert shortcut.shape == (1, 3, 2, 4)
    assert not shortcut[..., 2:].any()
    assert source.any()


@pytest.mark.parametrize(
    ("family", "values", "message"),
    [
        ("resnet", {"depth": "50", "shortcut": "identity"}, "must be projection for bottleneck"),
        ("resnet", {"depth": "19"}, "Input should be '18', '34'"),
        ("densenet", {"blocks": ()}, "at least 1 item"),
        ("mnasnet", {"stages": 7}, "less than or equal to 6"),
        ("squeezenext", {"input_shape": (8, 9, 3)}, "greater than or equal to 9"),
    ],
)
def test_parameters_that_do_not_fit(family, values, message):
    with pytest.raises(ValidationError, match=message):
        families()[family].parameters(**values)


def test_what_only_building_can_tell():
    with pytest.raises(ValueError, match=r"width must leave every layer a filter, so be 0\.125"):
        build("squeezenext", width=0.12)
    with pytest.raises(
        ValueError, match="must be at least 29 x 29 for 4 dense blocks, not 40 x 28"
    ):
        build("densenet", input_shape=(40, 28, 3))
    assert build("densenet", blocks=(1, 1, 1, 1), growth_rate=1, input_shape=(29, 29, 3))

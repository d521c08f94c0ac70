"""The float network as nodes: batch norm folded, skipped layers gone, faults named together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hwflow.errors import DesignError
from hwflow.quantize.float_graph import FloatGraph, read

keras = pytest.importorskip("keras")
L = keras.layers


def randomized(model: Any, seed: int = 0) -> Any:
    """Gives every weight, moving averages included, a value that matters."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        values = []
        for variable in layer.weights:
            positive = any(word in variable.name for word in ("variance", "gamma"))
            low, high = (0.3, 2.0) if positive else (-0.8, 0.8)
            values.append(rng.uniform(low, high, variable.shape))
        layer.set_weights(values)
    return model


def evaluated(graph: FloatGraph, images: Any) -> list[Any]:
    """The graph's outputs, each node a Keras layer in float64 with the node's weights."""
    values: dict[str, Any] = {}
    for node in graph.nodes:
        if node.kind == "InputLayer":
            values[node.name] = images
            continue
        config = {**node.config, "name": node.name, "dtype": "float64"}
        if node.weights:
            config |= {"activation": "linear"}
        layer = getattr(L, node.kind).from_config(config)
        sources = [values[name] for name in node.inputs]
        argument = sources[0] if len(sources) == 1 else sources
        if node.weights:
            layer.build(np.shape(argument))
            layer.set_weights(
                [node.weights[role] for role in ("kernel", "bias")[: len(layer.weights)]]
            )
        values[node.name] = np.asarray(layer(argument))
        assert values[node.name].shape[1:] == node.shape
    return [values[name] for name in graph.outputs]


def batch_normed() -> Any:
    """Batch norm after every kind of layer that it folds into, with and without bias."""
    options = {"dtype": "float64"}
    x = image = keras.Input((9, 8, 3), dtype="float64", name="image")
    x = L.Conv2D(4, 3, use_bias=False, padding="same", name="conv", **options)(x)
    x = L.BatchNormalization(name="conv_bn", **options)(x)
    x = L.ReLU(name="relu", **options)(x)
    x = L.DepthwiseConv2D(3, depth_multiplier=2, strides=2, name="depthwise", **options)(x)
    x = L.BatchNormalization(scale=False, epsilon=0.01, name="depthwise_bn", **options)(x)
    x = L.Dropout(0.5, name="dropout", **options)(x)
    x = L.ReLU(max_value=2.0, name="limited", **options)(x)
    x = L.Conv2D(5, (1, 2), activation="relu", name="fused", **options)(x)
    x = L.GlobalAveragePooling2D(name="mean", **options)(x)
    x = L.Dense(4, use_bias=False, name="dense", **options)(x)
    x = L.BatchNormalization(center=False, name="dense_bn", **options)(x)
    return randomized(keras.Model(image, x))


def test_folding_batch_norm_changes_no_output() -> None:
    model = batch_normed()
    graph = read(model)
    assert not any(node.kind == "BatchNormalization" for node in graph.nodes)
    images = np.random.default_rng(1).normal(size=(4, 9, 8, 3))
    (found,) = evaluated(graph, images)
    expected = np.asarray(model(images))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


def test_nodes_know_the_layer_whose_output_they_equal() -> None:
    graph = read(batch_normed())
    assert [node.name for node in graph.nodes] == [
        "image", "conv", "relu", "depthwise", "limited", "fused", "fused_relu", "mean", "dense",
    ]  # fmt: skip
    assert graph.node("conv").source == "conv_bn"
    assert graph.node("depthwise").source == "depthwise_bn"
    assert graph.node("fused").source == ""  # no layer of the model puts out its sums
    assert graph.node("fused_relu").source == "fused"
    assert graph.node("limited").inputs == ("depthwise",)
    assert graph.node("dense").weights["bias"].shape == (4,)
    assert graph.outputs == ("dense",)
    assert [node.name for node in graph.consumers("conv")] == ["relu"]


def test_all_unsupported_layers_are_named_at_once() -> None:
    x = image = keras.Input((8, 8, 4), name="image")
    x = L.Conv2D(4, 3, data_format="channels_first", padding="same", name="turned")(x)
    x = L.PReLU(name="slopes")(x)
    x = L.Activation("softmax", name="soft")(x)
    x = L.ReLU(max_value=0.0, name="nothing")(x)
    x = L.Conv2D(4, 1, activation="softmax", name="own")(x)
    x = L.DepthwiseConv2D(3, data_format="channels_first", name="turned_depthwise")(x)
    x = L.LayerNormalization(name="norm")(x)
    x = L.Concatenate(axis=1, name="rows")([x, x])
    with pytest.raises(DesignError) as caught:
        read(keras.Model(image, x))
    text = str(caught.value)
    wanted = {
        "turned": "data_format must be channels_last",
        "slopes": "this kind of layer is not supported; supported are",
        "soft": "activation 'softmax' is not supported",
        "nothing": "a maximum must be positive, not 0.0",
        "own": "activation 'softmax' is not supported",
        "turned_depthwise": "data_format must be channels_last",
        "norm": "this kind of layer is not supported",
        "rows": "only channels can be concatenated, not axis 1",
    }
    assert len(caught.value.faults) == len(wanted)
    for name, message in wanted.items():
        (line,) = (line for line in text.splitlines() if f"layer {name!r}" in line)
        assert message in line


def test_batch_norms_that_nothing_can_take_in_become_scales() -> None:
    options = {"dtype": "float64"}
    x = image = keras.Input((5, 4, 3), dtype="float64", name="image")
    x = L.BatchNormalization(name="bn_of_input", axis=3, **options)(x)
    x = L.BatchNormalization(name="bn_of_bn", **options)(x)
    shared = L.Conv2D(3, 1, name="conv", **options)(x)
    left = L.BatchNormalization(name="bn_of_shared", scale=False, **options)(shared)
    right = L.ReLU(name="relu", **options)(shared)
    after = L.BatchNormalization(name="bn_of_relu", center=False, **options)(right)
    model = randomized(keras.Model(image, L.Add(name="add", **options)([left, after])))
    graph = read(model)
    assert [(node.name, node.kind) for node in graph.nodes[1:]] == [
        ("bn_of_input", "DepthwiseConv2D"),  # which the one after it is folded into
        ("conv", "Conv2D"),
        ("relu", "ReLU"),
        ("bn_of_shared", "DepthwiseConv2D"),
        ("bn_of_relu", "DepthwiseConv2D"),
        ("add", "Add"),
    ]
    assert graph.node("bn_of_input").source == "bn_of_bn"
    images = np.random.default_rng(1).normal(size=(4, 5, 4, 3))
    (found,) = evaluated(graph, images)
    expected = np.asarray(model(images))
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


def test_batch_norms_that_can_be_neither_are_named_at_once() -> None:
    image = keras.Input((8, 8, 4), name="image")
    x = L.BatchNormalization(name="of_rows", axis=1)(image)
    x = L.ReLU(name="relu")(L.Dense(4, name="dense")(L.Flatten(name="flat")(x)))
    x = L.BatchNormalization(name="of_vector")(x)
    with pytest.raises(DesignError) as caught:
        read(keras.Model(image, x))
    found = str(caught.value)
    assert "layer 'of_rows' (BatchNormalization): must follow" in found
    assert "layer 'of_vector' (BatchNormalization): must follow" in found
    assert len(caught.value.faults) == 2


def test_shared_layers_are_refused() -> None:
    image = keras.Input((4, 4, 2), name="image")
    conv = L.Conv2D(2, 1, name="twice")
    with pytest.raises(DesignError, match="layer 'twice': is shared, used in several places"):
        read(keras.Model(image, conv(conv(image))))


def test_a_model_cut_out_of_another_is_read() -> None:
    image = keras.Input((4, 4, 2), name="image")
    conv = L.Conv2D(2, 1, name="conv")(image)
    L.Conv2D(3, 1, name="elsewhere")(conv)
    graph = read(keras.Model(image, L.ReLU(name="relu")(conv)))
    assert [node.name for node in graph.nodes] == ["image", "conv", "relu"]

"""hwflow as a backend of hls4ml: the only module that imports it.

hls4ml parses the QKeras model; the backend's `lower` pass checks that it understood the same
network as the integer graph, layer by layer and weight by weight, and puts the planned processes in
the place of its layers; templates give each its C++; the writer plans the files. No precision is
left to be inferred: each is handed over, and read back at the end.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from hls4ml.backends import FPGABackend, get_available_backends, register_backend
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.converters import convert_from_keras_model
from hls4ml.converters.keras_v2_to_hls import layer_handlers
from hls4ml.model.flow import register_flow
from hls4ml.model.layers import Input as InputNode
from hls4ml.model.layers import Layer, register_layer
from hls4ml.model.optimizer import ModelOptimizerPass
from hls4ml.model.types import FixedPrecisionType
from hls4ml.writer.writers import Writer, register_writer

from hwflow.errors import DesignError, Fault, HwflowError, MismatchError, ToolError
from hwflow.fixed_point import FixedPoint
from hwflow.hls import emit, loading, writer
from hwflow.integer_graph import IntegerGraph
from hwflow.layers import kinds
from hwflow.layers.base import pair
from hwflow.opset import Conv2D
from hwflow.plan.streams import StreamGraph
from hwflow.workspace import PlannedFiles

BACKEND = "Hwflow"
"""Name under which hls4ml knows us."""


class HwflowPlaced(Layer):  # type: ignore[misc]
    """A layer that hls4ml does not parse in full, until processes take its place."""

    def initialize(self) -> None:
        """Declares its output variable."""
        self.add_output_variable(list(self.get_attr("shape")))


class HwflowProcess(Layer):  # type: ignore[misc]
    """A node of hls4ml's graph that is one of our processes."""

    def initialize(self) -> None:
        """Declares an output variable for each stream it writes."""
        for stream in self.get_attr("output_streams"):
            self.add_output_variable(
                [stream.pixels, stream.channels],
                out_name=stream.name,
                var_name=stream.name,
                type_name=f"{stream.name}_t",
                precision=_precision(stream.format),
            )


def _precision(value_format: FixedPoint) -> FixedPrecisionType:
    return FixedPrecisionType(
        value_format.width,
        value_format.integer_bits,
        value_format.signed,
        rounding_mode=f"AP_{value_format.rounding.value}",
        saturation_mode=f"AP_{value_format.overflow.value}",
    )


class LowerToProcesses(ModelOptimizerPass):  # type: ignore[misc]
    """Replaces hls4ml's layers by the planned processes, once both are known to agree."""

    def __init__(self) -> None:
        self.name = "lower"

    def transform(self, model: Any) -> bool:
        graph: IntegerGraph = model.config.config["IntegerGraph"]
        streams: StreamGraph = model.config.config["StreamGraph"]
        _check_agreement(model, graph)
        input_nodes = [n for n in model.graph.values() if isinstance(n, InputNode)]
        nodes: OrderedDict[str, Any] = OrderedDict()
        source_of: dict[str, str] = {}
        for node, name in zip(input_nodes, streams.inputs, strict=True):
            source_of[name] = node.outputs[0]
            node.get_output_variable().type.precision = _precision(streams.streams[name].format)
            nodes[node.name] = node
        model.graph = nodes
        for process in streams.processes:
            attributes = {
                "process": process,
                "streams": streams.streams,
                "output_streams": [streams.streams[name] for name in process.outputs],
                "backend": model.config.config["HlsTool"],
            }
            made = model.make_node(
                HwflowProcess,
                process.name,
                attributes,
                [source_of.get(name, name) for name in process.inputs],
                list(process.outputs),
            )
            nodes[process.name] = made
        model.outputs = list(streams.outputs)
        return False


class ConfigTemplate(LayerConfigTemplate):  # type: ignore[misc]
    """The CONFIG struct of a process."""

    def __init__(self) -> None:
        super().__init__(HwflowProcess)

    def match(self, node: Any) -> bool:
        return isinstance(node, HwflowProcess)

    def format(self, node: Any) -> str:
        text = emit.process_text(
            node.get_attr("process"), node.get_attr("streams"), node.get_attr("backend")
        )
        node.set_attr("text", text)
        return text.config


class CallTemplate(FunctionCallTemplate):  # type: ignore[misc]
    """The call of a process in the top function."""

    def __init__(self) -> None:
        super().__init__(HwflowProcess, include_header=["layers.h"])

    def match(self, node: Any) -> bool:
        return isinstance(node, HwflowProcess)

    def format(self, node: Any) -> str:
        process = node.get_attr("process")
        return f"{process.name}({', '.join([*process.inputs, *process.outputs])});"


class HwflowWriter(Writer):  # type: ignore[misc]
    """Plans the project's files; `write_hls` leaves them on the model."""

    def write_hls(self, model: Any) -> None:
        """Plans the files as `model.planned_files`."""
        config = model.config.config
        texts = {
            node.name: node.get_attr("text")
            for node in model.graph.values()
            if isinstance(node, HwflowProcess)
        }
        model.planned_files = writer.project_files(
            config["StreamGraph"], texts, config["Titles"], config["ProjectSettings"]
        )


class HwflowBackend(FPGABackend):  # type: ignore[misc]
    """Processes with planned folds instead of hls4ml's own layers."""

    def __init__(self) -> None:
        super().__init__(BACKEND)
        self.register_pass("lower", LowerToProcesses())
        self.register_pass("process_config", ConfigTemplate())
        self.register_pass("process_call", CallTemplate())
        lowered = register_flow("lower", ["hwflow:lower"], backend=self.name)
        text = register_flow(
            "templates",
            ["hwflow:process_config", "hwflow:process_call"],
            requires=[lowered],
            backend=self.name,
        )
        self._default_flow = register_flow("ip", None, requires=[text], backend=self.name)
        self._writer_flow = register_flow(
            "write", ["hwflow:write_hls"], requires=[self._default_flow], backend=self.name
        )

    def get_default_flow(self) -> str:
        return str(self._default_flow)

    def get_writer_flow(self) -> str:
        return str(self._writer_flow)

    def create_initial_config(self, **settings: Any) -> dict[str, Any]:
        """What the passes and the writer find in the model's configuration."""
        return {"HLSConfig": {}, "IOType": "io_stream", "WriterConfig": {}, **settings}


def _parse_placed(layer: Any, sources: Any, shapes: Any, reader: Any) -> tuple[Any, Any]:
    """A layer of which hls4ml is told nothing but its place and its shape."""
    name = layer["config"]["name"]
    shape = [None, *reader.model.get_layer(name).output_shape[1:]]
    parsed = {"name": name, "class_name": "HwflowPlaced", "inputs": sources, "shape": shape[1:]}
    return parsed, shape


def _reshaped(parse: Any) -> Any:
    """A parser of hls4ml's for convolutions, whose shapes are put right where there is dilation:
    it reads none, and takes the window for a dense one.
    """

    def parsed(layer: Any, sources: Any, shapes: Any, reader: Any) -> tuple[Any, Any]:
        made, shape = parse(layer, sources, shapes, reader)
        if pair(layer["config"]["dilation_rate"]) != (1, 1):
            shape = [None, *reader.model.get_layer(made["name"]).output_shape[1:]]
            made["out_height"], made["out_width"] = shape[1:3]
        return made, shape

    return parsed


def _register() -> None:
    if BACKEND.lower() not in [name.lower() for name in get_available_backends()]:
        register_layer("HwflowProcess", HwflowProcess)
        register_writer(BACKEND, HwflowWriter)
        register_layer("HwflowPlaced", HwflowPlaced)
        register_backend(BACKEND, HwflowBackend)


@contextlib.contextmanager
def _own_parsers() -> Iterator[None]:
    """Has hls4ml parse in our way what it would refuse or misunderstand; its own way after."""
    names = {n for kind in kinds() if not kind.parsed_by_hls4ml for n in kind.quantized_classes}
    before = dict(layer_handlers)
    layer_handlers.update(dict.fromkeys(names, _parse_placed))
    for name in ("QConv2D", "QDepthwiseConv2D"):
        layer_handlers[name] = _reshaped(before[name])
    try:
        yield
    finally:
        layer_handlers.clear()
        layer_handlers.update(before)


@contextlib.contextmanager
def _narrated() -> Iterator[io.StringIO]:
    """Keeps what hls4ml prints."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's, of how QKeras serialises its quantizers
        yield told


def convert(
    model: Any,
    graph: IntegerGraph,
    streams: StreamGraph,
    settings: writer.ProjectSettings,
) -> tuple[PlannedFiles, str]:
    """Passes a QKeras model through hls4ml.

    Args:
        model: the QKeras model.
        graph: its integer graph.
        streams: the plan of it.
        settings: for the scripts.

    Returns:
        The project's files without the golden vectors, and what hls4ml printed.

    Raises:
        MismatchError: if hls4ml understood another network than the integer graph has.
        DesignError: if a limit of the vendor's tools is exceeded.
        ToolError: if hls4ml cannot convert the model, with its reason.
    """
    _register()
    with _narrated() as told, _own_parsers():
        try:
            converted = convert_from_keras_model(
                model,
                project_name=graph.name,
                output_dir=graph.name,
                backend=BACKEND,
                hls_config={"Model": {"Precision": "fixed<16,6>", "ReuseFactor": 1}},
                IntegerGraph=graph,
                StreamGraph=streams,
                Titles=titles(graph),
                ProjectSettings=settings,
                HlsTool=settings.backend,
            )
            converted.config.backend.write(converted)
        except HwflowError:
            raise
        except Exception as error:  # hls4ml raises plain Exceptions for what it does not know
            raise ToolError(f"hls4ml cannot convert the model: {error}") from error
    read_back(converted, streams)
    files = PlannedFiles()
    planned = {**converted.planned_files, **writer.ap_type_files(), **loading.host_files(streams)}
    for path, text in planned.items():
        files.add(path, text)
    return files, told.getvalue()


def read_back(converted: Any, streams: StreamGraph) -> None:
    """Checks that every type in hls4ml's graph is the one that was handed to it.

    Raises:
        MismatchError: naming each variable that has another.
    """
    faults = []
    for name, stream in streams.streams.items():
        if name in streams.inputs:
            continue
        found = converted.output_vars[name].type.precision
        if str(found) != str(_precision(stream.format)):
            faults.append(f"{name}: {found}, but the integer graph says {stream.format}")
    if faults:
        raise MismatchError("hls4ml changed precisions: " + "; ".join(faults))


def _check_agreement(model: Any, graph: IntegerGraph) -> None:
    """Compares hls4ml's layers with the integer graph: presence, shapes, weights.

    Raises:
        MismatchError: with every layer that differs.
    """
    faults: list[Fault] = []
    for operation in graph.operations:
        if operation.is_head:
            continue
        node = model.graph.get(operation.name)
        tensor = graph.tensors[operation.name]
        if node is None:
            if not _is_split(operation.name, graph, model):
                faults.append(Fault("", operation.name, "hls4ml did not parse this layer"))
            continue
        shape = [int(size) for size in node.get_output_variable().shape]
        if int(np.prod(shape)) != int(np.prod(tensor.shape)) or shape[-1] != tensor.shape[-1]:
            faults.append(Fault("", operation.name, f"hls4ml has {shape}, not {tensor.shape}"))
        if isinstance(operation, Conv2D):
            faults += _weight_faults(node, operation, graph)
    if faults:
        raise MismatchError(
            "hls4ml understood another network:\n" + "\n".join(str(fault) for fault in faults)
        )


def _is_split(name: str, graph: IntegerGraph, model: Any) -> bool:
    """Whether an operation is the accumulator of a layer that has an activation of its own."""
    consumers = graph.consumers(name)
    return (
        len(consumers) == 1 and name.endswith("_accumulator") and consumers[0].name in model.graph
    )


def _weight_faults(node: Any, operation: Conv2D, graph: IntegerGraph) -> list[Fault]:
    unit = graph.tensors[operation.name].format
    expected: Mapping[str, Any] = {
        "weight": operation.weight_format.to_float(operation.weights)
        * 2.0**operation.shifts
        * 2.0**-operation.product_shift,
        "bias": unit.to_float(operation.biases),
    }
    faults = []
    for role, values in expected.items():
        variable = node.weights.get(role) or node.weights.get(f"depthwise_{role}")
        if variable is None:
            if np.any(values):
                faults.append(Fault("", operation.name, f"hls4ml has no {role}"))
            continue
        found = np.asarray(variable.data, np.float64).ravel()
        if found.size != values.size or not np.array_equal(found, np.ravel(values)):
            faults.append(Fault("", operation.name, f"hls4ml has other values of the {role}"))
    return faults


def titles(graph: IntegerGraph) -> dict[str, str]:
    """A line about each layer."""
    found = {}
    for operation in graph.operations:
        shape = " x ".join(map(str, graph.tensors[operation.name].shape))
        sources = ", ".join(
            " x ".join(map(str, graph.tensors[source].shape)) for source in operation.inputs
        )
        window = ""
        if isinstance(operation, Conv2D):
            window = f" {operation.weights.shape[0]} x {operation.weights.shape[1]}"
            if operation.dilation != (1, 1):
                window += f" dilated by {operation.dilation[0]} x {operation.dilation[1]}"
        found[operation.name] = f"{operation.name}: {operation.kind}{window}, {sources} -> {shape}"
    return found


def require_known(names: Mapping[str, str]) -> None:
    """Refuses layer names that cannot be told apart in C++.

    Args:
        names: identifier by layer name.

    Raises:
        DesignError: naming the layers that collide.
    """
    seen: dict[str, str] = {}
    faults = []
    for layer, identifier in names.items():
        if identifier in seen:
            faults.append(f"layers {seen[identifier]!r} and {layer!r} are both {identifier} in C++")
        seen[identifier] = layer
    if faults:
        raise DesignError(faults)

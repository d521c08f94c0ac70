"""The ordered steps of a build.

Each step takes what the ones before it made and adds its own; its folder holds the digests of its
inputs, its outputs and its log, so that a rerun resumes from what is unchanged. The project is
published only when every step is done: until then the previous one stands.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hwflow.checking import (
    check_names,
    read_design,
    require_buildable,
    require_foldable,
    simulation_of,
)
from hwflow.design import Design
from hwflow.integer_graph import IntegerGraph
from hwflow.keras_models import load_keras, save_keras
from hwflow.networks import load_network
from hwflow.plan.mapping import map_graph
from hwflow.plan.streams import StreamGraph
from hwflow.plan.wishes import choices_of, device_of, goal_of
from hwflow.progress import Progress, SilentProgress
from hwflow.workspace import PlannedFiles, Step, Workspace, disk_errors, json_bytes, package_digest

STEPS = ("network", "quantize", "lower", "plan", "hls", "compile", "verify")
"""The steps in their order; a build ends with publishing the project."""

GOLDEN_IMAGES = 2
"""Images whose vectors the project's own testbench compares."""


@dataclass(frozen=True)
class BuildResult:
    """What a build made.

    Attributes:
        project: folder of the project.
        metrics: what `metrics.json` holds.
    """

    project: Path
    metrics: dict[str, Any]


def build(
    design_path: Path,
    output: Path = Path("hls_projects"),
    *,
    start: str | None = None,
    stop: str | None = None,
    force: bool = False,
    ap_types: str | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Builds, verifies and publishes a design.

    Args:
        design_path: the design file.
        output: folder of projects; the project is `output/<name>`.
        start: run again from this step on, whether or not anything changed.
        stop: the last step to run; nothing is published.
        force: run every step again.
        ap_types: headers for the C-simulation, `fast` or `reference`; by default the design's.
        progress: told what is going on.

    Raises:
        DesignError: if the design cannot be built.
        MismatchError: if two witnesses disagree; the previous project stands.
        ToolError: if the compiler is missing or fails, or the disk is full.
    """
    design = read_design(design_path)
    if ap_types is not None:
        design = replace(design, simulation=simulation_of(ap_types))
    with Workspace(output, design.name) as workspace:
        flow = _Flow(design, workspace, progress or SilentProgress(), start, force)
        for name in STEPS:
            flow.run(name)
            if name == stop:
                return BuildResult(workspace.project, flow.metrics())
        metrics = flow.metrics()
        return BuildResult(flow.publish(metrics), metrics)


def integer_graph(
    design_path: Path, output: Path = Path("hls_projects"), progress: Progress | None = None
) -> IntegerGraph:
    """The integer graph of a design: the steps up to `lower`, resumed where unchanged.

    Raises:
        DesignError: if the design cannot be built.
    """
    with _up_to("lower", design_path, output, progress) as flow:
        require_foldable(flow.graph, flow.design)
        return flow.graph


def planned_streams(
    design_path: Path, output: Path = Path("hls_projects"), progress: Progress | None = None
) -> StreamGraph:
    """The processes and streams of a design, with their depths: the steps up to `plan`, likewise.

    Raises:
        DesignError: if the design cannot be built.
        DoesNotFitError: if its target cannot be reached.
    """
    with _up_to("plan", design_path, output, progress) as flow:
        return flow.streams


def planned(
    design_path: Path, output: Path = Path("hls_projects"), progress: Progress | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `metrics.json` and `plan.json` hold once a design is planned, likewise.

    Raises:
        DesignError: if the design cannot be built.
        DoesNotFitError: if its target cannot be reached.
    """
    with _up_to("plan", design_path, output, progress) as flow:
        return flow.metrics(), flow.streams.to_json()


@contextmanager
def _up_to(
    last: str, design_path: Path, output: Path, progress: Progress | None
) -> Iterator[_Flow]:
    design = read_design(design_path)
    with Workspace(output, design.name) as workspace:
        flow = _Flow(design, workspace, progress or SilentProgress(), None, False)
        for name in STEPS[: STEPS.index(last) + 1]:
            flow.run(name)
        yield flow


class _Flow:
    """The state of one build: what each step made, loaded from its folder when it is needed."""

    def __init__(
        self,
        design: Design,
        workspace: Workspace,
        progress: Progress,
        start: str | None,
        force: bool,
    ) -> None:
        self.design = design
        self.workspace = workspace
        self.progress = progress
        self.rerun = STEPS if force else STEPS[STEPS.index(start) :] if start else ()
        self.steps: dict[str, Step] = {}
        self.network: Any = None  # the float Keras model, once it is loaded
        self.model: Any = None  # the QKeras model, once it is loaded
        self.description: dict[str, Any] = {}  # of the network, once it is loaded
        self.actions: dict[str, Callable[[Step], None]] = {
            "network": self.make_network,
            "quantize": self.quantize,
            "lower": self.lower,
            "plan": self.plan,
            "hls": self.make_hls,
            "compile": self.compile,
            "verify": self.verify,
        }

    def run(self, name: str) -> None:
        """Runs a step unless it is done with the same inputs."""
        step = self.workspace.step(STEPS.index(name), name, self.inputs_of(name))
        self.steps[name] = step
        if step.is_done and name not in self.rerun:
            with self.progress.step(name, reused=True):
                return
        with self.progress.step(name):
            begin = time.monotonic()
            if name == "network":
                self.load_network()  # what cannot be built is refused before anything is written
            step.begin()
            self.actions[name](step)
            step.finish(time.monotonic() - begin)

    def inputs_of(self, name: str) -> dict[str, str]:
        """Digests of what goes into a step: sections of the design, earlier steps, hwflow."""
        sections = {
            "network": ("network", "weights", "outputs"),
            "quantize": ("quantization", "calibration", "preprocessing"),
            "lower": ("outputs",),
            "plan": ("hardware",),
            "hls": ("name", "hardware", "verification", "preprocessing"),  # the golden vectors too
            "compile": ("simulation",),
            "verify": ("verification", "preprocessing"),
        }.get(name, ())
        sources = {
            "quantize": ("network",),
            "lower": ("network", "quantize"),
            "plan": ("lower",),
            "hls": ("quantize", "lower", "plan"),
            "compile": ("hls",),
            "verify": ("quantize", "lower", "plan", "compile"),
        }.get(name, ())
        inputs = {"hwflow": package_digest()}
        if sections:
            inputs["design"] = self.design.digest(*sections)
        return inputs | {source: self.steps[source].digest for source in sources}

    # --- what steps made ---------------------------------------------------------------------

    def output(self, step: str, file: str) -> Path:
        return self.steps[step].outputs / file

    def float_model(self) -> Any:
        if self.network is None:
            self.network = load_keras(self.output("network", "float.h5"))
        return self.network

    def quantized_model(self) -> Any:
        if self.model is None:
            self.model = load_keras(self.output("quantize", "quantized.h5"))
        return self.model

    @cached_property
    def graph(self) -> IntegerGraph:
        return IntegerGraph.load(self.steps["lower"].outputs)

    @cached_property
    def streams(self) -> StreamGraph:
        """The plan, as this build made it.

        Of an earlier build the file has no constants, so it is mapped again, but keeps its depths.
        """
        from hwflow.plan.steering import with_decisions

        decisions = json.loads(self.output("plan", "decisions.json").read_text())
        mapped = map_graph(self.graph, with_decisions(choices_of(self.design), decisions))
        document = json.loads(self.output("plan", "plan.json").read_text())
        return replace(mapped, streams=StreamGraph.from_json(document).streams)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return self.graph.tensors[self.graph.inputs[0]].shape

    # --- steps -------------------------------------------------------------------------------

    def load_network(self) -> None:
        network = load_network(self.design)
        self.network = network.model
        self.description = {
            "source": network.source,
            "parameters": network.parameters_count,
            "outputs": check_names(self.design, network.model),
        }
        require_buildable(network.model, self.design)

    def make_network(self, step: Step) -> None:
        save_keras(self.network, step.outputs / "float.h5")
        write(step.outputs / "network.json", json_bytes(self.description))

    def quantize(self, step: Step) -> None:
        from hwflow.quantize.adopt import adopt, is_quantized
        from hwflow.quantize.build import quantize

        network = self.float_model()
        shape = tuple(int(size) for size in network.input_shape[1:])
        images = self.calibration_images((shape[0], shape[1], shape[2]))
        if is_quantized(network):
            note = self.progress.note
            given = sorted(self.design.quantization.model_fields_set - {"input"})
            if given:
                keys = ", ".join(f"quantization.{key}" for key in given)
                note(f"{keys} of the design: not used, the model's own quantizers hold")
            self.model = adopt(network, self.design.quantization.input, images, note)
        else:
            self.model = quantize(
                network,
                self.design.quantization,
                images,
                self.design.fault,
                lambda done, total: self.progress.advance(done, total, "images, two passes"),
                self.progress.note,
            )
        save_keras(self.model, step.outputs / "quantized.h5")

    def calibration_images(self, shape: tuple[int, int, int]) -> Any:
        from hwflow.pictures import load_images

        calibration = self.design.calibration
        return load_images(
            calibration.images,
            self.design.preprocessing,
            shape,
            calibration.count,
            calibration.seed,
        )

    def lower(self, step: Step) -> None:
        from hwflow.quantize.heads import with_heads
        from hwflow.quantize.lower import lower
        from hwflow.simulate.statistics import observed, summary

        outputs = json.loads(self.output("network", "network.json").read_text())["outputs"]
        heads = [self.design.outputs.for_layer(name) for name in outputs]
        graph = with_heads(lower(self.quantized_model(), self.design.name), heads)
        for name, content in graph.to_files().items():
            write(step.outputs / name, content)
        images = self.calibration_images(graph.tensors[graph.inputs[0]].shape)
        tensors = observed(
            graph,
            images,
            lambda done, total: self.progress.advance(done, total, "images, on integers"),
        )
        calibration = {"summary": summary(graph, tensors, len(images)), "tensors": tensors}
        write(step.outputs / "calibration.json", json_bytes(calibration))

    def plan(self, step: Step) -> None:
        from hwflow.plan.figures import figures
        from hwflow.plan.steering import decisions_json, steered

        require_foldable(self.graph, self.design)
        hardware = self.design.hardware
        choices, goal = choices_of(self.design), goal_of(self.design)
        device = device_of(hardware.part)
        if goal is None or device is None:
            streams = map_graph(self.graph, choices)
        else:
            choices, streams = steered(self.graph, choices, device, goal, hardware.clock_period_ns)
        self.streams = streams
        write(step.outputs / "plan.json", json_bytes(streams.to_json()))
        write(step.outputs / "decisions.json", json_bytes(decisions_json(choices)))
        found = figures(streams, hardware.part, hardware.clock_period_ns)
        write(step.outputs / "figures.json", json_bytes(found))

    def make_hls(self, step: Step) -> None:
        from hwflow.hls import hls4ml_backend, writer

        hardware = self.design.hardware
        settings = writer.ProjectSettings(hardware.backend, hardware.part, hardware.clock_period_ns)
        files, told = hls4ml_backend.convert(
            self.quantized_model(), self.graph, self.streams, settings
        )
        inputs = self.verification_inputs(min(GOLDEN_IMAGES, self.design.verification.count))
        expected = self.graph.evaluate(inputs, keep=lambda name: False)
        golden = writer.testbench_files(
            self.streams,
            [inputs[name] for name in self.graph.inputs],
            [expected[name] for name in self.graph.outputs],
        )
        for path, text in golden.items():
            files.add(path, text)
        files.write_into(step.outputs / "hls")
        write(step.log, told.encode())

    def compile(self, step: Step) -> None:
        simulator = self.simulator(step.log)
        self.progress.note(f"{simulator.compiled} of {simulator.units} units compiled")
        summary = {
            "program": simulator.program.name,
            "units": simulator.units,
            "ap_types": self.design.simulation.ap_types,
        }
        write(step.outputs / "compile.json", json_bytes(summary))

    def simulator(self, log: Path) -> Any:
        from hwflow.simulate.csim import compile_project

        return compile_project(
            self.output("hls", "hls"),
            self.streams,
            self.workspace.folder / "objects",
            log,
            ap_types=self.design.simulation.ap_types,
            progress=lambda done, total: self.progress.advance(done, total, "layers"),
        )

    def verification_inputs(self, count: int) -> dict[str, Any]:
        """Raw integers of the verification images, by input tensor."""
        from hwflow.simulate.verify import quantized_input

        return {self.graph.inputs[0]: quantized_input(self.graph, self.images(count))}

    def images(self, count: int) -> Any:
        from hwflow.pictures import load_images

        verification = self.design.verification
        return load_images(
            verification.images,
            self.design.preprocessing,
            self.input_shape,
            count,
            verification.seed,
        )

    def verify(self, step: Step) -> None:
        from hwflow.quantize.adopt import is_quantized
        from hwflow.simulate.verify import quantized_input, require_exact, verify

        images = self.images(self.design.verification.count)
        tally, details = verify(
            self.graph,
            self.quantized_model(),
            self.simulator(step.log),
            images,
            step.folder / "run",
            step.log,
            progress=lambda done, total: self.progress.advance(done, total, "images"),
            given=self.float_model() if is_quantized(self.float_model()) else None,
        )
        result = tally.to_json(self.graph) | details.summary
        write(step.outputs / "results.json", json_bytes(result))
        write(step.outputs / "tensors.json", json_bytes(details.tensors))
        np.save(step.outputs / "inputs.npy", quantized_input(self.graph, images).astype(np.int32))
        require_exact(
            tally,
            self.graph,
            self.streams,
            self.output("hls", "hls"),
            images,
            step.folder / "reproducer",
        )

    # --- the result --------------------------------------------------------------------------

    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds, as far as the steps went."""
        from hwflow.project_estimate import layer_cycles

        found: dict[str, Any] = {"design": self.design.name}
        if "network" in self.steps:
            found["network"] = json.loads(self.output("network", "network.json").read_text())[
                "source"
            ]
        if "lower" in self.steps:
            found |= {
                "parameters": self.graph.parameters,
                "macs": self.graph.macs,
                "weight_bits": self.graph.weight_bits,
                "outputs": [
                    {
                        "name": name,
                        "shape": list(self.graph.tensors[name].shape),
                        "format": str(self.graph.tensors[name].format),
                    }
                    for name in self.graph.outputs
                ],
                "calibration": json.loads(self.output("lower", "calibration.json").read_text())[
                    "summary"
                ],
            }
        if "plan" in self.steps:
            from hwflow.plan.figures import plan_metrics

            found["hardware"] = plan_metrics(self.design.hardware, self.streams)
            found |= json.loads(self.output("plan", "figures.json").read_text())
            found["latency"]["per_layer"] = layer_cycles(self.streams.to_json())
            if "hls" in self.steps:
                found |= self.vendor_results()
            found["estimate"] = self.estimate(found)
        if "compile" in self.steps:
            found["simulation"] = {"ap_types": self.design.simulation.ap_types}
        found["verification"] = {"status": "skipped"}
        if "verify" in self.steps:
            found["verification"] = json.loads(self.output("verify", "results.json").read_text())
        found["timings_s"] = {name: round(s.seconds, 3) for name, s in self.steps.items()}
        return found

    def estimate(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Each figure with its source and uncertainty, for both of the tools' stages."""
        from hwflow.project_estimate import of_metrics
        from hwflow.recalibration import local_factors

        found = of_metrics(metrics, self.streams.to_json(), local_factors(self.workspace.project))
        return found.to_json()

    def vendor_results(self) -> dict[str, Any]:
        """The vendor's figures of the previous project, if they are of the same sources."""
        from hwflow.ingest import carried_over

        kept = carried_over(self.workspace.project, self.output("hls", "hls"))
        if kept is None:
            self.progress.note(
                "the vendor's figures are dropped: the HLS sources have changed since; "
                "run hwflow synth or hwflow ingest again"
            )
        return kept or {}

    def publish(self, metrics: dict[str, Any]) -> Path:
        """Puts the project in the place of the previous one."""
        extra = PlannedFiles()
        extra.add("metrics.json", json_bytes(metrics))
        extra.add("design.json", json_bytes(self.design.to_json()))
        files = {
            "model/float.h5": self.output("network", "float.h5"),
            "model/quantized.h5": self.output("quantize", "quantized.h5"),
            "integer_graph.json": self.output("lower", "integer_graph.json"),
            "integer_graph.npz": self.output("lower", "integer_graph.npz"),
            "calibration.json": self.output("lower", "calibration.json"),
            "plan.json": self.output("plan", "plan.json"),
            "hls": self.output("hls", "hls"),
            "verification": self.steps["verify"].outputs,
        }
        for name, step in self.steps.items():
            if step.log.exists():
                files[f"logs/{name}.txt"] = step.log
        return self.workspace.publish(files, extra)


def write(path: Path, content: bytes) -> None:
    """Writes a step's file; ToolError if the disk refuses."""
    with disk_errors(f"writing {path.name}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def verify(
    project: Path,
    *,
    images: Path | None = None,
    count: int | None = None,
    ap_types: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compares a project's witnesses on other inputs.

    Args:
        project: folder of a published project.
        images: a folder of pictures, a picture or a `.npy` array; by default the design's own.
        count: number of images; by default all of `images`, or the design's count.
        ap_types: headers for the C-simulation, `fast` or `reference`; by default the design's.
        progress: told how far it is.

    Returns:
        The `verification` of `metrics.json`.

    Raises:
        DesignError: if the project or the images cannot be read.
        MismatchError: if two witnesses disagree.
        ToolError: if the compiler is missing or fails.
    """
    from hwflow.project import Project

    return Project(project).verify(images=images, count=count, ap_types=ap_types, progress=progress)

"""A published project, opened: prediction by any witness, and verification on other inputs."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hwflow.checking import simulation_of
from hwflow.errors import DesignError, Fault
from hwflow.fixed_point import IntArray
from hwflow.integer_graph import IntegerGraph
from hwflow.keras_models import load_keras
from hwflow.plan.loading import load_words
from hwflow.plan.streams import StreamGraph
from hwflow.progress import Progress, SilentProgress
from hwflow.sections import Preprocessing, Simulation, Verification
from hwflow.simulate.verify import quantized_input, require_exact
from hwflow.workspace import disk_errors

if TYPE_CHECKING:
    from hwflow.simulate.csim import Simulator
    from hwflow.simulate.fast import FastEngine

WITNESSES = ("keras", "integer", "fast", "csim")
"""Who can predict."""


@dataclass(frozen=True)
class Prediction:
    """What a witness makes of images.

    Attributes:
        integers: raw integers by output, shape `(N, H, W, C)`.
        floats: their real values.
    """

    integers: dict[str, IntArray]
    floats: dict[str, npt.NDArray[np.float64]]


class Project:
    """A project that `hwflow build` published.

    Args:
        folder: of the project.

    Raises:
        DesignError: if the folder is no whole project.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        missing = [
            name
            for name in ("metrics.json", "integer_graph.json", "plan.json", "hls")
            if not (self.folder / name).exists()
        ]
        if missing:
            raise DesignError(
                Fault(
                    str(self.folder),
                    "",
                    f"must be a project that `hwflow build` made, but it has no {missing[0]}",
                )
            )

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds."""
        return dict(self._json("metrics.json"))

    @cached_property
    def graph(self) -> IntegerGraph:
        """The integer graph."""
        return IntegerGraph.load(self.folder)

    @cached_property
    def streams(self) -> StreamGraph:
        """The plan, without constants."""
        try:
            return StreamGraph.from_json(self._json("plan.json"))
        except (KeyError, TypeError, ValueError) as error:
            raise DesignError(Fault(str(self.folder / "plan.json"), "", str(error))) from error

    @cached_property
    def model(self) -> Any:
        """The QKeras model."""
        return load_keras(self.folder / "model" / "quantized.h5")

    @cached_property
    def given(self) -> Any:
        """The user's own QKeras model; None if the QKeras model was made of a float network."""
        if "model" not in self.metrics.get("verification", {}).get("witnesses", []):
            return None
        return load_keras(self.folder / "model" / "float.h5")

    @cached_property
    def engine(self) -> FastEngine:
        """The fast engine, loaded with the integer graph."""
        from hwflow.simulate.fast import FastEngine

        return FastEngine(self.graph)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """What the design says is done to a picture."""
        return Preprocessing.model_validate_json(
            json.dumps(self._json("design.json")["preprocessing"])
        )

    def _json(self, name: str) -> Any:
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, ValueError) as error:
            raise DesignError(Fault(str(self.folder / name), "", str(error))) from error

    def predict(
        self, images: npt.ArrayLike, witness: str = "integer", *, weights: bytes | None = None
    ) -> Prediction:
        """What a witness makes of images.

        Args:
            images: preprocessed real values, shape `(N, H, W, C)`.
            witness: `keras` (the QKeras model), `integer` (the integer graph in NumPy), `fast` (the
                engine) or `csim` (the emitted code, compiled).
            weights: what `csim` loads at start-up instead of the project's own words; see
                `weights_of`.

        Raises:
            DesignError: for another witness, another shape of the images, or weights for a witness
                or a project that loads none.
            ToolError: if the C-simulation cannot be compiled or fails.
        """
        if witness not in WITNESSES:
            raise DesignError(f"witness must be one of {', '.join(WITNESSES)}, not {witness!r}")
        if weights is not None and (witness != "csim" or not load_words(self.streams)):
            loads = "csim, of a project with a load port"
            raise DesignError(f"weights are loaded by {loads}, not by {witness}")
        graph = self.graph
        raw = quantized_input(graph, images)
        inputs = {graph.inputs[0]: raw}
        if witness == "integer":
            found = graph.evaluate(inputs, keep=lambda name: False)
            integers = {name: found[name] for name in graph.outputs}
        elif witness == "fast":
            fast = self.engine.predict(inputs)
            integers = {name: fast[name].astype(np.int64) for name in graph.outputs}
        elif witness == "csim":
            integers = self._simulated(inputs, weights)
        else:
            integers = self._of_keras(np.asarray(images, np.float32))
        floats = {name: graph.tensors[name].format.to_float(v) for name, v in integers.items()}
        return Prediction(integers, floats)

    def _of_keras(self, images: npt.NDArray[np.float32]) -> dict[str, IntArray]:
        from hwflow.simulate.keras_reference import KerasReference, to_raw

        graph = self.graph
        found = KerasReference(self.model, graph, graph.outputs).evaluate(images)
        return {
            name: to_raw(found[name], graph.tensors[name]).astype(np.int64)
            for name in graph.outputs
        }

    def weights_of(self, other: IntegerGraph) -> bytes:
        """The words to stream in so that this project computes with another's weights.

        Args:
            other: the same network with other weights in the layers that are loaded, such as
                `hwflow.open(folder).graph` of a project with the same quantization.

        Returns:
            64-bit words, the least significant byte first, as `hls/host/weights.bin` holds them.

        Raises:
            DesignError: if nothing is loaded, or the other differs in more than those weights:
                every difference.
        """
        from hwflow.hls.loading import weights_of

        return weights_of(self.streams, self.graph, other)

    def _work(self, name: str) -> Path:
        """A folder of the working area beside the project; what is in it, logs above all, stays."""
        folder = self.folder.parent / f".{self.folder.name}" / name
        with disk_errors(f"making {folder}"):
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _simulated(self, inputs: dict[str, IntArray], weights: bytes | None) -> dict[str, IntArray]:
        from hwflow.simulate.csim import simulate

        log = self._work("predict") / "log.txt"
        with tempfile.TemporaryDirectory() as scratch:
            simulator = self.simulator(log, SilentProgress())
            if weights is not None:
                words = Path(scratch) / "weights.bin"
                words.write_bytes(weights)
                simulator = replace(simulator, weights=words)
            found = simulate(
                simulator,
                inputs,
                Path(scratch) / "run",
                log,
                tensors=self.graph.outputs,
            )
        images = len(next(iter(inputs.values())))
        return {
            name: array.reshape(images, *self.graph.tensors[name].shape)
            for name, array in found.items()
        }

    def simulator(self, log: Path, progress: Progress, ap_types: str | None = None) -> Simulator:
        """The compiled C-simulation; objects are kept beside the project.

        Args:
            log: what the compiler says.
            progress: told how many layers are compiled.
            ap_types: headers, `fast` or `reference`; by default those of the design.

        Raises:
            DesignError: if there are no such headers.
            ToolError: if there is no compiler or it fails.
        """
        from hwflow.simulate.csim import compile_project

        if ap_types is not None:
            chosen = simulation_of(ap_types)
        else:
            chosen = Simulation.model_validate(self._json("design.json").get("simulation", {}))
        return compile_project(
            self.folder / "hls",
            self.streams,
            self._work("objects"),
            log,
            ap_types=chosen.ap_types,
            progress=lambda done, total: progress.advance(done, total, "layers"),
        )

    def verify(
        self,
        images: Path | None = None,
        count: int | None = None,
        ap_types: str | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Compares the witnesses on other inputs; see `hwflow.flow.verify`."""
        from hwflow.pictures import load_images
        from hwflow.simulate.verify import verify

        if ap_types is not None:
            simulation_of(ap_types)  # told before anything runs
        told = progress or SilentProgress()
        given = self._json("design.json")["verification"]
        settings = {k: v for k, v in given.items() if k != "images"}
        verification = Verification.model_validate_json(json.dumps(settings))
        chosen = count if count is not None else verification.count
        if images is not None and count is None:
            chosen = 1_000_000  # all that there are
        (input_name,) = self.graph.inputs
        shape = self.graph.tensors[input_name].shape
        values = load_images(images, self.preprocessing, shape, chosen, verification.seed)
        work = self._work("verify")
        with told.step("compile"):
            simulator = self.simulator(work / "compile.txt", told, ap_types)
        # not in /tmp, where the files of a large network are too large
        with tempfile.TemporaryDirectory(dir=work) as scratch, told.step("verify"):
            tally, details = verify(
                self.graph,
                self.model,
                simulator,
                values,
                Path(scratch) / "run",
                work / "verify.txt",
                progress=lambda done, total: told.advance(done, total, "images"),
                given=self.given,
            )
        require_exact(
            tally,
            self.graph,
            self.streams,
            self.folder / "hls",
            values,
            work.with_name("reproducer"),
        )
        return tally.to_json(self.graph) | details.summary

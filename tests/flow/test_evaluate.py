"""`hwflow evaluate` on a small project: figures, resumption, interrupts, memory, a cluster."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hwflow.errors import DesignError, ToolError
from hwflow.evaluate import batch as batches
from hwflow.evaluate.run import evaluate
from hwflow.keras_models import load_keras
from hwflow.pictures import read_pictures
from hwflow.progress import SilentProgress
from hwflow.project import Project
from tests.flow.conftest import Built

COUNT = 70
SHAPE = (6, 7, 3)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures of noise, and labels of four classes."""
    folder = tmp_path_factory.mktemp("labelled")
    generator = np.random.default_rng(11)
    lines = ["file,label"]
    for index in range(COUNT):
        pixels = generator.integers(0, 256, (9 + index % 3, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03}.png")
        lines.append(f"{index:03}.png,{index % 4}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return folder, folder / "labels.csv"


@pytest.fixture
def project(tiny: Built, tmp_path: Path) -> Path:
    return tiny.copied(tmp_path / "copy", workspace=False).project


def in_class_folders(images: Path, folder: Path, count: int) -> Path:
    """Many pictures of little content, as folders of four classes."""
    for index in range(count):
        target = folder / f"{index % 4}" / f"{index:04}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(images / f"{index % COUNT:03}.png", target)
    return folder


def kept(project: Path, witness: str = "") -> list[Path]:
    return sorted((project.parent / f".{project.name}" / "evaluation").glob(f"{witness}*.json"))


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    """The figures without what depends on the machine."""
    copy: dict[str, Any] = json.loads(json.dumps(result))
    for found in copy["witnesses"].values():
        del found["images_per_second"]
    return copy


def test_figures_are_those_of_predicting_all_at_once(
    project: Path, labelled: tuple[Path, Path]
) -> None:
    images, labels = labelled
    result = evaluate(project, images, labels, batch=16, statistics=True)
    opened = Project(project)
    pictures = read_pictures(images, opened.preprocessing, SHAPE)
    truth = np.arange(COUNT) % 4
    (output,) = opened.graph.outputs
    logits = {
        "float": load_keras(project / "model" / "float.h5")(pictures),
        "qkeras": opened.predict(pictures, "keras").integers[output],
        "fast": opened.predict(pictures, "integer").integers[output],
    }
    chosen = {name: np.asarray(v).reshape(COUNT, 4).argmax(1) for name, v in logits.items()}
    assert result["images"] == COUNT
    for name, found in result["witnesses"].items():
        assert found["top1"]["count"] == np.count_nonzero(chosen[name] == truth), name
        assert found["top5"] is None
        matrix = np.loadtxt(
            project / "evaluation" / f"confusion_{name}.csv", int, delimiter=",", skiprows=1
        )[:, 1:]
        for row, column in np.ndindex(4, 4):
            assert matrix[row, column] == np.sum((truth == row) & (chosen[name] == column))
        assert sum(n for _, _, n in found["most_confused"]) == matrix.sum() - matrix.trace()
    for pair, agreed in result["agreement"].items():
        first, second = pair.split("-")
        assert agreed["top1"]["count"] == np.count_nonzero(chosen[first] == chosen[second])
    assert set(result["agreement"]) == {"float-qkeras", "float-fast", "qkeras-fast"}
    assert result["agreement"]["qkeras-fast"]["equality_proved"]
    assert result["agreement"]["qkeras-fast"]["equal_logits"]["count"] == COUNT
    with (project / "evaluation" / "predictions.csv").open() as file:
        rows = sorted(csv.reader(file))
    assert rows[0] == ["000.png", "0", *(str(chosen[n][0]) for n in ("float", "qkeras", "fast"))]
    values = opened.graph.evaluate({opened.graph.inputs[0]: _raw(opened, pictures)})
    for name, tensor in values.items():
        seen = result["statistics"][name]
        assert (seen["count"], seen["minimum"], seen["maximum"]) == (
            tensor.size,
            tensor.min(),
            tensor.max(),
        )
    assert json.loads((project / "evaluation" / "evaluation.json").read_text()) == result


def _raw(opened: Project, pictures: Any) -> Any:
    return opened.graph.tensors[opened.graph.inputs[0]].format.quantize(pictures)


def test_what_is_kept_is_used_until_something_changes(
    project: Path,
    labelled: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, labels = labelled
    computed: list[tuple[str, int]] = []
    original = batches.Predictor.record

    def counted(self: Any, witness: str, pixels: Any) -> Any:
        computed.append((witness, len(pixels)))
        return original(self, witness, pixels)

    monkeypatch.setattr(batches.Predictor, "record", counted)

    def run(folder: Path = images, names: Path = labels, **options: Any) -> dict[str, Any]:
        computed.clear()
        return evaluate(project, folder, names, batch=32, witnesses=["fast"], **options)

    first = run()
    assert computed == [("fast", 32), ("fast", 32), ("fast", 6)]
    assert run() == first  # times included: nothing was computed
    assert computed == []
    kept(project)[1].unlink()
    kept(project)[0].write_text("{")  # damaged
    assert timeless(run()) == timeless(first)
    assert len(computed) == 2
    run(count=40)  # the first batch is the same, the second is shorter
    assert computed == [("fast", 8)]
    statistics = run(statistics=True)
    assert len(computed) == 3
    assert statistics["witnesses"]["fast"]["top1"] == first["witnesses"]["fast"]["top1"]

    others = tmp_path / "others.csv"
    others.write_text(labels.read_text().replace(",1\n", ",2\n"))
    changed = run(names=others)
    assert computed == []  # a label does not matter to a prediction
    matrix = {name: list(f["most_confused"]) for name, f in changed["witnesses"].items()}
    assert matrix != {name: list(f["most_confused"]) for name, f in first["witnesses"].items()}

    copy = tmp_path / "images"
    copy.mkdir()
    for file in images.glob("*.png"):
        (copy / file.name).write_bytes(file.read_bytes())
    run(folder=copy)
    assert computed == []  # the same content elsewhere
    Image.new("RGB", (9, 9), (1, 2, 3)).save(copy / "005.png")
    run(folder=copy)
    assert len(computed) == 1
    design = json.loads((project / "design.json").read_text())
    design["preprocessing"]["mean"] = 3
    (project / "design.json").write_text(json.dumps(design))
    run()
    assert len(computed) == 3


def test_unreadable_pictures_are_told_together_after_the_rest_is_done(
    project: Path, labelled: tuple[Path, Path], tmp_path: Path
) -> None:
    """A picture that breaks off has a good head: only reading all of it tells."""
    images, labels = labelled
    copy = tmp_path / "images"
    copy.mkdir()
    for file in images.glob("*.png"):
        (copy / file.name).write_bytes(file.read_bytes())
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("003.png", "060.png"):
        Image.fromarray(noise).save(copy / name)
        (copy / name).write_bytes((copy / name).read_bytes()[:900])
    with pytest.raises(DesignError) as caught:
        evaluate(project, copy, labels, batch=4, witnesses=["fast"])
    assert sorted(Path(fault.where).name for fault in caught.value.faults) == [
        "003.png",
        "060.png",
    ]
    assert len(kept(project)) >= COUNT // 4 + 1 - 2
    assert not (project / "evaluation").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"witnesses": ["fats"]}, "--witnesses: must be of float, qkeras, fast.*mean 'fast'"),
        ({"witnesses": []}, "must name some of"),
        ({"witnesses": ["float"], "statistics": True}, "--statistics: are the engine's"),
    ],
)
def test_options_that_do_not_fit(
    project: Path, labelled: tuple[Path, Path], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DesignError, match=message):
        evaluate(project, *labelled, **options)
    assert kept(project) == []


def test_a_network_that_does_not_classify_is_refused(project: Path, tmp_path: Path) -> None:
    document = json.loads((project / "integer_graph.json").read_text())
    document["outputs"] = ["pool"]
    (project / "integer_graph.json").write_text(json.dumps(document))
    with pytest.raises(DesignError, match=r"must classify: .* not \(2, 3, 4\)"):
        evaluate(project, tmp_path)


def test_memory_does_not_grow_with_the_number_of_pictures(
    project: Path, labelled: tuple[Path, Path], tmp_path: Path
) -> None:
    many = in_class_folders(labelled[0], tmp_path / "many", 600)
    evaluate(project, many, count=16, batch=16, witnesses=["fast"])  # imports and caches
    peaks = []
    for count in (64, 600):
        tracemalloc.start()
        evaluate(project, many, count=count, batch=16, witnesses=["fast"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 536 * 4_000  # names, digests, classes: nothing grows with pixels


def test_no_more_than_two_batches_of_pictures_are_in_memory(
    project: Path,
    labelled: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their arrays are counted as they come and go: one is predicted, the next one is read."""
    many = in_class_folders(labelled[0], tmp_path / "many", 400)
    alive: set[int] = set()
    most: list[int] = []
    original = batches.Predictor.pixels

    def counted(self: Any, files: Any, pool: Any) -> Any:
        pixels = original(self, files, pool)
        key = len(most)
        alive.add(key)
        weakref.finalize(pixels, alive.discard, key)
        most.append(len(alive))
        return pixels

    monkeypatch.setattr(batches.Predictor, "pixels", counted)
    evaluate(project, many, batch=4, witnesses=["float", "fast"])
    assert len(most) == 100
    assert max(most) <= 2
    assert alive == set()


COMMAND = [sys.executable, "-m", "hwflow.cli", "evaluate"]


def test_an_interrupt_stops_at_once_and_keeps_what_is_done(
    project: Path, labelled: tuple[Path, Path], tmp_path: Path
) -> None:
    many = in_class_folders(labelled[0], tmp_path / "many", 6000)
    arguments = [*COMMAND, str(project), "--images", str(many), "--witnesses", "fast"]
    arguments += ["--batch", "4"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(kept(project)) < 3:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "interrupted" in told
    done = kept(project)
    assert 3 <= len(done) < 1500
    before = {path: path.stat().st_mtime_ns for path in done}
    again = subprocess.run(
        [*arguments, "--json"], capture_output=True, text=True, timeout=120, check=True
    )
    assert {path: path.stat().st_mtime_ns for path in done} == before
    assert len(kept(project)) == 1500
    assert f"{4 * len(done)} images are kept" in again.stderr
    assert json.loads(again.stdout)["images"] == 6000


def test_the_command_shows_tables(project: Path, labelled: tuple[Path, Path]) -> None:
    images, labels = labelled
    options = ["--witnesses", "fast", "--statistics", "--count", "9", "--threads", "1"]
    shown = subprocess.run(
        [*COMMAND, str(project), "--images", str(images), "--labels", str(labels), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"COLUMNS": "160"},
    ).stdout
    assert "tiny: 9 images, 4 classes" in shown
    assert "top-1" in shown
    assert "unused bits" in shown
    bad = subprocess.run(
        [*COMMAND, str(project), "--images", str(images / "none")], capture_output=True, text=True
    )
    assert bad.returncode == 2
    assert "must be a folder of pictures" in bad.stderr


# --- cluster ---------------------------------------------------------------------------------


class _Killer(SilentProgress):
    """Kills a worker of a cluster once some images are done."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.killed = 0

    def advance(self, done: int, total: int, what: str) -> None:
        if what.startswith("images") and 0 < done < total and not self.killed:
            self.killed = next(iter(self.cluster.workers.values())).pid
            os.kill(self.killed, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_cluster_gives_the_same_figures_though_a_worker_is_killed(
    project: Path, labelled: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    distributed = pytest.importorskip("distributed")
    options: dict[str, Any] = {"batch": 2, "witnesses": ["fast"], "threads": 1}
    here = evaluate(project, *labelled, **options)
    files = {path.name for path in kept(project)}
    for path in kept(project):
        path.unlink()
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        killer = _Killer(cluster)
        address = cluster.scheduler_address
        there = evaluate(project, *labelled, cluster=address, progress=killer, **options)
        assert killer.killed
        assert timeless(there) == timeless(here)
        assert {path.name for path in kept(project)} == files
        monkeypatch.setattr("hwflow.evaluate.run.package_digest", lambda: "another")
        with pytest.raises(ToolError, match="another hwflow"):
            evaluate(project, *labelled, cluster=address, **options)


def test_a_cluster_that_is_not_there(project: Path, labelled: tuple[Path, Path]) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(ToolError, match="--cluster: no Dask scheduler at 'nowhere"):
        evaluate(project, *labelled, witnesses=["fast"], cluster="nowhere:1:2")

"""Full-size designs, exact on every value of every tensor; minutes each.

A design of each well-known family is built by `make test`, and all that ship by `make full-size`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import run_worker
from hwflow import flow
from hwflow.checking import read_design
from tests.support.data import data_path

ROOT = Path(__file__).parents[2]
DESIGNS = sorted(path.stem for path in (ROOT / "designs").glob("*.yaml"))

USUAL = (
    "efficientnet_b0_int8",
    "mobilenet_v1_int8",
    "mobilenet_v2_int8",
    "mobilenet_v3_small_int8",
    "squeezenet_int8",
    "squeezenet_small",
)
"""Those that `make test` builds; the others have the marker that it leaves out."""

SMALL = ("ds_cnn_int8", "resnet_20_int8", "squeezenet_small")
"""Those with fewer than two million values an image."""

pytestmark = pytest.mark.slow


def require_exact(metrics: dict[str, Any], images: int, values_an_image: int) -> None:
    verification = metrics["verification"]
    assert verification["status"] == "exact"
    assert verification["images"] == images
    assert verification["mismatches"] == 0
    assert {"integer", "keras", "fast", "csim"} <= set(verification["witnesses"])
    for witness in ("fast", "csim"):  # Keras's share moves to float64 where float32 is not exact
        assert verification["values_by_witness"][witness] >= images * values_an_image


def test_the_usual_designs_ship() -> None:
    assert set(USUAL) <= set(DESIGNS)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in USUAL else pytest.mark.full_size) for name in DESIGNS],
)
def test_every_shipped_design_is_exact(name: str, tmp_path: Path) -> None:
    path = ROOT / "designs" / f"{name}.yaml"
    result = flow.build(path, tmp_path)
    values = 0 if name in SMALL else 2_000_000
    require_exact(result.metrics, read_design(path).verification.count, values)
    published = json.loads((result.project / "metrics.json").read_text())
    assert published == result.metrics


GIB = 1 << 30


@pytest.mark.parametrize("name", ["efficientnet_b0_int8", "mobilenet_v2_int8"])
def test_the_c_simulation_is_compiled_and_runs_within_4_gib(name: str, tmp_path: Path) -> None:
    flow.build(ROOT / "designs" / f"{name}.yaml", tmp_path, stop="hls")
    steps = tmp_path / f".{name}"
    (hls,) = steps.glob("*-hls/outputs/hls")
    (plan,) = steps.glob("*-plan/outputs/plan.json")
    words: list[str | Path] = [hls, plan, tmp_path]
    run = run_worker("tests.support.csim_worker", words, tmp_path / "worker.txt")
    assert run.facts["tensors"] > 50
    for stage in ("compile", "run"):
        (taken,) = run.stages[stage]
        assert 0 < taken.peak_bytes < 4 * GIB, stage


LARGE = """
name: large
network: {family: mobilenet_v1, alpha: 0.25, input_shape: [1344, 1344, 3], classes: 10}
calibration: {source: noise, seed: 1, count: 1}
verification: {source: noise, seed: 2, count: 1}
"""


def test_memory_is_that_of_the_largest_tensors(tmp_path: Path) -> None:
    """All of its 96 million values took 2.65 GiB; of them, no witness holds all at a time."""
    design = tmp_path / "large.yaml"
    design.write_text(LARGE)
    run = run_worker("tests.support.build_worker", [design, tmp_path], tmp_path / "worker.txt")
    verification = run.facts["verification"]
    assert (verification["status"], verification["mismatches"]) == ("exact", 0)
    assert verification["values_by_witness"]["fast"] == 96_187_924
    for stage in ("compile", "verify"):
        (taken,) = run.stages[stage]
        assert 0 < taken.peak_bytes < 1.5 * GIB, stage


V1_1 = """
name: v1_1_real
network: {{family: squeezenet, version: "1.1"}}
weights: {{file: {data}/weights/squeezenet_v1.1/weights}}
preprocessing:
  {{resize: 256, crop: 224, channels: rgb, mean: [123.675, 116.28, 103.53],
   scale: [0.01712475, 0.017507, 0.01742919]}}
calibration: {{images: {data}/images/imagenet_sample, count: 16}}
verification: {{images: {data}/images/permissive, count: 8}}
"""

V1_0 = """
name: v1_0_real
network: {{family: squeezenet, version: "1.0", input_shape: [227, 227, 3], conv10_padding: 1}}
weights:
  file: {data}/weights/squeezenet_v1.0_deep_compression/compressed_SqueezeNet.net
preprocessing:
  {{resize: 256, resize_mode: warp, crop: 227, channels: bgr, mean: [104, 117, 123], scale: 1}}
calibration: {{images: {data}/images/imagenet_sample, count: 16}}
verification: {{images: {data}/images/imagenet_sample, count: 8}}
"""

MOBILENET_V1 = """
name: mobilenet_v1_real
network: {{family: mobilenet_v1, alpha: 0.25}}
weights: {{file: {data}/weights/mobilenet_v1_0.25_224/mobilenet_v1_0.25_224.h5}}
preprocessing: {{resize: 256, crop: 224, channels: rgb, mean: 127.5, scale: 0.00784313725490196}}
calibration: {{images: {data}/images/imagenet_sample, count: 16}}
verification: {{images: {data}/images/permissive, count: 4}}
"""

WAKE_WORDS = """
name: wake_words_real
network: {{file: {data}/weights/vww_96/vww_96.h5}}
preprocessing: {{resize: 96, crop: 96, channels: rgb, mean: 0, scale: 0.00392156862745098}}
calibration: {{images: {data}/images/imagenet_sample, count: 16}}
verification: {{images: {data}/images/permissive, count: 8}}
"""


@pytest.mark.parametrize(
    ("design", "parameters", "images", "values"),
    [
        (V1_1, 1_235_496, 8, 3_500_000),
        (V1_0, 1_248_424, 8, 3_500_000),
        (MOBILENET_V1, 467_336, 4, 1_000_000),
        (WAKE_WORDS, 210_850, 8, 100_000),
    ],
)
def test_real_weights_on_real_pictures_are_exact(
    design: str, parameters: int, images: int, values: int, tmp_path: Path
) -> None:
    data = data_path("weights").parent
    data_path("images/imagenet_sample")
    path = tmp_path / "design.yaml"
    path.write_text(design.format(data=data))
    result = flow.build(path, tmp_path / "out")
    assert result.metrics["parameters"] == parameters
    require_exact(result.metrics, images, values)

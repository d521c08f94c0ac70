"""The harness of the benchmarks: what it measures, keeps and shows. Never how fast anything is."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import __main__ as command
from benchmarks import (
    build,
    engine_networks,
    engine_scaling,
    measure,
    network,
    ours,
    stock,
    streams,
    table,
)
from benchmarks.measure import Options, Stage, WorkerRun
from hwflow.errors import DesignError, ToolError
from tests.support.benchmark_worker import BURNT_SECONDS, HELD_BYTES
from tests.support.plan_graphs import Builder

WORKER = "tests.support.benchmark_worker"
DOCUMENT = f"Head.\n\n{table.BEGIN}\nold figures\n{table.END}\n\nTail.\n"


# --- stages and memory -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def worker_run(tmp_path_factory):
    return measure.run_worker(WORKER, ["hold"], tmp_path_factory.mktemp("log") / "log.txt")


def test_the_stages_come_in_order_with_all_their_passes(worker_run):
    assert [(name, len(passes)) for name, passes in worker_run.stages.items()] == [
        ("first", 1),
        ("second", 2),
    ]
    assert worker_run.facts == {"held": HELD_BYTES}
    ends = [stage.end_seconds for passes in worker_run.stages.values() for stage in passes]
    assert ends == sorted(ends)
    assert ends[0] > worker_run.stages["first"][0].seconds  # the start of Python comes before


def test_the_processor_time_of_children_counts(worker_run):
    first = worker_run.stages["first"][0]
    assert first.cpu_seconds >= BURNT_SECONDS
    assert first.seconds >= BURNT_SECONDS


def test_the_memory_of_worker_and_child_adds_up(worker_run):
    assert worker_run.stages["first"][0].peak_bytes >= 2 * HELD_BYTES
    # the child has gone, and its peak is not told again
    assert HELD_BYTES <= worker_run.stages["second"][0].peak_bytes < 2 * HELD_BYTES


def test_a_worker_that_fails_is_an_error_with_the_end_of_its_log(tmp_path):
    with pytest.raises(ToolError, match=r"exit status 3:\nwhat went wrong"):
        measure.run_worker(WORKER, ["fail"], tmp_path / "log.txt")


def test_the_machine_is_described_without_names_or_paths():
    facts = measure.machine()
    assert set(facts) == {"processor", "cores", "compiler", "python"}
    assert facts["cores"] == os.cpu_count()
    assert os.uname().nodename not in facts.values()


# --- stock hls4ml ----------------------------------------------------------------------------


@settings(deadline=None)  # hls4ml is imported in the first example
@given(st.integers(1, 300), st.integers(1, 300))
def test_the_reuse_factor_is_the_largest_that_hls4ml_takes(n_in, n_out):
    from hls4ml.backends.fpga.fpga_backend import FPGABackend

    valid = [
        f for f in range(1, n_in + 1) if FPGABackend._validate_reuse_factor(None, n_in, n_out, f)
    ]
    assert stock.reuse_factor(n_in, n_out) == valid[-1]


class _Recorder:
    """Notes which images each process was given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def predict(self, images):
        np.save(self.folder / f"{os.getpid()}.npy", images)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_each_image_is_predicted_once_by_a_process_of_its_own(tmp_path, processes):
    stock.predict_in_processes(_Recorder(tmp_path), np.arange(4), processes)
    shares = [np.load(path).tolist() for path in tmp_path.glob("*.npy")]
    assert len(shares) == processes
    assert sorted(image for share in shares for image in share) == [0, 1, 2, 3]


def test_a_process_that_fails_to_predict_is_noticed(tmp_path):
    with pytest.raises(RuntimeError, match="2 of 2 processes"):
        stock.predict_in_processes(_Recorder(tmp_path / "absent"), np.arange(4), 2)


def test_both_sides_get_pools_that_do_not_overlap_and_the_same_shapes():
    model = network.float_model("squeezenet", 64, 10)
    pools = [layer for layer in model.layers if type(layer).__name__ == "MaxPooling2D"]
    assert [(p.pool_size, p.strides) for p in pools] == [((2, 2), (2, 2))] * 3
    assert [p.output_shape[1] for p in pools] == [15, 7, 3]
    config = stock.configuration(model)["LayerName"]
    assert config["conv1"]["ReuseFactor"] == 27
    assert config["conv10"]["ReuseFactor"] == 512
    assert {config[layer.name]["Strategy"] for layer in model.layers if layer.weights} == {
        "Resource"
    }


def test_a_size_at_which_the_pools_would_differ_is_refused():
    with pytest.raises(ValueError, match="not at size 65"):
        network.float_model("squeezenet", 65, 10)


@pytest.mark.parametrize(
    ("family", "parameters"), [("mobilenet_v1", 475_544), ("mobilenet_v2", 3_538_984)]
)
def test_the_mobilenets_are_those_of_the_papers(family, parameters):
    assert family in network.NETWORKS
    alpha = 0.25 if family == "mobilenet_v1" else 1.0
    model = network.float_model(family, 64, 1000, alpha)
    assert model.count_params() == parameters
    config = stock.configuration(model)["LayerName"]
    for layer in model.layers:
        if "DepthwiseConv2D" in type(layer).__name__:  # hls4ml has no Resource kernel for these
            assert config[layer.name].get("ReuseFactor", 1) == 1


# --- figures ---------------------------------------------------------------------------------


def _run(seconds: dict[str, float], peak_bytes: int) -> WorkerRun:
    """A run of stages that follow each other without a gap; a second of wall is two of CPU."""
    engine = {"one thread": 0.01, "two threads": 0.02}
    run, end = WorkerRun(facts={"outputs": 40, "engine": engine}), 0.0
    for name, taken in seconds.items():
        end += taken
        run.stages[name] = [Stage(taken, 2 * taken, end, 0 if name == "plan" else peak_bytes)]
    return run


STOCK = {
    "convert": 20.0,
    "compile": 60.0,
    "predict": 20.0,
    "one process": 16.0,
    "two processes": 8.0,
}
OURS = {
    "plan": 10.0,
    "compile": 30.0,
    "verify": 10.0,
    "publish": 0.0,
    "one process": 2.0,
    "two processes": 1.6,
    "one process, every tensor": 4.0,
    "compile, reference types": 45.0,
    "one process, reference types": 6.0,
}


def test_the_ratios_are_those_of_stock_to_ours():
    figures = build.summary({"stock": [_run(STOCK, 3_000_000)], "hwflow": [_run(OURS, 2_000_000)]})
    assert figures["ratios"] == {
        "build": 2.0,
        "build_cpu": 2.0,
        "build_memory": 1.5,
        "csim_compile": 2.0,
        "csim_compile_cpu": 2.0,
        "csim_run_one_process": 8.0,
        "csim_run_one_process_cpu": 8.0,
        "csim_run_two_processes": 5.0,
        "engine_one_thread": 400.0,
        "engine_two_threads": 100.0,
        "csim_compile_cpu_fast_types": 1.5,
        "csim_run_fast_types": 3.0,
    }
    assert figures["image"] == {
        "stock": {"one process": 4.0, "two processes": 2.0},
        "hwflow": {
            "one process": 0.5,
            "two processes": 0.4,
            "one process, every tensor": 1.0,
            "one process, reference types": 1.5,
        },
    }
    assert figures["seconds"]["hwflow"] == {
        "plan": 10.0,
        "compile": 30.0,
        "verify": 10.0,
        "whole build": 50.0,
    }
    assert "plan" not in figures["memory_mb"]["hwflow"]  # too short to be seen
    assert figures["facts"] == {"stock": {"outputs": 40}, "hwflow": {"outputs": 40}}


def test_repeats_are_summed_up_by_their_median():
    slow = {name: 9 * seconds for name, seconds in STOCK.items()}
    middle = {name: 2 * seconds for name, seconds in STOCK.items()}
    runs = [_run(slow, 1_000_000), _run(STOCK, 1_000_000), _run(middle, 1_000_000)]
    figures = build.summary({"stock": runs, "hwflow": [_run(OURS, 1_000_000)]})
    assert figures["ratios"]["build"] == 4.0
    assert figures["ratios"]["csim_run_one_process"] == 16.0
    assert figures["samples"] == {"stock": [900.0, 100.0, 200.0], "hwflow": [50.0]}


def test_the_least_ratio_of_all_networks_is_published():
    faster = {name: seconds / 2 for name, seconds in OURS.items()}
    one = build.summary({"stock": [_run(STOCK, 3_000_000)], "hwflow": [_run(OURS, 2_000_000)]})
    two = build.summary({"stock": [_run(STOCK, 3_000_000)], "hwflow": [_run(faster, 1_000_000)]})
    figures = build.published({"a": two, "b": one})
    assert figures["build_vs_stock"] == 2.0
    assert figures["build_memory_vs_stock"] == 1.5
    assert figures["csim_compile_vs_stock"] == 2.0
    assert figures["csim_run_vs_stock"] == 5.0  # of two processes, which is less than of one
    assert figures["engine_vs_stock_csim"] == 100.0
    assert figures["vs_stock"] == {"a": two["ratios"], "b": one["ratios"]}
    assert figures["csim_seconds_per_image"]["a stock"] == {
        "one process": 4.0,
        "two processes": 2.0,
    }
    assert figures["csim_seconds_per_image"]["b hwflow"]["engine, one thread"] == 0.01
    assert figures["exactness"]["b stock"] == {"outputs": 40}
    rendered = table.render(figures)
    assert "|  | a stock | a hwflow | b stock | b hwflow |" in rendered


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def benchmarks_of(monkeypatch):
    """Puts the given benchmarks in the place of those of the folder."""

    def put(**runs):
        monkeypatch.setattr(command, "discover", lambda: runs)

    return put


def test_the_benchmarks_are_the_modules_that_define_run():
    found = command.discover()
    assert "build" in found
    assert not {"measure", "network", "ours", "stock", "table", "__main__"} & set(found)
    assert {"engine", "engine_scaling"} <= set(found)


def test_a_run_that_takes_no_options_is_given_none():
    adapted = command._with_options(lambda rounds=5: {"rounds": rounds})
    assert adapted(Options()) == {"rounds": 5}
    adapted = command._with_options(lambda options: {"quick": options.quick})
    assert adapted(Options(quick=True)) == {"quick": True}


def test_figures_are_merged_with_those_of_other_benchmarks(tmp_path, capsys, benchmarks_of):
    path = tmp_path / "results.json"
    benchmarks_of(a=lambda options: {"a_vs_b": 2.5}, c=lambda options: {"c": options.repeats})
    assert command.main(["a", "--output", str(path)]) == 0
    assert command.main(["c", "--repeats", "3", "--output", str(path)]) == 0
    expected = {"a_vs_b": 2.5, "c": 3, "machine": measure.machine()}
    assert json.loads(path.read_text()) == expected
    assert capsys.readouterr().out.endswith(table.render(expected) + "\n")


def test_a_run_of_all_drops_what_is_measured_no_more(tmp_path, benchmarks_of):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"old": 1, "machine": measure.machine()}))
    benchmarks_of(a=lambda options: {"a": 2}, b=lambda options: {"b": 3})
    assert command.main(["a", "--output", str(path)]) == 0
    assert json.loads(path.read_text())["old"] == 1
    assert command.main(["--output", str(path)]) == 0
    assert json.loads(path.read_text()) == {"a": 2, "b": 3, "machine": measure.machine()}


def test_figures_of_another_machine_are_dropped():
    kept = {"a": 1, "machine": {"cores": 4}}
    assert command.merged(kept, {"b": 2}, {"cores": 2}) == {"b": 2, "machine": {"cores": 2}}
    assert command.merged(kept, {"b": 2}, {"cores": 4}) == {"a": 1, "b": 2, "machine": {"cores": 4}}


def test_figures_that_are_not_timed_stand_beside_those_of_another_machine(tmp_path, benchmarks_of):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"a": 1, "machine": {"cores": 400}}))
    benchmarks_of(streams=lambda options: {"stream_memory": {"x": 2}}, b=lambda options: {"b": 3})
    assert command.main(["streams", "--output", str(path)]) == 0
    kept = {"a": 1, "stream_memory": {"x": 2}, "machine": {"cores": 400}}
    assert json.loads(path.read_text()) == kept
    assert command.main(["b", "--output", str(path)]) == 0
    assert json.loads(path.read_text()) == {"b": 3, "machine": measure.machine()}


def test_stock_holds_a_whole_feature_map_for_each_layer():
    """Padding, sums, activation, and a clone for each of two readers."""
    build = Builder((4, 5, 6))
    one = build.convolution("image", "conv", 3, (3, 3), padding=(1, 1, 1, 1))
    graph = build.build(build.add([one, one], "add"))
    width = {name: tensor.format.width for name, tensor in graph.tensors.items()}
    image, padded, made = 4 * 5 * 6 * 8, 6 * 7 * 6 * 8, 4 * 5 * 3
    sums = made * width["conv"]
    activation = 3 * made * width["conv_relu"]  # its own FIFO, and one for each of its readers
    total = image + padded + sums + activation + made * width["add"] + made * width["add_relu"]
    assert streams.stock_bits(graph) == total


def test_a_quick_run_keeps_nothing(monkeypatch, tmp_path, benchmarks_of):
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    benchmarks_of(a=lambda options: {"quick": options.quick})
    assert command.main(["--quick"]) == 0
    assert not list(tmp_path.iterdir())


def test_the_project_s_own_results_go_into_the_document(monkeypatch, tmp_path, benchmarks_of):
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(command, "DOCUMENT", tmp_path / "performance.md")
    command.DOCUMENT.write_text(DOCUMENT)
    benchmarks_of(a=lambda options: {"a_vs_b": 2.5})
    assert command.main([]) == 0
    text = command.DOCUMENT.read_text()
    assert "| `a_vs_b` | 2.5 |" in text
    assert "old figures" not in text
    assert text.startswith("Head.")
    assert text.endswith("Tail.\n")


def test_an_unknown_name_is_a_design_error_with_a_suggestion(capsys, benchmarks_of):
    benchmarks_of(build=lambda options: {}, engine=lambda options: {})
    assert command.main(["biuld", "xyz", "--quick"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "there is no benchmark 'biuld'. Did you mean build?",
        "there is no benchmark 'xyz'. They are: build, engine",
    ]


def test_a_benchmark_that_fails_leaves_the_figures_of_those_before(tmp_path, benchmarks_of):
    def fails(options):
        raise ToolError("no compiler")

    path = tmp_path / "results.json"
    benchmarks_of(a=lambda options: {"a": 1}, b=fails)
    assert command.main(["--output", str(path)]) == 5
    assert json.loads(path.read_text())["a"] == 1


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_results_file_that_cannot_be_read_is_refused(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(DesignError, match=r"results.json must hold (a )?JSON"):
        command.read_results(path)


# --- the table -------------------------------------------------------------------------------


def test_the_table_shows_values_mappings_and_columns():
    results = {
        "a_vs_b": 2.5,
        "sizes": [1, 2000],
        "seconds": {
            "stock": {"whole build": 9.0, "convert": 4.0},
            "hwflow": {"whole build": 3.0, "verify": 1.0},
        },
        "machine": {"cores": 2, "processor": "A|B"},
    }
    assert table.render(results) == (
        "| figure | value |\n| --- | ---: |\n| `a_vs_b` | 2.5 |\n| `sizes` | 1, 2,000 |\n\n"
        "**seconds**\n\n|  | stock | hwflow |\n| --- | ---: | ---: |\n| convert | 4 | - |\n"
        "| verify | - | 1 |\n| whole build | 9 | 3 |\n\n"
        "**machine**\n\n|  |  |\n| --- | ---: |\n| cores | 2 |\n| processor | A\\|B |\n"
    )


@pytest.mark.parametrize(
    "document", ["no marks", f"{table.END} {table.BEGIN}", f"{DOCUMENT}{DOCUMENT}"]
)
def test_a_document_without_its_marks_is_refused(document):
    with pytest.raises(ValueError, match="must hold each once"):
        table.in_document(document, {})


def test_the_document_agrees_with_the_results():
    results = json.loads(command.RESULTS.read_text())
    document = command.DOCUMENT.read_text()
    assert document == table.in_document(document, results)


# --- the engine's scaling --------------------------------------------------------------------


def test_a_straight_line_has_an_exponent_of_one():
    def table(power):
        return {
            f"{macs}": {
                "million_macs": macs,
                "milliseconds": 3 * macs**power,
                "arena_mb": 5.0,
                "weights_mb": macs**power,
            }
            for macs in (1, 2, 9)
        }

    assert engine_scaling.linearity(table(1)) == {
        "time_exponent": 1.0,
        "time_explained": 1.0,
        "memory_explained": 1.0,
    }
    square = engine_scaling.linearity(table(2))
    assert square["time_exponent"] == 2.0
    assert square["time_explained"] == square["memory_explained"] < 1


def test_variants_are_measured_and_drawn(tmp_path, monkeypatch):
    small = {"size": 32, "classes": 3, "alpha": 0.25}
    sweeps = {
        name: [("a", small), ("b", small | {"repeats": repeats})]
        for name, repeats in (("input_size", 1), ("width", 6), ("depth", 9))
    }
    monkeypatch.setattr(engine_scaling, "SWEEPS", sweeps)
    monkeypatch.setattr(engine_scaling, "ROUNDS", 1)
    figures = engine_scaling.run(Options(images=tmp_path / "images"))
    first, second = figures["engine_by_depth"].values()
    assert second["million_macs"] > first["million_macs"]  # more blocks of 128 channels
    assert second["weights_mb"] > first["weights_mb"]
    assert set(figures["engine_scaling"]) == set(sweeps)
    drawn = (tmp_path / "images" / "engine_scaling.svg").read_text()
    assert drawn.rstrip().endswith("</svg>")
    engine_scaling.illustrate(figures, tmp_path / "again")
    assert (tmp_path / "again" / "engine_scaling.svg").read_text() == drawn
    assert engine_scaling.run(Options()).keys() == figures.keys()


def test_the_engine_s_seconds_are_those_of_every_image_after_the_first_round(monkeypatch):
    graph = engine_networks.squeezenet(64, 10)
    monkeypatch.setattr(ours, "ENGINE_ROUNDS", 3)
    images = np.zeros((2, 64, 64, 3), np.int64)
    assert len(ours.engine_seconds(graph, images, 1)) == 6

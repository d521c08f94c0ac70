"""The vendor's tools from end to end, with stand-ins on PATH."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest
import typer
from typer.testing import CliRunner

from hwflow import synth_cli
from hwflow.errors import DesignError, ToolError
from hwflow.hls_folder import read_project
from hwflow.ingest import ingest
from hwflow.pack import pack
from hwflow.progress import SilentProgress
from hwflow.synth import SynthResult, plan_jobs, synthesize_all
from hwflow.toolchain import executors, process
from hwflow.toolchain.synthesis import Job, Outcome
from hwflow.toolchain.vendor import VendorTool, find_hls, find_tool

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "hwflow" / "hls" / "templates"
FAKE = ROOT / "tests" / "fake_tools" / "fake_vendor.py"
LAYERS = ("conv1", "fire2", "pool3")
METRICS = {
    "network": "tiny",
    "resources": {
        "source": "estimate",
        "lut": 9000,
        "ff": 7500,
        "dsp": 9,
        "bram_18k": 8,
        "uram": 0,
        "available": {"lut": 274080, "ff": 548160, "dsp": 2520, "bram_18k": 1824, "uram": 0},
        "fits": True,
        "per_layer": {
            "conv1": {"lut": 3000, "ff": 2000, "dsp": 0, "bram_18k": 2, "uram": 0},
            "fire2": {"lut": {"value": 5600, "uncertainty": 0.2}, "ff": 4000, "dsp": 9},
        },
    },
    "latency": {"source": "rule", "latency_cycles": 3300, "initiation_interval_cycles": 2048},
}


def write_project(folder: Path, name: str = "tiny", backend: str = "vitis") -> Path:
    hls = folder / "hls"
    for path in ("firmware/layers", "firmware/weights", "firmware/kernels", "tb_data"):
        (hls / path).mkdir(parents=True)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    variables = {
        "name": name,
        "part": "xczu9eg-ffvb1156-2-e",
        "clock_period_ns": 5,
        "clock_uncertainty": "12.5%",
        "backend": backend,
        "sources": [f"firmware/layers/{layer}.cpp" for layer in LAYERS],
        "cflags": "-std=c++14",
        "is_loaded": False,
    }
    for template in TEMPLATES.glob("*.tcl*"):
        text = environment.from_string(template.read_text()).render(**variables)
        (hls / template.name.removesuffix(".j2")).write_text(text)
    (hls / "firmware" / f"{name}.cpp").write_text(f"void {name}() {{}}\n")
    (hls / f"{name}_test.cpp").write_text("int main() { return 0; }\n")
    (hls / "firmware/kernels/conv.h").write_text("// kernel\n")
    for layer in LAYERS:
        text = f'#include "../kernels/conv.h"\n#include "weights/{layer}.h"\nvoid {layer}() {{}}\n'
        (hls / f"firmware/layers/{layer}.cpp").write_text(text)
        (hls / f"firmware/weights/{layer}.h").write_text("// weights\n")
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    return folder


Install = Callable[..., None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "hls_projects" / "tiny")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts stand-ins on PATH, and says how they behave."""
    folder = tmp_path / "tools" / "2023.2" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.setenv("FAKE_CALLS", str(tmp_path / "calls"))

    def put(*tools: str, mode: str = "") -> None:
        for tool in tools:
            script = folder / tool
            script.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} {tool} "$@"\n')
            script.chmod(0o755)
        monkeypatch.setenv("FAKE_MODE", mode)

    return put


def _calls(tmp_path: Path) -> list[str]:
    path = tmp_path / "calls"
    return path.read_text().splitlines() if path.exists() else []


def _synth(project: Path, stage: str = "csynth", **options: object) -> SynthResult:
    (result,) = synthesize_all([project], SilentProgress(), stage=stage, **options)  # type: ignore[arg-type]
    return result


def _metrics(project: Path) -> dict[str, dict[str, object]]:
    return json.loads((project / "metrics.json").read_text())  # type: ignore[no-any-return]


def _ended(pids: list[int]) -> bool:
    """Whether the processes are gone; the system may need a moment for one that was killed."""
    deadline = time.monotonic() + 10
    while (alive := [pid for pid in pids if _alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


# --- success -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "tool"),
    [("vitis", "vitis-run"), ("vitis", "vitis_hls"), ("vivado", "vivado_hls")],
)
def test_csynth_with_each_tool(tmp_path: Path, install: Install, backend: str, tool: str) -> None:
    install(tool)
    project = write_project(tmp_path / "p" / "tiny", backend=backend)
    result = _synth(project)
    assert _calls(tmp_path) == [f"{tool} csynth tiny reset=1"]
    assert result.result is not None
    assert result.result.stage == "csynth"
    metrics = _metrics(project)
    assert metrics["resources"]["source"] == "csynth"
    assert metrics["resources"]["lut"] == 10234
    assert metrics["resources"]["per_layer"]["fire2"]["lut"] == 5890  # type: ignore[index]
    assert metrics["latency"]["initiation_interval_cycles"] == 2059
    assert metrics["latency"]["frames_per_second"] == round(1e9 / (2059 * 5), 3)
    assert metrics["latency"]["bottleneck"] == "conv1"
    assert metrics["estimates"]["resources"]["lut"] == 9000  # type: ignore[index]
    assert metrics["network"] == "tiny"


def test_all_stages_and_resume(tmp_path: Path, install: Install, project: Path) -> None:
    install("vitis_hls", "vivado")
    lines: list[str] = []
    assert _synth(project, "csim").result is None
    result = _synth(project, "cosim", on_line=lines.append)
    assert "HWFLOW: cosim begins" in lines
    assert result.outcomes[0].resumed == ()
    assert _synth(project, "cosim").outcomes[0].resumed == ("csynth", "cosim")
    vivado = _synth(project, "vivado")
    assert vivado.result is not None
    assert vivado.result.figures["lut"] == {
        "value": 5290,
        "source": "vivado",
        "stage": "synthesized",
    }
    assert _calls(tmp_path) == [
        "vitis_hls csim tiny reset=1",
        "vitis_hls csynth tiny reset=0",
        "vitis_hls cosim tiny reset=0",
        "vivado vsynth tiny reset=0",
    ]
    # What somebody made by hand in the sources' folder is no source.
    (project / "hls" / "tiny_prj").mkdir()
    (project / "hls" / "tiny_prj" / "hls.app").write_text("")
    (project / "hls" / "vitis_hls.log").write_text("")
    assert _synth(project, "cosim").outcomes[0].resumed == ("csynth", "cosim")
    # Another clock is another design: nothing is reused.
    script = project / "hls" / "build_prj.tcl"
    script.write_text(script.read_text().replace("set clock_period_ns 5", "set clock_period_ns 4"))
    _synth(project)
    assert _calls(tmp_path)[-1] == "vitis_hls csynth tiny reset=1"


def test_implementation_reaches_the_metrics(install: Install, project: Path) -> None:
    install("vitis_hls", "vivado")
    _synth(project, "vivado", implement=True)
    metrics = _metrics(project)
    assert (metrics["resources"]["source"], metrics["resources"]["stage"]) == ("vivado", "routed")
    assert metrics["resources"]["bram_18k"] == 6
    assert metrics["latency"]["clock_estimate_ns"] == 4.882


def test_a_setting_that_a_version_lacks_is_no_error(install: Install, project: Path) -> None:
    install("vitis_hls", mode="setting")
    assert _synth(project).result is not None


@pytest.mark.parametrize(
    ("mode", "stage", "words"),
    [
        ("timing", "csynth", ["too fast", "hardware.clock_period_ns"]),
        ("urem", "csynth", ["divider", "hardware.layers.conv1.reuse_factor"]),
        ("interval", "csynth", ["initiation interval", "hardware.layers.conv1"]),
        ("late", "vivado", ["tiny needs 5.412 ns", "hardware.clock_period_ns: 5.5"]),
    ],
)
def test_remarks(install: Install, project: Path, mode: str, stage: str, words: list[str]) -> None:
    install("vitis_hls", "vivado", mode=mode)
    notes = [str(note) for note in _synth(project, stage).remarks]
    assert any(all(word in note for word in words) for note in notes), notes


# --- failure -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "stage", "words"),
    [
        ("unroll", "csynth", ["4096 copies", "hardware.layers.fire2.reuse_factor"]),
        ("unroll2019", "csynth", ["4096 copies", "hardware.layers.fire2.reuse_factor"]),
        ("partition", "csynth", ["registers", "hardware.layers.conv1.storage: bram"]),
        ("width", "csynth", ["65,536 bits", "hardware.layers.pool3.reuse_factor"]),
        ("memory", "csynth", ["too little memory", "--per-layer"]),
        ("killed", "csynth", ["killed by signal 9", "too little memory"]),
        ("licence", "csynth", ["no licence", "XILINXD_LICENSE_FILE"]),
        ("part", "csynth", ["not installed with this tool", "hardware.part"]),
        ("date", "csynth", ["the date overflows", "AR76960"]),
        ("full_disk", "csynth", ["disk is full", "free some space"]),
        ("mismatch", "csim", ["testbench found values that differ", "hwflow verify"]),
        ("deadlock@cosim", "cosim", ["FIFO is too shallow"]),
        ("garbage", "csynth", ["exit status 3", "csynth.log"]),
        ("unfinished", "csynth", ["exit status 0, but its log ends before the stage does"]),
        ("late_error", "csynth", ["exit status 0, but errors in its log", "HLS 200-70"]),
        ("no_report", "csynth", ["left no report"]),
        ("partial", "csynth", ["left a damaged report", "is not complete XML"]),
        ("cosim_fail", "cosim", ["co-simulation ended with 'Fail'"]),
    ],
)
def test_failures_are_explained(
    install: Install, project: Path, mode: str, stage: str, words: list[str]
) -> None:
    install("vitis_hls", mode=mode)
    before = (project / "metrics.json").read_bytes()
    with pytest.raises(ToolError) as caught:
        _synth(project, stage)
    for word in words:
        assert word in str(caught.value)
    assert (project / "metrics.json").read_bytes() == before


def test_a_failed_stage_is_run_again(tmp_path: Path, install: Install, project: Path) -> None:
    install("vitis_hls", mode="deadlock@cosim")
    with pytest.raises(ToolError):
        _synth(project, "cosim")
    install("vitis_hls")
    assert _synth(project, "cosim").outcomes[0].resumed == ("csynth",)
    assert [call.split()[1] for call in _calls(tmp_path)] == ["csynth", "cosim", "cosim"]


def test_a_tool_s_version_is_read_from_its_place(install: Install) -> None:
    install("vitis_hls", "vitis-run")
    tool = find_hls("vitis")
    assert (tool.name, tool.version) == ("vitis-run", "2023.2")
    assert tool.command("a.tcl")[1:] == ["--mode", "hls", "--tcl", "a.tcl"]
    assert find_tool("sh") == VendorTool("sh", str(shutil.which("sh")))


def test_missing_tools(install: Install, project: Path) -> None:
    install()
    with pytest.raises(ToolError, match="vitis-run or vitis_hls: not on PATH; source"):
        _synth(project)
    install("vivado_hls")
    with pytest.raises(ToolError, match=r"vivado_hls is there: .* hardware.backend: vivado"):
        _synth(project)
    install("vitis_hls")
    with pytest.raises(ToolError, match="vivado: not on PATH"):
        _synth(project, "vivado")


def test_a_tool_that_cannot_be_started(install: Install, project: Path, tmp_path: Path) -> None:
    install("vitis_hls")
    (tmp_path / "tools/2023.2/bin/vitis_hls").write_bytes(b"\x7fELF no program")
    with pytest.raises(ToolError, match="cannot be started"):
        _synth(project)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stage": "place"}, "--stage: must be one of csim, csynth, cosim, vivado, not 'place'"),
        ({"timeout_seconds": 0}, "--timeout: must be more than 0"),
        ({"stage": "cosim", "per_layer": True}, "--per-layer: goes with --stage csynth alone"),
        ({"per_layer": True, "executor": "cloud"}, "--executor: must be one of local, dask, slurm"),
        ({"per_layer": True, "workers": 0}, "--workers: must be at least 1"),
    ],
)
def test_bad_options(
    install: Install, project: Path, options: dict[str, object], message: str
) -> None:
    install("vitis_hls")
    with pytest.raises(DesignError, match=message):
        _synth(project, **options)  # type: ignore[arg-type]


def test_bad_projects(tmp_path: Path, install: Install, project: Path) -> None:
    install("vitis_hls")
    with pytest.raises(DesignError, match="is no project"):
        _synth(tmp_path / "missing")
    (project / "hls" / "build_opt.tcl").unlink()
    (project / "hls" / "tiny_test.cpp").unlink()
    with pytest.raises(DesignError) as caught:
        _synth(project)
    assert len(caught.value.faults) == 2
    spaced = write_project(tmp_path / "a b" / "tiny")
    with pytest.raises(ToolError, match="cannot work in a path with ' '"):
        _synth(spaced)
    bare = write_project(tmp_path / "c" / "tiny")
    shutil.rmtree(bare / "hls/firmware/layers")
    with pytest.raises(DesignError, match="holds no file that defines a layer's function"):
        _synth(bare, per_layer=True)


# --- time, interruption, disk --------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["hang", "stubborn"])
def test_timeout_ends_the_whole_group(
    install: Install, project: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.3)
    install("vitis_hls", mode=mode)
    with pytest.raises(ToolError, match=r"not done after 1\.5 s and ended"):
        _synth(project, timeout_seconds=1.5)
    folder = read_project(project).workspace / "design"
    pids = [int(pid) for pid in (folder / "pids").read_text().split()]
    assert len(pids) == 2
    assert _ended(pids)
    assert not process.is_running(folder)


def test_a_child_that_outlives_the_tool_is_ended(install: Install, project: Path) -> None:
    install("vitis_hls", mode="orphan")
    assert _synth(project, timeout_seconds=30).result is not None


@pytest.mark.parametrize(
    ("number", "per_layer", "executor"),
    [
        (signal.SIGINT, False, "local"),
        (signal.SIGTERM, True, "local"),
        (signal.SIGINT, True, "dask"),
    ],
)
def test_interrupt_ends_all_tools(
    install: Install, project: Path, number: signal.Signals, per_layer: bool, executor: str
) -> None:
    install("vitis_hls", mode="hang")
    code = (
        "import sys; from pathlib import Path; from hwflow.progress import SilentProgress\n"
        "from hwflow.synth import synthesize_all\n"
        "try:\n"
        f"    synthesize_all([Path({str(project)!r})], SilentProgress(), per_layer={per_layer},"
        f" workers=3, executor={executor!r})\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    workspace = read_project(project).workspace
    expected = 3 if per_layer else 1
    deadline = time.monotonic() + 30
    while len(found := list(workspace.rglob("pids"))) < expected and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(number)
    assert running.wait(30) == 130
    pids = [int(pid) for path in found for pid in path.read_text().split()]
    assert len(pids) == 2 * expected
    assert _ended(pids)


def test_two_runs_of_one_project_keep_apart(install: Install, project: Path) -> None:
    install("vitis_hls")
    workspace = read_project(project).workspace
    workspace.mkdir(parents=True)
    with (workspace / ".design.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ToolError, match="another hwflow synth is at work there"):
            _synth(project)
    assert _synth(project).result is not None


def test_full_disk_under_the_log(install: Install, project: Path, tmp_path: Path) -> None:
    install("vitis_hls")
    (tmp_path / "build_opt.tcl").write_text("")
    with pytest.raises(ToolError, match="no space left on the device; sh was ended"):
        process.run_tool(["sh", "-c", "echo much; sleep 60"], tmp_path, Path("/dev/full"))


def test_an_orphan_of_an_earlier_run_is_ended_and_no_other(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    here = subprocess.Popen(sleeper, cwd=tmp_path, start_new_session=True)
    elsewhere = subprocess.Popen(sleeper, cwd=ROOT, start_new_session=True)
    try:
        (tmp_path / "tool.pid").write_text(f"{elsewhere.pid}\n")
        assert not process.end_orphan(tmp_path)
        assert elsewhere.poll() is None
        (tmp_path / "tool.pid").write_text(f"{here.pid}\n")
        assert process.end_orphan(tmp_path)
        assert here.wait(10) == -signal.SIGTERM
        (tmp_path / "tool.pid").write_text("garbage")
        assert not process.end_orphan(tmp_path)
    finally:
        for child in (here, elsewhere):
            child.kill()
            child.wait()


# --- layers, executors ---------------------------------------------------------------------------


def test_layers_alone_are_added_up_and_resumed_one_by_one(
    tmp_path: Path, install: Install, project: Path
) -> None:
    install("vitis_hls")
    result = _synth(project, per_layer=True, workers=2)
    assert result.result is not None
    assert result.result.figures["lut"]["value"] == 3 * 10234
    assert _metrics(project)["resources"]["stage"] == "csynth_per_layer"
    assert sorted(call.split()[2] for call in _calls(tmp_path)) == list(LAYERS)
    (project / "hls/firmware/weights/fire2.h").write_text("// other weights\n")
    again = _synth(project, per_layer=True)
    assert [len(outcome.resumed) for outcome in again.outcomes] == [1, 0, 1]
    (project / "hls/firmware/kernels/conv.h").write_text("// other kernel\n")
    third = _synth(project, per_layer=True)
    assert [outcome.resumed for outcome in third.outcomes] == [(), (), ()]


def test_a_layer_of_several_functions(tmp_path: Path, install: Install, project: Path) -> None:
    install("vitis_hls")
    source = project / "hls/firmware/layers/conv1.cpp"
    source.write_text(source.read_text() + "\nvoid conv1_window() {}\n")
    plan = [("conv1_window", "stem/conv1"), ("conv1", "stem/conv1"), ("fire2", "fire2")]
    processes = [{"name": name, "layer": layer} for name, layer in plan]
    (project / "plan.json").write_text(json.dumps({"processes": processes}))
    assert read_project(project).layers == ("stem/conv1", "fire2", "pool3")
    result = _synth(project, per_layer=True, workers=2)
    assert len(result.outcomes) == 4
    assert result.result is not None
    assert result.result.per_layer["csynth"]["stem/conv1"]["lut"] == 2 * 10234
    options = (read_project(project).workspace / "layers/conv1_window/build_opt.tcl").read_text()
    assert 'set opt_source "firmware/layers/conv1.cpp"' in options


def test_one_failing_layer_leaves_the_others_done(
    tmp_path: Path, install: Install, project: Path
) -> None:
    install("vitis_hls", mode="unroll@fire2")
    with pytest.raises(ToolError, match="1 of 3 jobs failed") as caught:
        _synth(project, per_layer=True)
    assert "hardware.layers.fire2.reuse_factor" in str(caught.value)
    install("vitis_hls")
    result = _synth(project, per_layer=True)
    assert [len(outcome.resumed) for outcome in result.outcomes] == [1, 0, 1]


def test_many_designs_at_once(tmp_path: Path, install: Install, project: Path) -> None:
    install("vitis_hls")
    other = write_project(tmp_path / "hls_projects" / "small", name="small")
    results = synthesize_all([project, other], SilentProgress(), workers=2)
    assert [result.project.name for result in results] == ["tiny", "small"]
    assert _metrics(other)["resources"]["lut"] == 10234
    with pytest.raises(DesignError, match="have one name"):
        synthesize_all([project, project], SilentProgress())


def test_a_failing_design_keeps_no_other_from_its_figures(
    tmp_path: Path, install: Install, project: Path
) -> None:
    install("vitis_hls", mode="unroll@small")
    other = write_project(tmp_path / "hls_projects" / "small", name="small")
    with pytest.raises(ToolError, match="1 of 2 jobs failed"):
        synthesize_all([other, project], SilentProgress(), workers=2)
    assert _metrics(project)["resources"]["source"] == "csynth"
    assert _metrics(other)["resources"]["source"] == "estimate"


def test_dask_survives_a_killed_worker(tmp_path: Path, install: Install, project: Path) -> None:
    install("vitis_hls", mode="kill_worker_once@fire2")
    result = _synth(project, per_layer=True, executor="dask", workers=2)
    assert result.result is not None
    assert result.result.figures["lut"]["value"] == 3 * 10234
    assert [call.split()[2] for call in _calls(tmp_path)].count("fire2") == 2
    assert not process.is_running(read_project(project).workspace / "layers" / "fire2")


def test_dask_without_a_scheduler(install: Install, project: Path) -> None:
    install("vitis_hls")
    with pytest.raises(ToolError, match="--address: no Dask scheduler at 'nowhere"):
        _synth(project, per_layer=True, executor="dask", address="nowhere:1:2")


def _submitit(jobs: list[Job], folder: Path) -> dict[str, Outcome]:
    return executors.run_submitit(jobs, 2, folder, "local", "", lambda outcome: None)


def test_submitit_survives_a_killed_worker(
    tmp_path: Path, install: Install, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It waits for a lost result, as a slow file system may need: 15 s, here 1.
    monkeypatch.setattr("submitit.core.core.Job._results_timeout_s", 1)
    install("vitis_hls", mode="kill_worker_once@fire2")
    jobs = plan_jobs(read_project(project), per_layer=True)
    outcomes = _submitit(jobs, tmp_path / "submitit")
    assert sorted(outcomes) == list(LAYERS)
    assert not any(outcome.error for outcome in outcomes.values())
    assert [call.split()[2] for call in _calls(tmp_path)].count("fire2") == 2


def test_slurm_without_slurm(
    tmp_path: Path, install: Install, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("vitis_hls")
    monkeypatch.setenv("PATH", str(tmp_path / "tools/2023.2/bin"))
    with pytest.raises(ToolError, match=r"--executor slurm: .* is sbatch on PATH"):
        _synth(project, per_layer=True, executor="slurm")


# --- pack and ingest -----------------------------------------------------------------------------


def test_pack_is_deterministic(tmp_path: Path, project: Path) -> None:
    first = pack(project, tmp_path / "a.zip").read_bytes()
    copy = tmp_path / "elsewhere" / "tiny"
    shutil.copytree(project, copy)
    (copy / "hls" / "tiny_prj").mkdir()
    (copy / "hls" / "tiny_prj" / "hls.app").write_text("made by the tool")
    for path in copy.rglob("*"):
        os.utime(path, (0, 0))
    assert pack(copy, tmp_path / "b.zip").read_bytes() == first
    assert pack(project) == project.parent / "tiny.zip"


def test_pack_synthesize_elsewhere_and_ingest(
    tmp_path: Path, install: Install, project: Path
) -> None:
    install("vitis_hls", "vivado")
    archive = pack(project, tmp_path / "tiny.zip")
    there = tmp_path / "there"
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(there)
    script = ["sh", "run_synthesis.sh", "csim", "csynth", "cosim", "vivado", "implement"]
    done = subprocess.run(script, cwd=there / "tiny", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert _calls(tmp_path) == [
        "vitis_hls csim tiny reset=1",
        "vitis_hls csynth tiny reset=0",
        "vitis_hls cosim tiny reset=0",
        "vivado vsynth tiny reset=0",
        "vivado vsynth implement tiny reset=0",
    ]
    reports = there / "tiny" / "reports.tar.gz"
    comparison = ingest(project, reports)
    assert comparison.metrics["resources"]["stage"] == "routed"
    assert comparison.metrics["latency"]["source"] == "cosim"
    rows = {(row.layer, row.stage, row.figure): row for row in comparison.rows}
    assert rows["fire2", "csynth", "lut"].ratio == 5890 / 5600
    assert rows["conv1", "synthesized", "lut"].actual == 1702
    assert comparison.factors["csynth"]["lut"]["rows"] == 2
    table = (project.parent / "recalibration.csv").read_bytes()
    assert ingest(project, there / "tiny" / "results").metrics["vendor"]["figures"]
    assert (project.parent / "recalibration.csv").read_bytes() == table


@pytest.mark.parametrize(
    ("mode", "arguments", "status", "words"),
    [
        ("unroll", [], 1, "Stop unrolling"),
        ("", ["place"], 2, "unknown stage 'place'"),
        ("none", [], 5, "none of 'vitis-run vitis_hls' is on PATH"),
    ],
)
def test_the_run_script_fails_as_it_should(
    tmp_path: Path,
    install: Install,
    project: Path,
    mode: str,
    arguments: list[str],
    status: int,
    words: str,
) -> None:
    install(*([] if mode == "none" else ["vitis_hls"]), mode=mode)
    with zipfile.ZipFile(pack(project, tmp_path / "tiny.zip")) as opened:
        opened.extractall(tmp_path)
    done = subprocess.run(
        ["sh", "run_synthesis.sh", *arguments],
        cwd=tmp_path / "tiny",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert words in done.stdout + done.stderr


# --- commands ------------------------------------------------------------------------------------


def test_commands(tmp_path: Path, install: Install, project: Path) -> None:
    install("vitis_hls")
    application = typer.Typer()
    for command in (synth_cli.synth, synth_cli.pack, synth_cli.ingest):
        application.command()(command)
    runner = CliRunner()

    def run(*arguments: object) -> str:
        done = runner.invoke(application, [str(item) for item in arguments])
        assert done.exit_code == 0, done.output
        return str(done.stdout)

    assert "tiny: csynth" in run("synth", project)
    assert "csynth" in run("synth", project, "--log")
    (answer,) = json.loads(run("synth", project, "--json"))
    assert answer["jobs"][0]["resumed"] == ["csynth"]
    assert answer["resources"]["lut"] == 10234
    assert "csim: passed" in run("synth", project, "--stage", "csim")
    assert "run_synthesis.sh" in run("pack", project)
    assert json.loads(run("pack", project, "--json"))["bytes"] > 1000
    reports = read_project(project).workspace / "design"
    assert "recalibration: lut at csynth" in run("ingest", project, reports)
    assert json.loads(run("ingest", project, reports, "--json"))["status"] == "done"

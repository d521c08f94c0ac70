"""The Tcl scripts, run by a real Tcl interpreter in which the vendor's commands write a log."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

TEMPLATES = Path(__file__).parents[2] / "hwflow" / "hls" / "templates"
VARIABLES = {
    "name": "tiny",
    "part": "xcku115-flvb2104-2-i",
    "clock_period_ns": 5,
    "clock_uncertainty": "12.5%",
    "backend": "vitis",
    "sources": ["firmware/layers/conv1.cpp", "layers/conv2.cpp", "firmware/tiny.cpp"],
    "cflags": "-std=c++14",
    "is_loaded": False,
}
STUBS = """
set log [open calls.log w]
foreach command {open_project set_top add_files open_solution set_part create_clock
    set_clock_uncertainty csim_design csynth_design cosim_design export_design create_project
    read_xdc synth_design report_utilization report_timing_summary opt_design place_design
    phys_opt_design route_design} {
    proc $command {args} "
        global log
        puts \\$log \\"$command \\$args\\"
        flush \\$log
        if {\\$::fails eq {$command}} {error {told to fail}}"
}
proc config_compile {args} {error "invalid command"}
proc config_schedule {args} {}
proc config_array_partition {args} {global log; puts $log "config_array_partition $args"}
"""


def _tcl(script: Path, cwd: Path, fails: str = "-") -> subprocess.CompletedProcess[str]:
    (cwd / "stubs.tcl").write_text(f"set fails {fails}\n{STUBS}\nsource {script}\n")
    tclsh = shutil.which("tclsh")
    if tclsh:
        command = [tclsh, "stubs.tcl"]
    else:
        pytest.importorskip("tkinter", reason="no Tcl interpreter here")
        command = [sys.executable, "-c", "import tkinter; tkinter.Tcl().evalfile('stubs.tcl')"]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def _write(folder: Path, **changes: object) -> None:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    for template in TEMPLATES.glob("*.tcl*"):
        text = environment.from_string(template.read_text()).render(**{**VARIABLES, **changes})
        (folder / template.name.removesuffix(".j2")).write_text(text)
    for path in ("firmware/tiny.cpp", "firmware/layers/conv1.cpp", "firmware/layers/conv2.cpp"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")
    (folder / "tb_data").mkdir()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "hls"
    folder.mkdir()
    _write(folder)
    return folder


def _calls(folder: Path) -> list[str]:
    return (folder / "calls.log").read_text().splitlines()


def test_default_run_simulates_and_synthesizes(project: Path) -> None:
    done = _tcl(Path("build_prj.tcl"), project)
    assert done.returncode == 0, done.stdout + done.stderr
    include = f"{{-std=c++14 -I{project / 'firmware'}}}"
    assert _calls(project) == [
        "open_project -reset tiny_prj",
        "set_top tiny",
        f"add_files ./firmware/tiny.cpp -cflags {include}",
        f"add_files ./firmware/layers/conv1.cpp -cflags {include}",
        f"add_files ./firmware/layers/conv2.cpp -cflags {include}",
        f"add_files -tb ./tiny_test.cpp -cflags {include}",
        "add_files -tb ./tb_data",
        "open_solution -reset solution1",
        "set_part xcku115-flvb2104-2-i",
        "create_clock -period 5 -name default",
        "set_clock_uncertainty 12.5% default",
        "csim_design -O",
        "csynth_design ",
    ]
    assert 'this version has no "config_compile -name_max_length 80"' in done.stdout
    for stage in ("project", "csim", "csynth"):
        assert f"HWFLOW: {stage} done in" in done.stdout
    assert "cosim" not in done.stdout


def test_options_of_the_current_folder_win_and_a_layer_is_its_own_top(project: Path) -> None:
    run = project.parent / "run"
    run.mkdir()
    (run / "build_opt.tcl").write_text(
        "array set opt {reset 0 csim 0 csynth 1 cosim 0 export 1 vsynth 0 implement 0}\n"
        'set opt_top "conv1_window"\nset opt_source "firmware/layers/conv1.cpp"\n'
        'set opt_project "layer_conv1"\n'
    )
    done = _tcl(Path("../hls/build_prj.tcl"), run)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = _calls(run)
    assert calls[:2] == ["open_project layer_conv1", "set_top conv1_window"]
    assert [call.split()[1] for call in calls if call.startswith("add_files")] == [
        "../hls/firmware/layers/conv1.cpp"
    ]
    assert not [call for call in calls if "csim" in call]
    assert calls[-2:] == ["csynth_design ", "export_design -format ip_catalog -version 1.0.0"]


@pytest.mark.parametrize(
    ("command", "stage"),
    [("csim_design", "csim"), ("csynth_design", "csynth"), ("set_part", "project")],
)
def test_a_failed_command_ends_the_run(project: Path, command: str, stage: str) -> None:
    done = _tcl(Path("build_prj.tcl"), project, fails=command)
    assert done.returncode == 1
    assert f"ERROR: [HWFLOW] {stage} failed: told to fail" in done.stdout
    assert f"HWFLOW: {stage} done" not in done.stdout


def test_vivado_hls_gets_its_partition_limit(tmp_path: Path) -> None:
    _write(tmp_path, backend="vivado")
    assert _tcl(Path("build_prj.tcl"), tmp_path).returncode == 0
    assert "config_array_partition -maximum_size 4096" in _calls(tmp_path)


def test_vivado_needs_verilog(project: Path) -> None:
    done = _tcl(Path("vivado_synth.tcl"), project)
    assert done.returncode == 1
    assert "no Verilog in tiny_prj/solution1/syn/verilog" in done.stdout


@pytest.mark.parametrize("implement", [0, 1])
def test_vivado_synthesizes_out_of_context(project: Path, implement: int) -> None:
    verilog = project / "tiny_prj/solution1/syn/verilog"
    verilog.mkdir(parents=True)
    (verilog / "tiny.v").write_text("module tiny(); endmodule\n")
    options = project / "build_opt.tcl"
    options.write_text(options.read_text().replace("implement 0", f"implement {implement}"))
    done = _tcl(Path("vivado_synth.tcl"), project)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = _calls(project)
    assert "synth_design -top tiny -part xcku115-flvb2104-2-i -mode out_of_context" in calls
    assert "report_utilization -file vivado_synth.rpt" in calls
    assert ("report_utilization -file vivado_impl.rpt" in calls) == bool(implement)
    clock = (project / "hwflow_clock.xdc").read_text()
    assert clock == "create_clock -period 5 -name ap_clk [get_ports ap_clk]\n"


def test_the_testbench_gets_the_words_that_are_loaded(tmp_path: Path) -> None:
    _write(tmp_path, is_loaded=True)
    assert _tcl(tmp_path / "build_prj.tcl", tmp_path).returncode == 0
    assert f"add_files -tb {tmp_path}/host/weights.bin" in _calls(tmp_path)

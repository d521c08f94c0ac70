"""The command line: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import hwflow
from hwflow import doctor
from hwflow.cli import app, main
from hwflow.errors import DesignError, DoesNotFitError, Fault, MismatchError, ToolError
from hwflow.plan import dataflow_core
from hwflow.plan.cost import Resources
from hwflow.plan.device import load_devices
from hwflow.plan.fit import fit
from hwflow.progress import RichProgress, SilentProgress
from hwflow.simulate import fast
from hwflow.terminal import Terminated, interruptible

VERIFICATION: dict[str, Any] = {
    "status": "exact",
    "images": 4,
    "witnesses": ["keras", "integer", "csim"],
    "values_compared": 14000000,
    "mismatches": 0,
    "layers": [{"name": "conv1", "values": 100, "mismatches": 0}],
}
METRICS: dict[str, Any] = {
    "design": "toy",
    "network": "family toy",
    "parameters": 1235496,
    "macs": 349000000,
    "weight_bits": 9883968,
    "verification": VERIFICATION,
    "timings_s": {"quantize": 1.25, "verify": 2.0},
}
CHECKED = {
    "design": "toy",
    "network": "family toy",
    "parameters": 1235496,
    "macs": 349000000,
    "layers": [
        {"name": "conv1", "kind": "Conv2D", "shape": [111, 111, 64], "parameters": 9, "macs": 8}
    ],
}


class Flow(ModuleType):
    """Stands in for hwflow.flow and hwflow.checking: records calls, and does what it is told."""

    STEPS = ("load", "quantize", "verify")

    def __init__(self) -> None:
        super().__init__("hwflow.flow")
        self.calls: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self.metrics = METRICS

    def _call(self, **arguments: Any) -> None:
        self.calls.append(arguments)
        print("a library talks")
        os.write(1, b"native code talks\n")
        if self.error is not None:
            raise self.error

    def build(self, design: Path, output: Path, **options: Any) -> Any:
        self._call(design=design, output=output, **options)
        return SimpleNamespace(project=output / "toy", metrics=self.metrics)

    def verify(self, project: Path, **options: Any) -> Any:
        self._call(project=project, **options)
        return self.metrics["verification"]

    def check(self, design: Path) -> Any:
        self._call(design=design)
        return CHECKED


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> Flow:
    fake = Flow()
    for module in ("flow", "checking"):
        monkeypatch.setitem(sys.modules, f"hwflow.{module}", fake)
        monkeypatch.setattr(hwflow, module, fake, raising=False)
    return fake


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


# --- commands ------------------------------------------------------------------------------------


def test_build_hands_its_options_to_the_flow(flow: Flow) -> None:
    result = run(
        "build", "toy.yaml", "-o", "out", "--from", "quantize", "--to", "verify", "--force",
        "--ap-types", "reference",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (call,) = flow.calls
    assert isinstance(call.pop("progress"), RichProgress)
    assert call == {
        "design": Path("toy.yaml"),
        "output": Path("out"),
        "start": "quantize",
        "stop": "verify",
        "force": True,
        "ap_types": "reference",
    }


def test_all_faults_of_the_options_of_plan_are_told_before_the_design_is_read() -> None:
    result = run("plan", "toy.yaml", "--share", "3", "--interval", "0", "--fps", "nan")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "target: --fps must be above 0, not nan",
        "target: --interval must be above 0, not 0",
        "target: give one of --fps, --interval",
        "--share: must be above 0 and at most 1, not 3.0",
    ]
    result = run("plan", "toy.yaml", "--part", "zcu102", "--all-parts", "--latency-ms", "-1")
    assert result.stderr.splitlines() == [
        "target: --latency-ms must be above 0, not -1.0",
        "part: give --part or --all-parts, not both",
    ]


def test_build_ends_with_the_verdict(flow: Flow) -> None:
    lines = run("build", "toy.yaml").stdout.splitlines()
    assert lines[-1] == (
        "exact: 3 witnesses (keras, integer, csim), 4 images, 14,000,000 values compared, 0 differ"
    )
    table = "\n".join(lines)
    for part in ("1,235,496", "349,000,000", "9,883,968", "3.2 (quantize 1.2, verify 2.0)"):
        assert part in table
    assert "hls_projects/toy" in table
    assert "talks" not in table


def test_what_fits_no_listed_device_is_told_of_each(flow: Flow) -> None:
    needs = Resources(lut=10_000_000, bram_18k=20_000)
    resources = {"source": "estimate", **needs.to_json(), **fit(needs, "vu13p")}
    flow.metrics = {**METRICS, "resources": resources}
    table = run("build", "toy.yaml").stdout
    told = [line for line in table.splitlines() if line.startswith("needs, of ")]
    names = [line.removeprefix("needs, of ").split()[0] for line in told]
    assert sorted(names) == sorted(load_devices())
    (largest,) = (line for line in told if line.startswith("needs, of vu13p "))
    assert " ".join(largest.split()[3:]) == "5.8 x the LUTs and 3.8 x the block RAM"
    assert names.index("vu13p") < names.index("zcu104")
    small = Resources(lut=1000)
    flow.metrics = {**METRICS, "resources": {"source": "estimate", **fit(small, "vu13p")}}
    assert "needs, of" not in run("build", "toy.yaml").stdout


def test_json_is_one_object_whatever_libraries_print(flow: Flow) -> None:
    result = run("build", "toy.yaml", "--json")
    assert json.loads(result.stdout) == {
        "status": "done",
        "project": "hls_projects/toy",
        "published": True,
        "metrics": METRICS,
    }
    assert "a library talks" in result.stderr


def test_a_build_that_stops_early_was_not_verified(flow: Flow) -> None:
    flow.metrics = {"design": "toy", "verification": {"status": "skipped"}}
    result = run("build", "toy.yaml", "--to", "quantize")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "skipped: nothing was compared"
    assert "not published" in result.stdout
    assert "hls_projects" not in result.stdout
    told = json.loads(run("build", "toy.yaml", "--to", "quantize", "--json").stdout)
    assert told["published"] is False


def test_a_mismatch_in_the_metrics_is_an_error(flow: Flow) -> None:
    layers = [{"name": "conv1", "values": 100, "mismatches": 7}]
    wrong = {**VERIFICATION, "status": "mismatch", "mismatches": 7, "layers": layers}
    flow.metrics = {**METRICS, "verification": wrong}
    for words in (("build", "toy.yaml"), ("verify", "hls_projects/toy")):
        result = run(*words)
        assert result.exit_code == 3
        assert "7 values differ" in result.stderr
        assert result.stdout.splitlines()[-1].startswith("mismatch: 3 witnesses")
        assert any("conv1" in line and "7" in line for line in result.stdout.splitlines())


def test_verify(flow: Flow) -> None:
    result = run("verify", "p", "--images", "pictures", "--count", "2", "--json")
    assert json.loads(result.stdout) == {"status": "done", "verification": VERIFICATION}
    (call,) = flow.calls
    assert (call["project"], call["images"], call["count"]) == (Path("p"), Path("pictures"), 2)


def test_check(flow: Flow) -> None:
    assert json.loads(run("check", "toy.yaml", "--json").stdout) == {"status": "done", **CHECKED}
    text = run("check", "toy.yaml").stdout
    assert "111 x 111 x 64" in text
    assert "349,000,000" in text


def test_schema_is_the_published_one() -> None:
    published = Path(__file__).parents[2] / "docs" / "design.schema.json"
    assert run("schema").stdout == published.read_text(encoding="utf-8")


def test_networks() -> None:
    (squeezenet,) = [
        family
        for family in json.loads(run("networks", "--json").stdout)["networks"]
        if family["name"] == "squeezenet"
    ]
    parameters = {parameter["name"]: parameter for parameter in squeezenet["parameters"]}
    assert parameters["classes"]["default"] == 1000
    assert not parameters["classes"]["required"]
    assert "squeezenet: " in run("networks").stdout


def test_version() -> None:
    assert run("--version").stdout == f"hwflow {hwflow.__version__}\n"


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "exit_code", "kind"),
    [
        (DesignError([Fault("d.yaml:1:2", "name", "must be x"), "must be y"]), 2, "DesignError"),
        (MismatchError("conv1 differs"), 3, "MismatchError"),
        (DoesNotFitError("too large"), 4, "DoesNotFitError"),
        (ToolError("no compiler"), 5, "ToolError"),
    ],
)
def test_errors_have_their_exit_codes(
    flow: Flow, error: Exception, exit_code: int, kind: str
) -> None:
    flow.error = error
    for words in (("build", "toy.yaml"), ("verify", "p"), ("check", "toy.yaml")):
        plain = run(*words)
        assert plain.exit_code == exit_code
        assert plain.stdout == ""
        assert plain.stderr.endswith(f"{error}\n")
        answer = json.loads(run(*words, "--json").stdout)
        assert (answer["status"], answer["exit_code"], answer["kind"]) == ("error", exit_code, kind)
        if kind == "DesignError":
            assert answer["faults"] == [
                {"where": "d.yaml:1:2", "subject": "name", "message": "must be x"},
                {"where": "", "subject": "", "message": "must be y"},
            ]
        else:
            assert answer["faults"] == [{"where": "", "subject": "", "message": str(error)}]


def test_an_interrupt(flow: Flow) -> None:
    flow.error = KeyboardInterrupt()
    result = run("build", "toy.yaml", "--json")
    assert result.exit_code == 130
    assert json.loads(result.stdout)["kind"] == "Interrupted"
    assert result.stderr.endswith("interrupted\n")


def test_a_fault_of_our_own_is_not_hidden(flow: Flow) -> None:
    flow.error = ZeroDivisionError("a bug")
    assert isinstance(run("build", "toy.yaml").exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--from", "quantise"), "--from must name one of load, quantize, verify, not 'quantise'."),
        (("--from", "quantise"), "Did you mean 'quantize'?"),
        (("--to", ""), "--to must name one of load, quantize, verify, not ''."),
        (("--from", "verify", "--to", "load"), "--from verify must not come after --to load"),
    ],
)
def test_steps_that_are_none(flow: Flow, words: tuple[str, ...], expected: str) -> None:
    result = run("build", "toy.yaml", *words)
    assert result.exit_code == 2
    assert expected in result.stderr
    assert flow.calls == []


@pytest.mark.parametrize(
    "words", [("nosuch",), ("build",), ("build", "a", "--nosuch"), ("verify", "p", "--count", "0")]
)
def test_wrong_usage(flow: Flow, words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2
    assert flow.calls == []


# --- as a process --------------------------------------------------------------------------------


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['hwflow', '--help']\n"
        "from hwflow.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'tensorflow', 'keras', 'hls4ml', 'qkeras', 'numpy', 'pydantic', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Commands:" in done.stdout
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("build",), "Missing argument"),
        (("verify", "p", "--count", "0"), "--count"),
        (("nosuch",), "nosuch"),
    ],
)
def test_wrong_usage_is_an_object_too(
    words: tuple[str, ...],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for options in ((), ("--json",)):
        monkeypatch.setattr(sys, "argv", ["hwflow", *words, *options])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        written = capsys.readouterr()
        assert "Usage: hwflow" in written.err
        assert told in written.err
        if options:
            found = json.loads(written.out)
            assert (found["status"], found["exit_code"]) == ("error", 2)
            assert found["kind"] == "UsageError"
            assert told in found["faults"][0]["message"]
        else:
            assert written.out == ""


def test_sigterm_ends_a_build_as_an_exception_would(tmp_path: Path) -> None:
    program = (
        "import sys, time, types; from pathlib import Path; import hwflow\n"
        "class Flow(types.ModuleType):\n"
        "    STEPS = ()\n"
        "    def build(self, design, output, **options):\n"
        "        try:\n"
        "            Path('begun').touch(); time.sleep(60)\n"
        "        finally:\n"
        "            Path('cleaned').touch()\n"
        "hwflow.flow = sys.modules['hwflow.flow'] = Flow('hwflow.flow')\n"
        "sys.argv = ['hwflow', 'build', 'x.yaml', '--json']\n"
        "from hwflow.cli import main; main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    assert json.loads(told)["kind"] == "Terminated"
    assert (tmp_path / "cleaned").exists()


@pytest.mark.parametrize(
    ("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_what_follows_on_a_signal_is_an_interrupt(
    number: signal.Signals, kind: type[BaseException]
) -> None:
    @interruptible()
    def library() -> None:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise TypeError("a C library cannot carry it") from None

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt) as caught:
        library()
    assert type(caught.value) is kind
    assert signal.getsignal(number) is before
    with pytest.raises(TypeError), interruptible():
        raise TypeError("no signal came")


def test_sigint_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


# --- progress ------------------------------------------------------------------------------------


def test_progress_without_a_terminal_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    progress = RichProgress(Console(stderr=True, force_terminal=False, width=80))
    with progress.step("load", reused=True):
        pass
    with progress.step("csim"):
        progress.advance(1, 4, "images")  # too soon to be told
        progress.advance(4, 4, "images")
        progress.note("[float64] was needed")
    with pytest.raises(ToolError), progress.step("compile"):
        raise ToolError("x")
    with pytest.raises(KeyboardInterrupt), progress.step("verify"):
        raise KeyboardInterrupt
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[:4] == [
        "load: unchanged, reused",
        "csim ...",
        "  4 of 4 images",
        "  [float64] was needed",
    ]
    assert lines[4].startswith("csim: done in ")
    assert lines[5:] == ["compile ...", "compile: failed", "verify ...", "verify: interrupted"]


def test_progress_on_a_terminal_shows_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    progress = RichProgress(Console(stderr=True, force_terminal=True, width=100))
    progress.advance(1, 2, "images")  # outside of a step there is nothing to move
    with progress.step("csim"):
        progress.advance(3, 4, "images")
        progress.note("a note")
    text = capsys.readouterr().err
    assert "3 of 4 images" in text
    assert "a note" in text
    assert "csim: done in " in text


def test_silent_progress(capsys: pytest.CaptureFixture[str]) -> None:
    progress = SilentProgress()
    with progress.step("load"):
        progress.advance(1, 2, "images")
        progress.note("x")
    assert capsys.readouterr() == ("", "")


# --- doctor --------------------------------------------------------------------------------------


@contextmanager
def only_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(folder))
        patch.delenv("CXX", raising=False)
        yield


def test_doctor_finds_this_machine_fit() -> None:
    result = run("doctor", "--json")
    assert result.exit_code == 0, result.stdout
    findings = {finding["name"]: finding for finding in json.loads(result.stdout)["findings"]}
    assert findings["hls4ml"]["found"] == "1.3.0"
    assert findings["hls4ml"]["hint"] == "needs hls4ml==1.3.0"
    assert findings["C++ compiler"]["ok"]
    assert "portable" in findings["engine"]["found"]
    assert findings["dataflow core"]["found"] == "compiled"
    assert {"Python", "memory", "cores", "disk", "make", *doctor.VENDOR_TOOLS} <= set(findings)
    assert "C++ compiler" in run("doctor").stdout


def test_doctor_without_the_compiled_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ToolError("is not built; install hwflow again")

    monkeypatch.setattr(fast, "_library", missing)
    monkeypatch.setattr(dataflow_core, "core", missing)
    found = [finding for finding in doctor.examine(tmp_path) if not finding.ok and finding.required]
    assert [finding.name for finding in found] == ["engine", "dataflow core"]
    assert all(finding.hint == "is not built; install hwflow again" for finding in found)


def test_doctor_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with only_on_path(monkeypatch, tmp_path):
        result = run("doctor", "--json")
        plain = run("doctor")
    assert result.exit_code == plain.exit_code == 5
    assert json.loads(result.stdout)["status"] == "error"
    assert plain.stderr == "missing or unfit: C++ compiler\n"
    assert "MISSING" in plain.stdout


def test_doctor_with_a_compiler_that_cannot_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && echo 'g++ 12.2.0' && exit\nexit 1\n")
    broken.chmod(0o755)
    with only_on_path(monkeypatch, tmp_path):
        (finding,) = [f for f in doctor.examine(tmp_path) if f.name == "C++ compiler"]
    assert not finding.ok
    assert "compiling a test: g++ failed with exit status 1" in finding.hint


def test_doctor_finds_vendor_tools_by_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binaries = tmp_path / "Vitis_HLS" / "2023.1" / "bin"
    binaries.mkdir(parents=True)
    tool = binaries / "vitis_hls"
    tool.write_text(f"#!/bin/sh\necho 'vitis_hls v2023.1.2'\n: > {tmp_path}/was_run\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    with only_on_path(monkeypatch, binaries):
        findings = {finding.name: finding for finding in doctor.examine(tmp_path)}
        assert findings["vitis_hls"].found == f"2023.1 ({tool})"
        assert not (tmp_path / "was_run").exists()
        assert not findings["vivado"].ok
        assert not findings["vivado"].required
    tool.write_text("#!/bin/sh\necho 'vitis_hls v2023.1.2'\n")
    with only_on_path(monkeypatch, binaries):
        findings = {f.name: f for f in doctor.examine(tmp_path, run_tools=True)}
        assert findings["vitis_hls"].found == f"vitis_hls v2023.1.2 ({tool})"
        tool.write_text("#!/bin/sh\nexit 3\n")
        findings = {f.name: f for f in doctor.examine(tmp_path, run_tools=True)}
        assert not findings["vitis_hls"].ok


def test_doctor_names_packages_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor.metadata,
        "requires",
        lambda name: ["numpy==0.1", "nosuch_package>=2", "rich", "pytest>=8; extra == 'dev'"],
    )
    findings = {f.name: f for f in doctor.examine(Path.cwd()) if f.name != "Python"}
    assert not findings["numpy"].ok
    assert findings["numpy"].hint == "needs numpy==0.1: pip install 'numpy==0.1'"
    assert not findings["nosuch_package"].ok
    assert findings["nosuch_package"].found == ""
    assert findings["rich"].ok
    assert "pytest" not in findings

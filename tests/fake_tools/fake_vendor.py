"""Stands in for vitis-run, vitis_hls, vivado_hls and vivado: reads their options, writes reports.

Started as `fake_vendor.py TOOL ARGUMENTS...`. `FAKE_MODE` says how it behaves: a comma-separated
list of `mode` or `mode@word`, the latter only if the stage or the top is that word. Every start is
appended to the file `FAKE_CALLS`. Standard library only: it runs on workers too.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

REPORTS = Path(__file__).parents[1] / "reports"
ERRORS = {
    "unroll": "ERROR: [HLS 200-1471] Stop unrolling loop 'Products' (kernels/conv.h:52) in function"
    " 'fire2' because it may cause large runtime and excessive memory usage.",
    "unroll2019": "ERROR: [XFORM 203-504] Stop unrolling loop 'Products' in function 'fire2'",
    "partition": "ERROR: [XFORM 203-103] Array 'weights' (layers/conv1.cpp:9): partitioned elements"
    " number (9216) has exeeded the threshold (4096), which may cause long run-time.",
    "memory": "ERROR: [HLS 200-103] std::bad_alloc",
    "licence": "ERROR: [Common 17-345] A valid license was not found for feature 'Synthesis'",
    "part": "ERROR: [HLS 200-1023] Part 'xczu9eg-ffvb1156-2-e' is not installed.",
    "width": "ERROR: [HLS 214-256] in pool3: the bit-width after aggregation (73728) is larger than"
    " 65536",
    "deadlock": "ERROR!!! DEADLOCK DETECTED at 52500 ns! SIMULATION WILL BE STOPPED!",
    "mismatch": "ERROR: [SIM 211-100] CSim failed with errors.",
    "full_disk": "ERROR: [Common 17-180] Spawn failed: No space left on device",
    "date": "ERROR: '2203021112' bad lexical cast: source type value could not be interpreted",
}
WARNINGS = {
    "timing": "WARNING: [HLS 200-871] Estimated clock period (5.9 ns) exceeds the target",
    "urem": "INFO: [RTGEN 206-100] Generating core module 'urem_10ns_8ns_7_14_1': 1 instance(s).\n"
    "WARNING: [SYN 201-1] conv1 uses urem_10ns_8ns_7_14_1",
    "interval": "WARNING: [HLS 200-880] The II Violation in module 'conv1' (loop 'Pixels'): Unable"
    " to enforce a carried dependence constraint (II = 1)",
    "setting": "ERROR: [HLS 200-101] 'config_compile': Unknown option '-name_max_length'.",
}


def say(text: str) -> None:
    print(text, flush=True)


def report(source: str, target: Path, top: str, cut: bool = False) -> None:
    text = (REPORTS / source).read_text()
    text = text.replace("<TopModelName>tiny<", f"<TopModelName>{top}<")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text[: len(text) // 2] if cut else text)


def main() -> int:
    tool, arguments = sys.argv[1], sys.argv[2:]
    script = Path(arguments[-1])
    name = re.search(r'^set name "(.*)"', script.read_text(), re.M).group(1)
    text = Path("build_opt.tcl").read_text()
    options = {key: int(value) for key, value in re.findall(r"^\s+(\w+)\s+([01])$", text, re.M)}
    top = re.search(r'^set opt_top "(.*)"', text, re.M).group(1) or name
    stages = [stage for stage in ("csim", "csynth", "cosim") if options[stage]]
    if tool == "vivado":
        stages = ["vsynth"] + ["implement"] * options["implement"]
    with open(os.environ["FAKE_CALLS"], "a") as calls:
        calls.write(f"{tool} {' '.join(stages)} {top} reset={options['reset']}\n")
    modes = set()
    for item in os.environ.get("FAKE_MODE", "").split(","):
        mode, _, word = item.partition("@")
        if not word or word in (*stages, top):
            modes.add(mode)
    solution = Path(f"{top}_prj") / "solution1"
    say(f"****** {tool} (stand-in)")
    for stage in stages:
        say(f"HWFLOW: {stage} begins")
        status = misbehave(modes)
        if status is not None:
            return status
        for mode in modes & ERRORS.keys():
            say(ERRORS[mode])
            return 1
        for mode in modes & WARNINGS.keys():
            say(WARNINGS[mode])
        if stage == "csynth":
            say("INFO: [HLS 200-10] -- Implementing module 'conv1_s'")
            if "no_report" not in modes:
                cut = "partial" in modes
                target = solution / "syn" / "report" / "csynth.xml"
                report("vitis_hls-2023.2/csynth.xml", target, top, cut)
            (solution / "syn" / "verilog").mkdir(parents=True, exist_ok=True)
        if stage == "cosim":
            failed = "2025.2" if "cosim_fail" in modes else "2023.2"
            target = solution / "sim" / "report" / f"{top}_cosim.rpt"
            report(f"vitis_hls-{failed}/tiny_cosim.rpt", target, top)
        if stage == "vsynth":
            version = "2019.1" if "late" in modes else "2023.2"
            for part in ("", "_hier", "_timing"):
                source = f"vivado-{version if part == '_timing' else '2023.2'}/vivado_synth{part}"
                report(f"{source}.rpt", Path(f"vivado_synth{part}.rpt"), top)
        if stage == "implement":
            for part in ("", "_timing"):
                report(f"vivado-2025.2/vivado_impl{part}.rpt", Path(f"vivado_impl{part}.rpt"), top)
        if "unfinished" not in modes:
            say(f"HWFLOW: {stage} done in 1 s")
    if "late_error" in modes:
        say("ERROR: [HLS 200-70] something went wrong, and the status is zero all the same")
    return 0


def misbehave(modes: set[str]) -> int | None:
    if "garbage" in modes:
        sys.stdout.buffer.write(bytes(range(256)) * 2000)
        return 3
    if "killed" in modes:
        os.kill(os.getpid(), signal.SIGKILL)
    if "kill_worker_once" in modes and not Path("../worker_was_killed").exists():
        Path("../worker_was_killed").touch()
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    if "kill_worker" in modes:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(600)
    if "orphan" in modes:  # a child that keeps the output open after the tool's own end
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if "hang" in modes or "stubborn" in modes:
        if "stubborn" in modes:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path("pids.tmp").write_text(f"{os.getpid()} {child.pid}")
        Path("pids.tmp").rename("pids")
        time.sleep(600)
    return None


if __name__ == "__main__":
    sys.exit(main())

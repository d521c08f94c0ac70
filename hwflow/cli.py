"""The command line: commands and exit codes, nothing else.

Everything heavy is imported inside of the commands.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec, cast

import typer

from hwflow import __version__, synth_cli
from hwflow.errors import DesignError, HwflowError, MismatchError
from hwflow.estimate.cli import estimate
from hwflow.evaluate.cli import evaluate
from hwflow.plan.cli import dataflow, plan
from hwflow.terminal import Terminated, interruptible, working

app = typer.Typer(
    name="hwflow",
    help="From a quantized Keras CNN to an FPGA project that is known to be right.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes as shells have them: 128 and the signal's number."""

# typer brings a click of its own, of which it shows no more
UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)

DesignArgument = Annotated[Path, typer.Argument(help="The design file (YAML).")]
ProjectArgument = Annotated[Path, typer.Argument(help="A project that `hwflow build` made.")]
ApTypesOption = Annotated[
    str | None,
    typer.Option(
        "--ap-types",
        metavar="fast|reference",
        help="Headers of ap_int and ap_fixed for the C-simulation; by default the design's.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]

_Parameters = ParamSpec("_Parameters")


def reported(command: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    """Turns errors into a message and the exit code; with `--json` into one JSON object too."""

    @functools.wraps(command)
    def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> None:
        as_json = bool(kwargs.get("as_json"))
        try:
            with interruptible():
                command(*args, **kwargs)
        except HwflowError as error:
            _report(str(error), type(error).__name__, error.exit_code, _faults(error), as_json)
            raise typer.Exit(error.exit_code) from None
        except Terminated:
            _report("terminated", "Terminated", TERMINATED, [], as_json)
            raise typer.Exit(TERMINATED) from None
        except KeyboardInterrupt:
            _report("interrupted", "Interrupted", INTERRUPTED, [], as_json)
            raise typer.Exit(INTERRUPTED) from None

    return wrapped


def _faults(error: HwflowError) -> list[dict[str, str]]:
    if isinstance(error, DesignError):
        return [
            {"where": fault.where, "subject": fault.subject, "message": fault.message}
            for fault in error.faults
        ]
    return [_plain_fault(str(error))]


def _plain_fault(message: str) -> dict[str, str]:
    return {"where": "", "subject": "", "message": message}


def _report(
    text: str, kind: str, exit_code: int, faults: list[dict[str, str]], as_json: bool
) -> None:
    print(text, file=sys.stderr)
    if as_json:
        _print_error(kind, exit_code, faults)


def _print_error(kind: str, exit_code: int, faults: list[dict[str, str]]) -> None:
    _print_json({"status": "error", "exit_code": exit_code, "kind": kind, "faults": faults})


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"hwflow {__version__}")
        raise typer.Exit


@app.command()
@reported
def build(
    design: DesignArgument,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the projects.")] = Path(
        "hls_projects"
    ),
    start: Annotated[
        str | None, typer.Option("--from", metavar="STEP", help="Run again from this step on.")
    ] = None,
    stop: Annotated[
        str | None, typer.Option("--to", metavar="STEP", help="Stop after this step.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Run every step again.")] = False,
    ap_types: ApTypesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build and verify a design: hls_projects/NAME."""
    from hwflow import flow
    from hwflow.progress import RichProgress

    _check_steps(start, stop, flow.STEPS)
    with working():
        result = flow.build(
            design,
            output,
            start=start,
            stop=stop,
            force=force,
            ap_types=ap_types,
            progress=RichProgress(),
        )
    metrics = result.metrics
    if as_json:
        published = {"project": str(result.project), "published": stop is None}
        _print_json({"status": "done", **published, "metrics": metrics})
    else:
        from hwflow.summary import print_build

        print_build(result.project if stop is None else None, metrics)
    _require_exact(metrics.get("verification", {}))


def _check_steps(start: str | None, stop: str | None, steps: tuple[str, ...]) -> None:
    from hwflow.schema_faults import did_you_mean

    faults = [
        f"{option} must name one of {', '.join(steps)}, not {step!r}.{did_you_mean(step, steps)}"
        for option, step in (("--from", start), ("--to", stop))
        if step is not None and step not in steps
    ]
    if faults:
        raise DesignError(faults)
    if start is not None and stop is not None and steps.index(start) > steps.index(stop):
        raise DesignError(f"--from {start} must not come after --to {stop}: {', '.join(steps)}")


def _require_exact(verification: dict[str, Any]) -> None:
    if verification.get("status") == "mismatch":
        raise MismatchError(f"{verification.get('mismatches')} values differ")


@app.command()
@reported
def verify(
    project: ProjectArgument,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="A folder of pictures, or a .npy file of (N, H, W, C)."),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, help="Number of images.")] = None,
    ap_types: ApTypesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a project's witnesses on other inputs, without building it again."""
    from hwflow import flow
    from hwflow.progress import RichProgress

    with working():
        result = flow.verify(
            project, images=images, count=count, ap_types=ap_types, progress=RichProgress()
        )
    if as_json:
        _print_json({"status": "done", "verification": result})
    else:
        from hwflow.summary import print_verification

        print_verification(result)
    _require_exact(result)


@app.command()
@reported
def check(design: DesignArgument, as_json: JsonOption = False) -> None:
    """Validate a design and summarise its network, without building anything."""
    from hwflow import checking

    with working():
        result = checking.check(design)
    if as_json:
        _print_json({"status": "done", **result})
    else:
        from hwflow.summary import print_check

        print_check(result)


@app.command()
@reported
def schema() -> None:
    """Print the JSON Schema of design files."""
    from hwflow.design_schema import json_schema
    from hwflow.networks import families

    _print_json(json_schema({name: family.parameters for name, family in families().items()}))


@app.command()
@reported
def networks(as_json: JsonOption = False) -> None:
    """List the network families and their parameters."""
    from hwflow.networks import families
    from hwflow.summary import describe_family, print_networks

    described = [describe_family(family) for _, family in sorted(families().items())]
    if as_json:
        _print_json({"status": "done", "networks": described})
    else:
        print_networks(described)


@app.command()
@reported
def doctor(
    run: Annotated[bool, typer.Option("--run", help="Ask vendor tools for their version.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for what hwflow needs on this machine."""
    from hwflow.doctor import examine
    from hwflow.errors import ToolError

    findings = examine(Path.cwd(), run_tools=run)
    missing = [finding.name for finding in findings if finding.required and not finding.ok]
    if as_json:
        code = ToolError.exit_code if missing else 0
        found = [finding.to_json() for finding in findings]
        status = {"status": "error", "exit_code": code} if missing else {"status": "done"}
        _print_json({**status, "findings": found})
    else:
        from hwflow.summary import print_findings

        print_findings(findings)
    if missing:
        print(f"missing or unfit: {', '.join(missing)}", file=sys.stderr)
        raise typer.Exit(ToolError.exit_code)


for _command in (
    plan,
    dataflow,
    estimate,
    evaluate,
    synth_cli.synth,
    synth_cli.pack,
    synth_cli.ingest,
):
    app.command()(reported(_command))


def main() -> None:
    """The entry point of the `hwflow` command; with `--json` wrong usage makes an object too."""
    try:
        code = app(prog_name="hwflow", standalone_mode=False)
    except UsageError as error:
        error.show()
        if "--json" in sys.argv[1:]:
            fault = _plain_fault(error.format_message())
            _print_error("UsageError", DesignError.exit_code, [fault])
        code = DesignError.exit_code
    sys.exit(code)


if __name__ == "__main__":
    main()

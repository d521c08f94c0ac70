"""The command `evaluate`; mounted by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hwflow.errors import MismatchError


def evaluate(
    project: Annotated[Path, typer.Argument(help="A project that `hwflow build` made.")],
    images: Annotated[
        Path, typer.Option(help="Folder of pictures, or of folders named as the classes.")
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Classes from 0: .csv or .tsv of file,label; a text with one a line, in the order "
            "of names; or the names of the folders, in the order of the classes."
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="The most pictures to take.")] = None,
    witnesses: Annotated[str, typer.Option(help="Who predicts.")] = "float,qkeras,fast",
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Range and overflows of every tensor (slower).")
    ] = False,
    cluster: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Dask scheduler, such as tcp://host:8786.")
    ] = "",
    batch: Annotated[int, typer.Option(min=1, help="Pictures in memory at a time.")] = 32,
    threads: Annotated[
        int, typer.Option(min=0, max=256, help="Of the engine; 0: one a processor.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Accuracy of the float network, QKeras and the hardware on labelled pictures."""
    from hwflow.evaluate.run import evaluate as run
    from hwflow.progress import RichProgress
    from hwflow.terminal import working

    with working():
        result = run(
            project,
            images,
            labels,
            count=count,
            witnesses=[name.strip() for name in witnesses.split(",") if name.strip()],
            statistics=statistics,
            cluster=cluster,
            batch=batch,
            threads=threads,
            progress=RichProgress(),
        )
    if as_json:
        print(json.dumps({"status": "done", **result}, indent=1))
    else:
        from hwflow.evaluate.text import print_evaluation

        print_evaluation(result)
        print(f"more in {project / 'evaluation'}")
    for name, pair in result["agreement"].items():
        if pair.get("equality_proved") and pair["equal_logits"]["count"] < result["images"]:
            differing = result["images"] - pair["equal_logits"]["count"]
            raise MismatchError(
                f"{name}: the logits of {differing} images differ, though float32 is exact here. "
                "hwflow verify tells where"
            )

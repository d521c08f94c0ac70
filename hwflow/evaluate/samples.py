"""The labelled pictures of an evaluation: which files, and which class each shows."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwflow.errors import DesignError, Fault
from hwflow.pictures import SUFFIXES, check_picture, pictures_in

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_MOST_FAULTS = 50
"""Faults that are told one by one; of the rest, their number."""


@dataclass(frozen=True)
class Sample:
    """A picture and its class.

    Attributes:
        file: the picture.
        name: its path below the folder of images, with `/`.
        label: number of its class, from 0.
    """

    file: Path
    name: str
    label: int


def read_samples(
    images: Path,
    labels: Path | None,
    classes: int,
    count: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Sample]:
    """The pictures with their labels, in an order that depends on their names alone.

    The order is that of the names' SHA-256, so that the first of them are a fair sample of all
    even where names sort by class, and a greater `count` goes on where a smaller one ended.

    Args:
        images: a folder of pictures, or of folders that are named as the classes.
        labels: a `.csv` or `.tsv` of `file,label` (a header and further columns are ignored); a
            text with one class number a line, in the order of the pictures' names; or, for folders
            of classes, a text with one folder's name a line, in the order of the classes. None
            takes the folders' names in their order.
        classes: of the network.
        count: the most pictures to take; None for all.
        progress: told how many pictures were looked at.

    Raises:
        DesignError: with all faults: missing and unreadable pictures, labels that are no class,
            pictures that are labelled twice.
    """
    if not images.is_dir():
        raise DesignError(Fault(str(images), "", "must be a folder of pictures"))
    faults: list[Fault] = []
    if labels is None:
        samples = _of_folders(images, None, classes, faults)
    elif not labels.is_file():
        raise DesignError(Fault(str(labels), "", "must be a file of labels, but there is none"))
    elif labels.suffix.lower() in _DELIMITERS:
        samples = _of_table(images, labels, classes, faults)
    else:
        samples = _of_lines(images, labels, classes, faults)
    samples.sort(key=lambda sample: hashlib.sha256(sample.name.encode()).digest())
    chosen = samples[:count]
    for index, sample in enumerate(chosen):
        if sample.file.is_file():
            try:
                check_picture(sample.file)
            except DesignError as error:
                faults += error.faults
        if index % 100 == 0:
            progress(index, len(chosen))
    if faults:
        raise DesignError(limited(faults))
    if not chosen:
        raise DesignError(Fault(str(labels or images), "", "must name pictures, but names none"))
    return chosen


def limited(faults: Sequence[Fault]) -> list[str | Fault]:
    """The faults as they are reported: the first of them, and the number of the others."""
    rest = len(faults) - _MOST_FAULTS
    return [*faults[:_MOST_FAULTS], *([f"and {rest} more faults of this kind"] if rest > 0 else [])]


def _of_table(images: Path, labels: Path, classes: int, faults: list[Fault]) -> list[Sample]:
    text = _text(labels)
    rows = list(csv.reader(text.splitlines(), delimiter=_DELIMITERS[labels.suffix.lower()]))
    samples = []
    for number, row in enumerate(rows, start=1):
        if not any(cell.strip() for cell in row):
            continue
        where = f"{labels}:{number}"
        if len(row) < 2:
            faults.append(Fault(where, "", f"must be a file and a label, not {row[0]!r}"))
            continue
        name, label = row[0].strip(), row[1].strip()
        if number == 1 and not _is_number(label) and not (images / name).exists():
            continue  # the header
        file = images / name
        if not file.is_file():
            faults.append(Fault(where, "", f"{name!r} is not in {images}"))
        samples += _sample(file, name, label, classes, where, faults)
    seen = Counter(sample.name for sample in samples)
    faults += [
        Fault(str(labels), "", f"{name!r} must be labelled once, not {times} times")
        for name, times in seen.items()
        if times > 1
    ]
    return samples


def _of_lines(images: Path, labels: Path, classes: int, faults: list[Fault]) -> list[Sample]:
    lines = _text(labels).rstrip().splitlines()
    words = [(line.split() or [""])[0].strip(",") for line in lines]
    files = pictures_in(images)
    if not files:
        return _of_folders(images, words, classes, faults, labels)
    if len(words) != len(files):
        raise DesignError(
            Fault(
                str(labels),
                "",
                f"must have one label for each of the {len(files)} pictures, in the order of "
                f"their names, not {len(words)}",
            )
        )
    samples = []
    for number, (file, word) in enumerate(zip(files, words, strict=True), start=1):
        samples += _sample(file, file.name, word, classes, f"{labels}:{number}", faults)
    return samples


def _of_folders(
    images: Path,
    names: Sequence[str] | None,
    classes: int,
    faults: list[Fault],
    labels: Path | None = None,
) -> list[Sample]:
    """Pictures in folders that are named as the classes."""
    found = sorted(entry.name for entry in images.iterdir() if entry.is_dir())
    found = [name for name in found if pictures_in(images / name)]
    if not found:
        raise DesignError(
            Fault(
                str(images),
                "",
                f"must hold pictures ({', '.join(SUFFIXES)}) and --labels name their classes, or "
                "hold folders of pictures that are named as the classes",
            )
        )
    order = list(names) if names is not None else found
    if len(order) != classes:
        raise DesignError(
            Fault(
                str(labels or images),
                "",
                f"must name the {classes} classes of the network, but names {len(order)}"
                + ("" if names else ". Give --labels a text with the folders' names in order"),
            )
        )
    faults += [
        Fault(str(labels), "", f"{name!r} must stand in one line, not {times}")
        for name, times in Counter(order).items()
        if times > 1
    ]
    numbers = {name: number for number, name in enumerate(order)}
    samples = []
    for name in found:
        if name not in numbers:
            faults.append(Fault(str(images / name), "", f"is no class that {labels} names"))
            continue
        samples += [
            Sample(file, f"{name}/{file.name}", numbers[name])
            for file in pictures_in(images / name)
        ]
    return samples


def _sample(
    file: Path, name: str, label: str, classes: int, where: str, faults: list[Fault]
) -> list[Sample]:
    """The sample, if its label is a class."""
    if _is_number(label) and 0 <= int(label) < classes:
        return [Sample(file, name, int(label))]
    faults.append(
        Fault(where, "", f"the label must be a class from 0 to {classes - 1}, not {label!r}")
    )
    return []


def _is_number(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DesignError(Fault(str(path), "", f"must be a text: {error}")) from error

"""Labelled pictures, and the figures of predictions."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from hwflow.errors import DesignError
from hwflow.evaluate import figures
from hwflow.evaluate.samples import read_samples
from hwflow.evaluate.text import print_statistics


def pictures(folder: Path, *names: str) -> Path:
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (index, 2 * index, 7)).save(folder / name)
    return folder


def labels_by_name(images: Path, labels: Path | None, classes: int = 3) -> dict[str, int]:
    samples = read_samples(images, labels, classes)
    assert all(sample.file == images / sample.name for sample in samples)
    return {sample.name: sample.label for sample in samples}


@pytest.mark.parametrize(("suffix", "mark"), [(".csv", ","), (".tsv", "\t"), (".CSV", ",")])
@pytest.mark.parametrize("header", ["file,label,more\n", "", "\ufefffile,class_index\n"])
def test_a_table_names_each_file_and_its_class(
    tmp_path: Path, suffix: str, mark: str, header: str
) -> None:
    images = pictures(tmp_path / "images", "b.png", "a.png", "sub/c, d.png", "left_out.png")
    rows = header + 'b.png,2,x\na.png, 0\n\n"sub/c, d.png",1\n'
    if mark == "\t":
        rows = header.replace(",", mark) + "b.png\t2\tx\na.png\t0\n\nsub/c, d.png\t1\n"
    labels = tmp_path / f"labels{suffix}"
    labels.write_text(rows)
    assert labels_by_name(images, labels) == {"a.png": 0, "b.png": 2, "sub/c, d.png": 1}


def test_a_text_has_one_class_a_line_in_the_order_of_names(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", "b.png", "c.png", "a.png")
    labels = tmp_path / "labels.txt"
    labels.write_text("2\n0\n1\n\n")
    assert labels_by_name(images, labels) == {"a.png": 2, "b.png": 0, "c.png": 1}
    labels.write_text("2\n0\n")
    with pytest.raises(DesignError, match=r"one label for each of the 3 pictures.*not 2"):
        read_samples(images, labels, 3)


def test_folders_are_classes_in_their_order_or_in_that_of_a_text(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", "n02/x.png", "n01/x.png", "n01/y.png", "n03/z.png")
    (images / "empty").mkdir()
    expected = {"n01/x.png": 0, "n01/y.png": 0, "n02/x.png": 1, "n03/z.png": 2}
    assert labels_by_name(images, None) == expected
    labels = tmp_path / "synsets.txt"
    labels.write_text("n03 third, of all\nn00 without pictures\nn02\nn01 first\n")
    expected = {"n01/x.png": 3, "n01/y.png": 3, "n02/x.png": 2, "n03/z.png": 0}
    assert labels_by_name(images, labels, 4) == expected
    with pytest.raises(DesignError, match="must name the 5 classes of the network, but names 4"):
        read_samples(images, labels, 5)
    with pytest.raises(DesignError, match=r"names 3\. Give --labels"):
        read_samples(images, None, 1000)
    labels.write_text("n03\nn03\nn02\n")
    with pytest.raises(DesignError) as caught:
        read_samples(images, labels, 3)
    assert [fault.message for fault in caught.value.faults] == [
        "'n03' must stand in one line, not 2",
        f"is no class that {labels} names",
    ]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", "good.png", "twice.png", "far.png", "word.png")
    (images / "text.png").write_text("no picture")
    Image.new("I;16", (4, 4)).save(images / "deep.png")
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "good.png,0\nabsent.png,1\ntwice.png,1\ntwice.png,2\nfar.png,3\nword.png,-1\nalone\n"
        "text.png,0\ndeep.png,0\n"
    )
    with pytest.raises(DesignError) as caught:
        read_samples(images, labels, 3)
    told = [str(fault).replace(str(tmp_path), "") for fault in caught.value.faults]
    assert sorted(told) == sorted(
        [
            "/labels.csv:2: 'absent.png' is not in /images",
            "/labels.csv:5: the label must be a class from 0 to 2, not '3'",
            "/labels.csv:6: the label must be a class from 0 to 2, not '-1'",
            "/labels.csv:7: must be a file and a label, not 'alone'",
            "/labels.csv: 'twice.png' must be labelled once, not 2 times",
            "/images/text.png: must be a picture, but its format is unknown",
            "/images/deep.png: must have 8 bits a channel, but is of mode I;16",
        ]
    )


def test_many_faults_are_counted(tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("".join(f"absent{index}.png,0\n" for index in range(80)))
    with pytest.raises(DesignError, match="and 30 more faults") as caught:
        read_samples(tmp_path, labels, 3)
    assert len(caught.value.faults) == 51


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("absent.csv", "must be a file of labels"),
        ("empty.csv", "names none"),
        ("binary.csv", "must be a text"),
        (None, "must hold pictures"),
    ],
)
def test_folders_and_files_that_are_none(tmp_path: Path, labels: str | None, message: str) -> None:
    (tmp_path / "empty.csv").write_text("file,label\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x80")
    with pytest.raises(DesignError, match=message):
        read_samples(tmp_path, tmp_path / labels if labels else None, 3)
    with pytest.raises(DesignError, match="must be a folder of pictures"):
        read_samples(tmp_path / "nowhere", None, 3)


def test_a_greater_count_goes_on_where_a_smaller_one_ended(tmp_path: Path) -> None:
    images = pictures(tmp_path, *(f"{c}/{i:02}.png" for c in "abc" for i in range(20)))
    every = read_samples(images, None, 3)
    assert len(every) == 60
    assert read_samples(images, None, 3, 24) == every[:24]
    assert {sample.label for sample in every[:24]} == {0, 1, 2}  # a fair sample of all


# --- figures ---------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 10**6), st.data())
def test_wilson_intervals_are_the_rates_that_the_count_does_not_reject(
    trials: int, data: st.DataObject
) -> None:
    """Its ends solve |rate - p| = z sqrt(p (1 - p) / n), Wilson's definition."""
    successes = data.draw(st.integers(0, trials))
    low, high = figures.wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            distance = abs(successes / trials - end)
            deviation = (end * (1 - end) / trials) ** 0.5
            assert distance == pytest.approx(1.959963984540054 * deviation, rel=1e-6, abs=1e-9)


def test_wilson_of_a_published_example() -> None:
    """81 of 263: (0.2553, 0.3662), R. G. Newcombe, Statistics in Medicine 17 (1998), table I."""
    assert [round(end, 4) for end in figures.wilson(81, 263)] == [0.2553, 0.3662]
    assert [round(end, 4) for end in figures.wilson(0, 20)] == [0.0, 0.1611]
    with pytest.raises(ValueError, match="at least one trial"):
        figures.wilson(0, 0)


def test_ranks_are_by_score_and_then_by_class() -> None:
    scores = np.array([[3, 9, 9, 1, 9, 0, 2], [0, 0, 0, 0, 0, 0, 0], [7, 6, 5, 4, 3, 2, 1.0]])
    top = figures.top_classes(scores)
    assert top.tolist() == [[1, 2, 4, 0, 6], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert figures.has_tie(scores).tolist() == [True, True, False]
    labels = np.array([4, 5, 0])
    found = figures.accuracy(top, labels, 7)
    assert (found["top1"]["count"], found["top5"]["count"]) == (1, 2)
    assert figures.accuracy(top[:, :4], labels, 4)["top5"] is None


def test_agreement_and_confusion_are_counted() -> None:
    first = np.array([[0], [1], [2], [2], [0]])
    second = np.array([[0], [2], [2], [1], [1]])
    labels = np.array([0, 1, 2, 1, 2])
    pair = figures.agreement(first, second, labels)
    assert pair["top1"]["count"] == 2
    assert (pair["first_alone_right"], pair["second_alone_right"]) == (1, 1)
    matrix = figures.confusion(second, labels, 3)
    assert matrix.tolist() == [[1, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert figures.most_confused(matrix) == [(1, 2, 1), (2, 1, 1)]
    matrix[2, 0] = 5
    assert figures.most_confused(matrix, 2) == [(2, 0, 5), (1, 2, 1)]


def test_statistics_of_batches_merge_as_those_of_all() -> None:
    def part(low: int, high: int, count: int) -> dict[str, dict[str, int]]:
        seen = {"count": count, "minimum": low, "maximum": high, "saturated": 2, "below": 1}
        return {"x": seen | {"wrapped": 3}}

    merged = figures.merged_statistics([part(-4, 1, 10), part(0, 9, 5)])
    assert merged == {
        "x": {"minimum": -4, "maximum": 9, "count": 15, "saturated": 4, "below": 2, "wrapped": 6}
    }


def test_the_tensors_that_leave_their_range_most_come_first() -> None:
    def seen(above: int, below: int, unused: int, kept: str = "ufixed<8,3>") -> dict[str, object]:
        return {
            "format": kept,
            "count": 100,
            "minimum": -1,
            "maximum": 1234,
            "saturated": above + below,
            "below": below,
            "wrapped": 0,
            "unused_bits": unused,
        }

    tensors = {
        "calm": seen(0, 50, 3),  # what ReLU clips is no loss
        "loud": seen(20, 0, 0),
        "soft": seen(1, 0, 1),
        "cold": seen(0, 2, 0, "fixed<8,3>"),
    }
    console = Console(width=120, record=True, file=io.StringIO())
    print_statistics(tensors, console)
    shown = console.export_text()
    places = [shown.index(name) for name in ("loud", "cold", "soft", "calm")]
    assert places == sorted(places)
    assert " 20% " in shown
    assert " 50% " in shown
    assert "bits that no value used: calm (3), soft (1)" in shown

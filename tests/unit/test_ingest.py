"""Reports that come from elsewhere: archives that are hostile or damaged, metrics of any shape."""

from __future__ import annotations

import io
import json
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hwflow.errors import DesignError, ToolError
from hwflow.ingest import ingest, merge
from hwflow.recalibration import factors_of, read_table
from hwflow.report import vendor_archive
from hwflow.report.vendor_archive import extract_reports
from hwflow.report.vendor_files import find_reports, join_reports
from hwflow.workspace import MANIFEST, check_project, file_digest, json_bytes

REPORTS = Path(__file__).parents[1] / "reports"
LAYERS = ("conv1", "fire2", "pool3")
FUNCTIONS = {layer: layer for layer in LAYERS}
HEADER = "design,layer,stage,tool,part,figure,estimate,actual"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "projects" / "tiny"
    for layer in LAYERS:
        path = folder / "hls" / "firmware" / "layers" / f"{layer}.cpp"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"void {layer}() {{}}\n")
    script = 'set name "tiny"\nset backend "vitis"\nset part "p"\nset clock_period_ns 5\n'
    (folder / "hls" / "build_prj.tcl").write_text(script)
    for name in ("build_opt.tcl", "vivado_synth.tcl", "firmware/tiny.cpp", "tiny_test.cpp"):
        (folder / "hls" / name).write_text("")
    return folder


def _zip(path: Path, **files: bytes | str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _report() -> bytes:
    return (REPORTS / "vitis_hls-2023.2/csynth.xml").read_bytes()


def _snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- archives ------------------------------------------------------------------------------------


def test_zip_and_tar_give_their_reports_alone(tmp_path: Path) -> None:
    files = {"a/csynth.xml": _report(), "a/run.sh": b"rm", "b/x.rpt": b"text", "../": b""}
    archive = tmp_path / "r.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("a/csynth.xml", "a/run.sh", "b/x.rpt"):
            opened.writestr(name, files[name])
        opened.writestr("empty/", "")
    assert extract_reports(archive, tmp_path / "zip") == 2
    packed = tmp_path / "r.tar.gz"
    with tarfile.open(packed, "w:gz") as target:
        for name in ("a/csynth.xml", "a/run.sh", "b/x.rpt"):
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            target.addfile(info, io.BytesIO(files[name]))
    assert extract_reports(packed, tmp_path / "tar") == 2
    for kind in ("zip", "tar"):
        assert (tmp_path / kind / "a/csynth.xml").read_bytes() == _report()
        assert not (tmp_path / kind / "a/run.sh").exists()


@pytest.mark.parametrize(
    "name",
    [
        "../../evil.rpt",
        "a/../../../evil.xml",
        "/tmp/evil.rpt",
        "C:/evil.rpt",
        "..\\evil.rpt",
        "../evil.sh",
    ],
)
def test_paths_that_climb_out_are_refused(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "in"
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("good.rpt", "text")
        opened.writestr(name, "evil")
    with pytest.raises(DesignError, match="leads out of its folder"):
        extract_reports(archive, inner)
    packed = tmp_path / "evil.tar"
    with tarfile.open(packed, "w") as target:
        target.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(DesignError, match="leads out of its folder"):
        extract_reports(packed, inner)
    assert {path.name for path in tmp_path.rglob("*evil*")} == {"evil.zip", "evil.tar"}
    assert not Path("/tmp/evil.rpt").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "link.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        entry = zipfile.ZipInfo("link.rpt")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(entry, "/etc/passwd")
    with pytest.raises(DesignError, match=r"holds a link: 'link\.rpt'"):
        extract_reports(archive, tmp_path / "in")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        packed = tmp_path / "link.tar"
        with tarfile.open(packed, "w") as target:
            info = tarfile.TarInfo("link.rpt")
            info.type, info.linkname = kind, "/etc/passwd"
            target.addfile(info)
        with pytest.raises(DesignError, match="holds a link"):
            extract_reports(packed, tmp_path / "in")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor_archive, "MAX_TOTAL_BYTES", 1 << 20)
    monkeypatch.setattr(vendor_archive, "MAX_FILES", 5)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.rpt", bytes(2 << 20))
    with pytest.raises(DesignError, match="unpacks to more than 1048576 bytes"):
        extract_reports(bomb, tmp_path / "in")
    # One that lies about its size: what counts is what comes out.
    data = bomb.read_bytes().replace((2 << 20).to_bytes(4, "little"), (9).to_bytes(4, "little"))
    liar = tmp_path / "liar.zip"
    liar.write_bytes(data)
    with pytest.raises(DesignError):
        extract_reports(liar, tmp_path / "in")
    assert sum(path.stat().st_size for path in (tmp_path / "in").rglob("*")) <= 2 << 20
    many = tmp_path / "many.zip"
    with zipfile.ZipFile(many, "w") as opened:
        for number in range(6):
            opened.writestr(f"{number}.txt", "")
    with pytest.raises(DesignError, match="more than 5 files"):
        extract_reports(many, tmp_path / "in")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.zip", b"", "must be a folder, a .zip or a .tar.gz"),
        ("r.txt", b"hello", "must be a folder, a .zip or a .tar.gz"),
        ("r.bin", bytes(range(256)) * 50, "must be a folder, a .zip or a .tar.gz"),
    ],
)
def test_what_is_no_archive(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DesignError, match=message):
        extract_reports(path, tmp_path / "in")
    with pytest.raises(DesignError, match=message):
        extract_reports(tmp_path / "missing.zip", tmp_path / "in")


def test_damaged_archives(tmp_path: Path) -> None:
    whole = _zip(tmp_path / "r.zip", **{"csynth.xml": _report()}).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(bytes(flipped))
    with pytest.raises(DesignError, match="damaged archive"):
        extract_reports(damaged, tmp_path / "in")
    packed = tmp_path / "r.tar.gz"
    with tarfile.open(packed, "w:gz") as target:
        target.add(REPORTS / "vitis_hls-2023.2/csynth.xml", "csynth.xml")
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(DesignError, match="damaged archive"):
        extract_reports(packed, tmp_path / "in")


# --- metrics -------------------------------------------------------------------------------------


def _result() -> Any:
    return join_reports(find_reports(REPORTS / "vitis_hls-2023.2"), "tiny", FUNCTIONS)


def test_a_project_without_metrics_gets_them(project: Path, tmp_path: Path) -> None:
    comparison = ingest(project, _zip(tmp_path / "r.zip", **{"x/csynth.xml": _report()}))
    metrics = json.loads((project / "metrics.json").read_text())
    assert metrics == comparison.metrics
    assert metrics["resources"]["available"]["lut"] == 274080
    assert metrics["resources"]["fits"] is True
    assert metrics["vendor"]["reports"][0]["path"] == "x/csynth.xml"
    assert all(row.estimate is None for row in comparison.rows)
    assert comparison.factors == {}
    assert read_table(project.parent / "recalibration.csv") == []


def test_what_does_not_fit_is_said(project: Path) -> None:
    metrics = {"resources": {"source": "rule", "available": {"lut": 10000}, "lut": 9000}}
    (project / "metrics.json").write_text(json.dumps(metrics))
    resources = merge(project, "tiny", _result()).metrics["resources"]
    assert (resources["fits"], resources["available"]) == (False, {"lut": 10000})


def test_layers_in_a_list_stay_in_a_list(project: Path) -> None:
    rows = [{"name": "fire2", "lut": 5000}, {"name": "conv1", "lut": 3000}]
    (project / "metrics.json").write_text(
        json.dumps({"resources": {"source": "rule", "per_layer": rows}})
    )
    comparison = merge(project, "tiny", _result())
    listed = comparison.metrics["resources"]["per_layer"]
    assert {row["name"]: row["lut"] for row in listed} == {
        "conv1": 3410,
        "fire2": 5890,
        "pool3": 402,
    }
    ratios = {row.layer: row.ratio for row in comparison.rows if row.figure == "lut"}
    assert ratios["fire2"] == 5890 / 5000
    assert ratios["pool3"] is None


def test_estimates_outlive_a_second_result(project: Path) -> None:
    estimate = {"source": "rule", "lut": 9000}
    (project / "metrics.json").write_text(json.dumps({"resources": estimate}))
    merge(project, "tiny", _result())
    vivado = join_reports(find_reports(REPORTS / "vivado-2023.2"), "tiny", FUNCTIONS)
    metrics = merge(project, "tiny", vivado).metrics
    assert metrics["estimates"]["resources"] == estimate
    assert metrics["resources"]["stage"] == "synthesized"
    assert metrics["latency"]["stage"] == "cosim"  # Vivado says nothing of cycles
    stages = {row["stage"] for row in read_table(project.parent / "recalibration.csv")}
    assert stages == {"csynth", "synthesized"}


def test_the_manifest_follows(project: Path) -> None:
    (project / "metrics.json").write_text("{}")
    entry = {"sha256": file_digest(project / "metrics.json"), "size": 2}
    (project / MANIFEST).write_bytes(json_bytes({"files": {"metrics.json": entry}}))
    merge(project, "tiny", _result())
    assert check_project(project) == []


@pytest.mark.parametrize(("content", "message"), [("{", "is damaged"), ("[]", "must hold an")])
def test_damaged_metrics(project: Path, content: str, message: str) -> None:
    (project / "metrics.json").write_text(content)
    before = _snapshot(project)
    with pytest.raises(DesignError, match=message):
        merge(project, "tiny", _result())
    assert _snapshot(project) == before


def test_bad_reports_leave_the_project_as_it_was(project: Path, tmp_path: Path) -> None:
    (project / "metrics.json").write_text('{"resources": {"source": "rule", "lut": 1}}')
    before = _snapshot(project)
    cut = _zip(tmp_path / "cut.zip", **{"csynth.xml": _report()[:900]})
    with pytest.raises(DesignError, match="is not complete XML"):
        ingest(project, cut)
    other = _report().replace(b">tiny<", b">huge<")
    with pytest.raises(
        DesignError, match="is of 'huge', neither 'tiny' nor a function of its layers"
    ):
        ingest(project, _zip(tmp_path / "other.zip", **{"csynth.xml": other}))
    with pytest.raises(DesignError, match="holds no report"):
        ingest(project, _zip(tmp_path / "none.zip", **{"readme.txt": "hello"}))
    assert _snapshot(project) == before


def test_a_disk_that_refuses_leaves_the_project_as_it_was(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "metrics.json").write_text('{"resources": {"source": "rule", "lut": 1}}')
    before = _snapshot(project)

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ToolError, match="no space left"):
        merge(project, "tiny", _result())
    monkeypatch.undo()
    assert _snapshot(project) == before


# --- the local table -----------------------------------------------------------------------------


def test_factors_are_medians_over_layers() -> None:
    rows = [
        "a,,csynth,t,p,lut,100,300",
        "a,l1,csynth,t,p,lut,100,110",
        "a,l2,csynth,t,p,lut,100,120",
        "a,l3,csynth,t,p,lut,100,160",
        "a,,routed,t,p,lut,200,100",
        "a,l1,csynth,t,p,dsp,0,4",
    ]
    assert factors_of("\n".join([HEADER, *rows])) == {
        "csynth": {"lut": {"factor": 1.2, "low": 1.15, "high": 1.4, "rows": 3}},
        "routed": {"lut": {"factor": 0.5, "low": 0.5, "high": 0.5, "rows": 1}},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "must have the columns design,layer"),
        ("", "must have the columns"),
        (f"{HEADER}\na,l,csynth,t,p,lut,many,3\n", "recalibration.csv:2: estimate and actual"),
        (f"{HEADER}\na,l\n", "estimate and actual must be numbers"),
    ],
)
def test_a_damaged_table(project: Path, text: str, message: str) -> None:
    (project.parent / "recalibration.csv").write_text(text)
    with pytest.raises(DesignError, match=message):
        merge(project, "tiny", _result())
    assert not (project / "metrics.json").exists()


def test_ingest_reads_a_folder(project: Path, tmp_path: Path) -> None:
    shutil.copytree(REPORTS / "vitis_hls-2020.2", tmp_path / "in" / "deep" / "down")
    assert ingest(project, tmp_path / "in").metrics["resources"]["lut"] == 10234

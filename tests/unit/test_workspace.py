"""The workspace: resuming, publishing at once, and what a failing disk leaves behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hwflow import workspace as module
from hwflow.errors import DesignError, ToolError
from hwflow.workspace import (
    PlannedFiles,
    Step,
    Workspace,
    check_project,
    package_digest,
    write_atomically,
)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def full_disk(*args: Any, **kwargs: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def finished(workspace: Workspace, content: str = "1") -> Step:
    step = workspace.step(1, "quantize", {"design": "d1", "package": "p1"})
    step.begin()
    (step.outputs / "sub").mkdir()
    (step.outputs / "a.txt").write_text(content)
    (step.outputs / "sub" / "b.txt").write_text("2")
    step.finish(1.23456)
    return step


@pytest.fixture
def area(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "hls_projects", "toy")


# --- planned files -------------------------------------------------------------------------------


def test_planned_files_are_written_at_once_and_replace_what_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "hls"
    first = PlannedFiles()
    first.add("old.txt", "old")
    first.write(folder)
    files = PlannedFiles()
    files.add("firmware/top.cpp", "int x;\n")
    files.add("run.sh", "#!/bin/sh\n")
    files.write(folder)
    assert tree(folder) == {"firmware/top.cpp": b"int x;\n", "run.sh": b"#!/bin/sh\n"}
    assert os.access(folder / "run.sh", os.X_OK)
    assert not os.access(folder / "firmware" / "top.cpp", os.X_OK)
    assert [path.name for path in folder.parent.iterdir()] == ["hls"]


def test_the_digest_of_planned_files_ignores_their_order_only() -> None:
    def digest(**files: bytes) -> str:
        planned = PlannedFiles()
        for path, content in files.items():
            planned.add(path, content)
        return planned.digest()

    assert digest(a=b"1", b=b"2") == digest(b=b"2", a=b"1")
    assert len({digest(a=b"1", b=b"2"), digest(a=b"2", b=b"1"), digest(a=b"12"), digest()}) == 4


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a//b", "./a", "a/"])
def test_paths_that_leave_the_folder_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="must be a plain relative path"):
        PlannedFiles().add(path, b"")


def test_nothing_is_planned_twice() -> None:
    files = PlannedFiles()
    files.add("a", b"1")
    with pytest.raises(ValueError, match="a is planned twice"):
        files.add("a", b"2")


def test_a_full_disk_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "hls"
    files = PlannedFiles()
    files.add("a", "1")
    files.write(folder)
    files.add("b", "2")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full_disk)
        with pytest.raises(ToolError, match="no space left on the disk while writing hls"):
            files.write(folder)
        with pytest.raises(ToolError, match="no space left on the disk while writing a"):
            write_atomically(folder / "a", b"new")
    assert tree(tmp_path) == {"hls/a": b"1"}


def test_a_really_full_device() -> None:
    with (
        pytest.raises(ToolError, match="no space left on the disk while testing"),
        module.disk_errors("testing"),
        open("/dev/full", "wb", buffering=0) as stream,
    ):
        stream.write(b"x")


def test_other_troubles_of_the_disk_are_told_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ToolError, match=r"writing x failed .*: Not a directory"):
        write_atomically(tmp_path / "file" / "x", b"")


# --- steps ---------------------------------------------------------------------------------------


def test_a_step_is_done_while_inputs_and_outputs_are_the_same(area: Workspace) -> None:
    inputs = {"package": "p1", "design": "d1"}
    with area:
        assert not area.step(1, "quantize", inputs).is_done
        assert area.step(1, "quantize", inputs).changed_inputs == ["design", "package"]
        done = finished(area)
        again = area.step(1, "quantize", inputs)
        assert again.is_done
        assert again.seconds == 1.235
        assert again.digest == done.digest
        assert again.folder == area.root / ".toy" / "01-quantize"
        other = area.step(1, "quantize", {**inputs, "design": "d2"})
        assert not other.is_done
        assert other.changed_inputs == ["design"]


@pytest.mark.parametrize("harm", ["edit", "remove", "add", "truncate", "garbage", "foreign"])
def test_a_step_whose_outputs_were_touched_is_not_done(area: Workspace, harm: str) -> None:
    with area:
        step = finished(area)
        record = step.folder / "done.json"
        if harm == "edit":
            (step.outputs / "a.txt").write_text("9")
        elif harm == "remove":
            (step.outputs / "sub" / "b.txt").unlink()
        elif harm == "add":
            (step.outputs / "c.txt").write_text("3")
        elif harm == "truncate":
            record.write_bytes(record.read_bytes()[:-9])
        elif harm == "garbage":
            record.write_bytes(b"\xff\x00")
        else:
            record.write_bytes(b"[]")
        assert not area.step(1, "quantize", step.inputs).is_done


def test_a_step_that_was_begun_and_not_finished_is_not_done(area: Workspace) -> None:
    with area:
        step = finished(area)
        digest = step.digest
        step.begin()
        assert not step.is_done
        assert tree(step.outputs) == {}
        with pytest.raises(RuntimeError, match="the step quantize is not done"):
            _ = step.digest
        changed = finished(area, content="other")
        assert changed.digest != digest


def test_a_full_disk_leaves_a_step_undone(area: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with area:
        step = finished(area)
        monkeypatch.setattr(Path, "write_bytes", full_disk)
        with pytest.raises(ToolError, match="no space left on the disk while preparing the step"):
            step.begin()
        assert not step.is_done


def test_the_package_digest_covers_sources_and_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hls").mkdir()
    (tmp_path / "workspace.py").write_text("x")
    (tmp_path / "hls" / "kernel.h").write_text("y")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "workspace.py"))
    before = package_digest()
    (tmp_path / "workspace.pyc").write_text("z")
    assert package_digest() == before
    (tmp_path / "hls" / "kernel.h").write_text("y2")
    assert package_digest() != before


# --- publishing ----------------------------------------------------------------------------------


def publish(workspace: Workspace, content: str = "1") -> dict[str, bytes]:
    step = finished(workspace, content)
    extra = PlannedFiles()
    extra.add("metrics.json", "{}")
    project = workspace.publish(
        {"model": step.outputs, "logs/quantize.txt": step.log, "top.txt": step.outputs / "a.txt"},
        extra,
    )
    return tree(project)


def test_a_project_is_published_with_its_manifest(area: Workspace) -> None:
    with area:
        files = publish(area)
    assert sorted(files) == [
        "logs/quantize.txt",
        "manifest.json",
        "metrics.json",
        "model/a.txt",
        "model/sub/b.txt",
        "top.txt",
    ]
    manifest = json.loads(files["manifest.json"])
    assert list(manifest["files"]) == sorted(set(files) - {"manifest.json"})
    assert manifest["files"]["model/a.txt"]["size"] == 1
    assert str(area.root) not in files["manifest.json"].decode()
    assert check_project(area.project) == []
    assert sorted(path.name for path in area.folder.iterdir()) == ["01-quantize", "lock"]


def test_the_same_inputs_publish_the_same_bytes(tmp_path: Path) -> None:
    trees = []
    for name in ("first", "second"):
        with Workspace(tmp_path / name, "toy") as workspace:
            trees.append(publish(workspace))
    assert trees[0] == trees[1]


def test_publishing_again_replaces_everything(area: Workspace) -> None:
    with area:
        publish(area)
        (area.project / "stray.txt").write_text("x")
        files = publish(area, content="new")
    assert files["model/a.txt"] == b"new"
    assert "stray.txt" not in files


def test_check_project_names_what_changed(area: Workspace) -> None:
    with area:
        publish(area)
    (area.project / "top.txt").unlink()
    (area.project / "metrics.json").write_text("[]")
    assert check_project(area.project) == ["metrics.json", "top.txt"]
    (area.project / "manifest.json").write_text("{")
    with pytest.raises(DesignError, match="it has no whole manifest"):
        check_project(area.project)


def test_running_a_step_again_does_not_touch_what_is_published(area: Workspace) -> None:
    with area:
        before = publish(area)
        step = finished(area, content="a later build")
        step.begin()
    assert tree(area.project) == before


def test_files_are_copied_where_links_are_impossible(
    area: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    with area:
        assert publish(area)["model/sub/b.txt"] == b"2"


@pytest.mark.parametrize("broken", ["link", "write_bytes", "rename"])
def test_a_full_disk_leaves_the_project_as_it_was(
    area: Workspace, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    with area:
        before = publish(area)
        step = finished(area, content="new")
        extra = PlannedFiles()
        extra.add("metrics.json", "{}")
        with monkeypatch.context() as patch:
            patch.setattr(os if broken == "link" else Path, broken, full_disk)
            with pytest.raises(ToolError, match="no space left on the disk"):
                area.publish({"model": step.outputs}, extra)
        assert tree(area.project) == before
        assert sorted(path.name for path in area.folder.iterdir()) == ["01-quantize", "lock"]


@pytest.mark.parametrize("at", [1, 2])
def test_an_interrupt_between_the_renames_leaves_the_project_as_it_was(
    area: Workspace, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    calls = 0
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        return rename(self, target)

    with area:
        before = publish(area)
        monkeypatch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            area.publish({"top.txt": area.project / "top.txt"}, PlannedFiles())
    assert calls >= at
    assert tree(area.project) == before


def test_a_build_that_was_killed_between_the_renames_is_mended(area: Workspace) -> None:
    with area:
        before = publish(area)
    area.project.rename(area.folder / "previous")
    (area.folder / "publish.tmp").mkdir()
    with area:
        assert tree(area.project) == before
        assert sorted(path.name for path in area.folder.iterdir()) == ["01-quantize", "lock"]
    shutil.copytree(area.project, area.folder / "previous")  # killed after both
    with area:
        assert tree(area.project) == before
        assert not (area.folder / "previous").exists()


def test_publishing_needs_the_lock(area: Workspace) -> None:
    with pytest.raises(RuntimeError, match="publish only inside"):
        area.publish({}, PlannedFiles())


# --- the lock ------------------------------------------------------------------------------------


def test_two_builds_of_one_design_do_not_meet(area: Workspace) -> None:
    with area, pytest.raises(ToolError, match=rf"being built by another .*pid {os.getpid()}"):
        Workspace(area.root, "toy").__enter__()
    with Workspace(area.root, "toy"), Workspace(area.root, "other"):
        pass


def test_the_lock_of_a_build_that_died_is_free(area: Workspace) -> None:
    script = (
        "import os, sys; from pathlib import Path; from hwflow.workspace import Workspace; "
        "Workspace(Path(sys.argv[1]), 'toy').__enter__(); os.kill(os.getpid(), 9)"
    )
    died = subprocess.run([sys.executable, "-c", script, str(area.root)], check=False)
    assert died.returncode == -9
    assert (area.folder / "lock").read_text().strip().isdigit()
    with area:
        assert (area.folder / "lock").read_text() == f"{os.getpid()}\n"


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "hls_projects").write_text("a file")
    with pytest.raises(ToolError, match=r"opening \.toy failed .*: Not a directory"):
        Workspace(tmp_path / "hls_projects", "toy").__enter__()

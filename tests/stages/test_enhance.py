"""Enhancing as a user meets it: soft faces change, everything else stays, nothing is lost, it goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import disks
from made_faces import make_labelled_meta
from onnx_files import node, save_onnx
from small_faces import face_files
from understudy.errors import (
    Busy,
    DiskFull,
    EmptyFaceset,
    FacesetError,
    IncompatibleModel,
    Interrupted,
    InvalidOption,
    UsageError,
)
from understudy.facesets import Catalog, changes, decode_jpeg, encode_jpeg, metadata, read_face, write_face
from understudy.facesets.packs import write_pack
from understudy.records import FaceType, PrecisionChoice, Side
from understudy.report import Event, Note, Progress
from understudy.stages.enhance import enhance
from understudy.stages.enhance_choice import LEAST_SHARP
from understudy.stages.enhance_journal import EnhanceJournal
from understudy.stages.enhance_options import EnhanceOptions
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.workspace import Workspace

QUICK = EnhanceOptions(iterations=2, vouched=False, precision=PrecisionChoice.FP32, device="cpu", workers=1, threads=1)
"""Too little to learn anything: what is tested is everything around it."""

SHARP, SOFT = 30, 5


def blurred(jpeg: bytes) -> bytes:
    return encode_jpeg(np.asarray(cv2.GaussianBlur(decode_jpeg(jpeg), (0, 0), 1.6), np.uint8), 95)


def fill(aligned: Path, *, soft: int = SOFT, sharp: int = SHARP) -> None:
    """Faces of one person, the first ones soft; the softest has everything that a face file can hold."""
    aligned.mkdir(parents=True, exist_ok=True)
    for index, (name, jpeg, meta) in enumerate(face_files(Side.SRC, SHARP + SOFT)[: soft + sharp]):
        if index == 0:
            full = make_labelled_meta()
            meta = meta.but(xseg_mask=full.xseg_mask, polygons=full.polygons, extra=full.extra)
        write_face(aligned / name, blurred(jpeg) if index < soft else jpeg, meta)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what was learned, so that not every test has to learn it."""
    workspace = Workspace.create(tmp_path_factory.mktemp("school") / "shot")
    fill(workspace.src.aligned)
    enhance(workspace, Side.SRC, QUICK)
    return workspace.private / "enhance" / "src" / "checkpoints"


@pytest.fixture
def untaught(tmp_path: Path) -> Workspace:
    workspace = Workspace.create(tmp_path / "shot")
    fill(workspace.src.aligned)
    return workspace


@pytest.fixture
def workspace(untaught: Workspace, school: Path) -> Workspace:
    """A workspace with soft and sharp faces, in which a restorer has been learned."""
    shutil.copytree(school, untaught.private / "enhance" / "src" / "checkpoints")
    return untaught


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names(folder)}


def soft_names() -> list[str]:
    return [name for name, _, _ in face_files(Side.SRC, SHARP + SOFT)[:SOFT]]


def enhanced_folder(workspace: Workspace) -> Path:
    return workspace.src.frames / "aligned_enhanced"


def stop_at(step: str, done: int = 1) -> tuple[Callable[[Event], None], Callable[[], bool]]:
    """A report and a stop that turns true when a step has come so far."""
    seen = False

    def report(event: Event) -> None:
        nonlocal seen
        seen = seen or (isinstance(event, Progress) and event.step == step and event.done >= done)

    return report, lambda: seen


def test_soft_faces_are_enhanced_and_the_folder_is_a_whole_faceset(workspace: Workspace) -> None:
    before = contents(workspace.src.aligned)
    result = enhance(workspace, Side.SRC, QUICK)
    assert result.notes["enhanced"] == SOFT
    assert contents(workspace.src.aligned) == before
    after = contents(enhanced_folder(workspace))
    assert list(after) == list(before)
    changed = [name for name in before if after[name] != before[name]]
    assert changed == soft_names()
    sheet = result.outputs[1]
    with Image.open(sheet) as picture:
        assert picture.width > 1000


def test_data_size_masks_and_outlines_stay(workspace: Workspace) -> None:
    enhance(workspace, Side.SRC, QUICK)
    for name in soft_names():
        before, after = read_face(workspace.src.aligned / name), read_face(enhanced_folder(workspace) / name)
        assert metadata.to_payload(after.meta) == metadata.to_payload(before.meta)
        assert after.rgb8.shape == before.rgb8.shape
        assert np.abs(after.rgb8.astype(int) - before.rgb8).mean() < 20


def test_a_restorer_is_used_again_unless_fresh(workspace: Workspace) -> None:
    store = CheckpointStore(workspace.private / "enhance" / "src")
    assert store.newest_iteration() == QUICK.iterations
    events: list[Event] = []
    enhance(workspace, Side.SRC, QUICK.but(iterations=5), report=events.append)
    assert store.newest_iteration() == 2
    assert any("restorer of 2 iterations" in event.message for event in events if isinstance(event, Note))
    enhance(workspace, Side.SRC, QUICK.but(iterations=3, fresh=True))
    assert store.newest_iteration() == 3
    assert list((workspace.private / "trash").rglob("*.safetensors"))  # the one before is not lost


def test_stopped_while_learning_it_goes_on(untaught: Workspace, uninterrupted: Workspace) -> None:
    report, stop = stop_at("Learning sharp faces", 5)
    with pytest.raises(Interrupted):
        enhance(untaught, Side.SRC, SHORT, report=report, stop=stop)
    assert CheckpointStore(untaught.private / "enhance" / "src").newest_iteration() == 5
    enhance(untaught, Side.SRC, SHORT)
    assert contents(untaught.src.aligned) == contents(uninterrupted.src.aligned)


def test_stopped_while_enhancing_it_does_only_the_rest(workspace: Workspace) -> None:
    report, stop = stop_at("Enhancing", 2)
    with pytest.raises(Interrupted):
        enhance(workspace, Side.SRC, QUICK, report=report, stop=stop)
    made = {name: (enhanced_folder(workspace) / name).stat().st_mtime_ns for name in names(enhanced_folder(workspace))}
    assert 0 < len(made) < SOFT + SHARP
    done = EnhanceJournal.read(workspace.private / "enhance" / "src" / "enhanced.jsonl").done
    assert len(done) >= 2
    result = enhance(workspace, Side.SRC, QUICK)
    assert result.notes["enhanced"] == SOFT
    assert all((enhanced_folder(workspace) / name).stat().st_mtime_ns == made[name] for name in done)


def test_run_again_nothing_is_done_twice(workspace: Workspace) -> None:
    enhance(workspace, Side.SRC, QUICK)
    before = {path: path.stat().st_mtime_ns for path in enhanced_folder(workspace).iterdir()}
    result = enhance(workspace, Side.SRC, QUICK)
    assert result.notes["enhanced"] == SOFT
    assert {path: path.stat().st_mtime_ns for path in enhanced_folder(workspace).iterdir()} == before


def test_with_other_settings_the_earlier_faces_move_to_the_trash(workspace: Workspace) -> None:
    enhance(workspace, Side.SRC, QUICK)
    before = contents(enhanced_folder(workspace))
    enhance(workspace, Side.SRC, QUICK.but(strength=0.5))
    (kept,) = (workspace.private / "trash").rglob("aligned_enhanced")
    assert contents(kept) == before
    assert names(enhanced_folder(workspace)) == list(before)


def test_what_another_program_put_there_is_not_lost(workspace: Workspace) -> None:
    enhanced_folder(workspace).mkdir()
    (enhanced_folder(workspace) / "mine.jpg").write_bytes(b"mine")
    enhance(workspace, Side.SRC, QUICK)
    (kept,) = (workspace.private / "trash").rglob("mine.jpg")
    assert kept.read_bytes() == b"mine"


def test_replacing_can_be_undone(workspace: Workspace) -> None:
    before = contents(workspace.src.aligned)
    result = enhance(workspace, Side.SRC, QUICK.but(replace=True))
    after = contents(workspace.src.aligned)
    assert list(after) == list(before)
    assert [name for name in before if after[name] != before[name]] == soft_names()
    assert contents(workspace.src.frames / "aligned_trash") == {name: before[name] for name in soft_names()}
    assert not enhanced_folder(workspace).exists()
    assert result.outputs[0] == workspace.src.aligned
    with Catalog.open(workspace.src.aligned, cache=workspace.catalogs) as catalog:
        assert len(catalog) == SHARP + SOFT
    changes.undo_last(workspace.changes(Side.SRC))
    assert contents(workspace.src.aligned) == before


def test_a_face_is_not_enhanced_twice(workspace: Workspace) -> None:
    """Even under another name, since sorting renames."""
    enhance(workspace, Side.SRC, QUICK.but(replace=True))
    first = soft_names()[0]
    (workspace.src.aligned / first).rename(workspace.src.aligned / "renamed.jpg")
    before = contents(workspace.src.aligned)
    result = enhance(workspace, Side.SRC, QUICK.but(replace=True))
    assert result.notes["enhanced"] == 0
    assert result.notes["enhanced_before"] == SOFT
    assert contents(workspace.src.aligned) == before


def test_where_no_face_is_soft_there_is_nothing_to_do(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "shot")
    fill(workspace.src.aligned, soft=0)
    events: list[Event] = []
    result = enhance(workspace, Side.SRC, QUICK.but(soft_below=0.2), report=events.append)
    assert result.notes["enhanced"] == 0
    assert result.outputs == []
    assert any("nothing to enhance" in event.message for event in events if isinstance(event, Note))


def test_all_takes_every_face(workspace: Workspace) -> None:
    assert enhance(workspace, Side.SRC, QUICK.but(all=True)).notes["enhanced"] == SHARP + SOFT


def test_what_nothing_vouches_for_is_left_as_it_was(workspace: Workspace) -> None:
    """Two iterations teach nothing, and held-out faces say so."""
    before = contents(workspace.src.aligned)
    result = enhance(workspace, Side.SRC, QUICK.but(vouched=True))
    (facts,) = result.notes["restorers"]
    assert facts["gain_db"] >= 0
    if facts["gain_db"] == 0:
        assert result.notes["left"] == SOFT
        assert contents(enhanced_folder(workspace)) == before


def test_too_few_sharp_faces_say_how_many_it_takes(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "shot")
    fill(workspace.src.aligned, sharp=8)
    with pytest.raises(FacesetError, match=f"at least {LEAST_SHARP}") as caught:
        enhance(workspace, Side.SRC, QUICK)
    assert caught.value.context["needed"] == LEAST_SHARP
    assert "--model" in caught.value.hint


def test_an_empty_or_missing_faceset_is_an_error(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "shot")
    with pytest.raises(EmptyFaceset):
        enhance(workspace, Side.SRC, QUICK)
    shutil.rmtree(workspace.src.aligned)
    with pytest.raises(EmptyFaceset):
        enhance(workspace, Side.SRC, QUICK)


def test_pictures_that_are_no_faces_are_named(workspace: Workspace) -> None:
    (workspace.src.aligned / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    result = enhance(workspace, Side.SRC, QUICK)
    assert [item.item for item in result.skipped] == ["broken.jpg"]


def test_faces_of_another_type_or_shape_are_left_and_named(workspace: Workspace) -> None:
    _, jpeg, meta = face_files(Side.SRC, SHARP + SOFT)[0]
    write_face(workspace.src.aligned / "90000_0.jpg", blurred(jpeg), meta.but(face_type=FaceType.HEAD))
    wide = encode_jpeg(np.zeros((32, 64, 3), np.uint8), 90)
    write_face(workspace.src.aligned / "90001_0.jpg", wide, meta)
    result = enhance(workspace, Side.SRC, QUICK)
    assert {item.item for item in result.skipped} == {"90000_0.jpg", "90001_0.jpg"}
    assert {"90000_0.jpg", "90001_0.jpg"} <= set(names(enhanced_folder(workspace)))


def test_faces_of_mixed_sizes_keep_theirs(workspace: Workspace) -> None:
    _, jpeg, meta = face_files(Side.SRC, SHARP + SOFT)[0]
    small = np.asarray(cv2.resize(decode_jpeg(blurred(jpeg)), (48, 48), interpolation=cv2.INTER_AREA), np.uint8)
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), 3.0), np.uint8)
    write_face(workspace.src.aligned / "90000_0.jpg", encode_jpeg(small, 95), meta)
    result = enhance(workspace, Side.SRC, QUICK)
    assert result.notes["enhanced"] == SOFT + 1
    assert read_face(enhanced_folder(workspace) / "90000_0.jpg").width == 48


def test_several_people_have_a_restorer_each(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "shot")
    for person in ("ann", "bob"):
        fill(workspace.src.aligned / person)
    before = contents(workspace.src.aligned)
    result = enhance(workspace, Side.SRC, QUICK)
    assert [facts["person"] for facts in result.notes["restorers"]] == ["ann", "bob"]
    assert result.notes["enhanced"] == 2 * SOFT
    assert names(enhanced_folder(workspace)) == list(before)


def test_packed_faces_are_enhanced_beside_the_pack_but_not_replaced(workspace: Workspace) -> None:
    with Catalog.open(workspace.src.aligned) as catalog:
        write_pack(workspace.src.aligned, catalog.faces())
    before = names(workspace.src.aligned)
    for path in workspace.src.aligned.glob("*.jpg"):
        path.unlink()
    with pytest.raises(UsageError, match="packed") as caught:
        enhance(workspace, Side.SRC, QUICK.but(replace=True))
    assert "unpack" in caught.value.hint
    assert enhance(workspace, Side.SRC, QUICK).notes["enhanced"] == SOFT
    assert names(enhanced_folder(workspace)) == before


def test_two_at_once_are_refused(untaught: Workspace) -> None:
    with untaught.writing("aligned-src"), pytest.raises(Busy):
        enhance(untaught, Side.SRC, QUICK)


def test_a_full_disk_ends_it_clearly_and_it_goes_on_afterwards() -> None:
    with disks.small_disk(mib=24) as disk:
        workspace = Workspace.create(disk / "shot")
        fill(workspace.src.aligned)
        ballast = None

        def report(event: Event) -> None:
            nonlocal ballast
            if isinstance(event, Progress) and event.step == "Learning sharp faces" and ballast is None:
                ballast = disks.fill(disk)

        with pytest.raises(DiskFull):
            enhance(workspace, Side.SRC, QUICK.but(iterations=8), report=report)
        assert ballast is not None
        assert len(names(workspace.src.aligned)) == SHARP + SOFT
        ballast.unlink()
        assert enhance(workspace, Side.SRC, QUICK.but(iterations=2)).notes["enhanced"] == SOFT


@pytest.mark.skipif(not hasattr(os, "setuid") or os.getuid() != 0, reason="needs root to become an ordinary user")
def test_a_read_only_workspace_is_a_clear_error(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "shot")
    fill(workspace.src.aligned)
    shutil.rmtree(workspace.private)
    code = (
        "import os, sys; os.setuid(65534)\n"
        "from pathlib import Path\n"
        "from understudy.errors import ReadOnlyWorkspace\n"
        "from understudy.stages.enhance import enhance\n"
        "from understudy.workspace import Workspace\n"
        "try: enhance(Workspace.open(Path(sys.argv[1])), 'src')\n"
        "except ReadOnlyWorkspace: print('read-only')\n"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path(folder.anchor) or folder.stat().st_mode & 0o005:
            continue
        pytest.skip(f"an ordinary user cannot reach {tmp_path}")
    done = subprocess.run(
        [sys.executable, "-c", code, str(workspace.root)], capture_output=True, text=True, check=False
    )
    assert "read-only" in done.stdout, done.stderr


KILLED = """
import os, signal, sys
from pathlib import Path
from understudy.report import Progress
from understudy.stages.enhance import enhance
from understudy.stages.enhance_options import EnhanceOptions
from understudy.training.enhancing import restoring
from understudy.workspace import Workspace

restoring.SAVE_SECS = 0.0
step, done = sys.argv[3], int(sys.argv[4])

def report(event):
    if isinstance(event, Progress) and event.step == step and event.done >= done:
        os.kill(os.getpid(), signal.SIGKILL)

enhance(Workspace.open(Path(sys.argv[1])), "src", EnhanceOptions.model_validate_json(sys.argv[2]), report=report)
"""


SHORT = QUICK.but(iterations=6, replace=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace after a run with SHORT that nothing disturbed."""
    workspace = Workspace.create(tmp_path_factory.mktemp("uninterrupted") / "shot")
    fill(workspace.src.aligned)
    enhance(workspace, Side.SRC, SHORT)
    return workspace


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
@pytest.mark.parametrize(("step", "done"), [("Learning sharp faces", 5), ("Enhancing", 3), ("Renaming", 4)])
def test_killed_at_any_step_it_ends_as_if_nothing_had_happened(
    untaught: Workspace, uninterrupted: Workspace, step: str, done: int
) -> None:
    if step != "Learning sharp faces":  # learned already
        learned = Path("enhance", "src", "checkpoints")
        shutil.copytree(uninterrupted.private / learned, untaught.private / learned)
    before = contents(untaught.src.aligned)
    command = [sys.executable, "-c", KILLED, str(untaught.root), SHORT.model_dump_json(), step, str(done)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    enhance(untaught, Side.SRC, SHORT)
    assert contents(untaught.src.aligned) == contents(uninterrupted.src.aligned)
    assert contents(untaught.src.frames / "aligned_trash") == {name: before[name] for name in soft_names()}


def sharpener(path: Path, gain: float = 1.0) -> Path:
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        kernel[channel, channel] = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]]) * 0.4 * gain
        kernel[channel, channel, 1, 1] += gain
    work = node("Conv", ["picture", "w"], ["out"], pads=[1, 1, 1, 1])
    return save_onnx(path, size="side", nodes=[work], weights={"w": kernel}, outputs={"out": (1, 3, "side", "side")})


def test_an_onnx_file_takes_the_place_of_a_learned_restorer(untaught: Workspace, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = sharpener(tmp_path / "sharpen.onnx")
    result = enhance(untaught, Side.SRC, QUICK.but(model=model))
    assert result.notes["enhanced"] == SOFT
    assert CheckpointStore(untaught.private / "enhance" / "src").newest_iteration() is None
    for name in soft_names():
        before, after = read_face(untaught.src.aligned / name), read_face(enhanced_folder(untaught) / name)
        assert after.rgb8.astype(float).std() > before.rgb8.astype(float).std()


def test_an_onnx_file_is_measured_too(workspace: Workspace, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    result = enhance(workspace, Side.SRC, QUICK.but(model=sharpener(tmp_path / "sharpen.onnx"), vouched=True))
    (facts,) = result.notes["restorers"]
    assert facts["model"] == "sharpen.onnx"
    assert facts["gain_db"] >= 0


def test_an_onnx_file_with_other_values_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(IncompatibleModel, match="another picture"):
        enhance(workspace, Side.SRC, QUICK.but(model=sharpener(tmp_path / "dark.onnx", gain=0.2)))
    with pytest.raises(InvalidOption, match="there is no file"):
        QUICK.but(model=tmp_path / "none.onnx")


def test_a_journal_that_makes_no_sense_costs_only_work(workspace: Workspace) -> None:
    enhance(workspace, Side.SRC, QUICK)
    path = workspace.private / "enhance" / "src" / "enhanced.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "junk", json.dumps({"key": 3}), *lines[1:3], lines[3][:10]]))
    assert EnhanceJournal.read(path).settings
    assert enhance(workspace, Side.SRC, QUICK).notes["enhanced"] == SOFT


def test_a_face_of_one_pixel_is_named_and_left_alone(workspace: Workspace) -> None:
    path = workspace.src.aligned / "00099_0.jpg"
    write_face(path, encode_jpeg(np.zeros((1, 1, 3), np.uint8), 90), face_files(Side.SRC, 1)[0][2])
    before = path.read_bytes()
    result = enhance(workspace, Side.SRC, QUICK.but(replace=True))
    assert ["1 x 1" in item.reason for item in result.skipped if item.item == path.name] == [True]
    assert path.read_bytes() == before

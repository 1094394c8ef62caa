"""The seven commands as library calls over a tiny synthetic shot: it comes out swapped, in time and with its sound."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from shots import small_shot
from understudy.compositing.options import MaskMode, MergeOptions
from understudy.demo.footage import Performer
from understudy.detection.options import ExtractOptions
from understudy.facesets import Catalog, FaceMeta
from understudy.geometry import affine
from understudy.media.options import EncodeOptions, FramesOptions
from understudy.records import FaceType, PrecisionChoice, Side
from understudy.stages.encode import encode
from understudy.stages.extract import extract
from understudy.stages.extract_frames import extract_frames
from understudy.stages.init import init
from understudy.stages.merge import merge
from understudy.stages.train import train
from understudy.training.options import TrainOptions
from understudy.workspace import Workspace

FRAMES = 8
TRAINING = TrainOptions(target_iter=2, batch_size=1, preview_every=0, precision=PrecisionChoice.FP32)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace after all seven commands."""
    folder = tmp_path_factory.mktemp("pipeline") / "shot"
    init(folder)
    small_shot(Performer.ADMIRAL, frames=FRAMES).write_video(folder / "data_src.mp4")
    small_shot(Performer.ASTRONAUT, frames=FRAMES).write_video(folder / "data_dst.mp4")
    workspace = Workspace.open(folder)
    extract_frames(workspace, Side.SRC, FramesOptions(fps=12.5))
    extract_frames(workspace, Side.DST, FramesOptions())
    extract(workspace, Side.SRC, ExtractOptions(face_type=FaceType.WHOLE_FACE))
    extract(workspace, Side.DST, ExtractOptions())
    train(workspace, "hello", TRAINING)
    merge(workspace, "hello", MergeOptions(mask_mode=MaskMode.DST, erode_mask_modifier=10, blur_mask_modifier=30))
    encode(workspace, EncodeOptions())
    return workspace


def video_times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def metas_of(workspace: Workspace) -> list[FaceMeta]:
    """The data of the dst faces, in frame order."""
    with Catalog.open(workspace.dst.aligned) as catalog:
        return sorted((face.meta for face in catalog.faces()), key=lambda meta: str(meta.source_filename))


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_the_result_has_the_frames_times_and_sound_of_dst(done: Workspace) -> None:
    dst, result = done.root / "data_dst.mp4", done.root / "result.mp4"
    assert len(video_times(result)) == FRAMES
    np.testing.assert_allclose(video_times(result), video_times(dst), atol=1e-6)
    assert sound_packets(result) == sound_packets(dst)


def test_src_is_thinned_out_and_numbered_from_one(done: Workspace) -> None:
    assert len(done.src.frame_files()) == FRAMES // 2
    assert [path.name for path in done.dst.frame_files()] == [f"{index + 1:05d}.png" for index in range(FRAMES)]


def test_every_frame_has_one_face_with_the_landmarks_of_the_truth(done: Workspace) -> None:
    truth = small_shot(Performer.ASTRONAUT, frames=FRAMES).truth
    metas = metas_of(done)
    assert len(metas) == FRAMES
    for index, meta in enumerate(metas):
        assert meta.source_filename == f"{index + 1:05d}.png"
        errors = np.linalg.norm(np.asarray(meta.source_landmarks)[17:] - truth.landmarks[index][17:], axis=1)
        eyes = truth.landmarks[index][36:48]
        assert errors.mean() < 0.12 * np.linalg.norm(eyes[:6].mean(0) - eyes[6:].mean(0))
        back = affine.apply(affine.invert(meta.image_to_face_mat), meta.landmarks)
        np.testing.assert_allclose(back, meta.source_landmarks, atol=1e-3)


def test_merged_frames_differ_from_the_plate_only_inside_the_mask(done: Workspace) -> None:
    for index in range(FRAMES):
        name = f"{index + 1:05d}.png"
        plate, merged, mask = (
            np.array(Image.open(folder / name)) for folder in (done.dst.frames, done.merged, done.merged_mask)
        )
        mask = mask if mask.ndim == 2 else mask[..., 0]
        np.testing.assert_array_equal(merged[mask == 0], plate[mask == 0])
        assert np.abs(merged[mask > 200].astype(int) - plate[mask > 200]).mean() > 3
        assert 0.02 < (mask > 0).mean() < 0.5


def test_the_same_commands_again_have_nothing_to_do(done: Workspace) -> None:
    def stamps() -> dict[Path, int]:
        folders = (done.dst.frames, done.dst.aligned, done.merged)
        pictures = (path for folder in folders for path in folder.iterdir() if path.suffix in (".png", ".jpg"))
        return {path: path.stat().st_mtime_ns for path in pictures}

    before = stamps()
    extract_frames(done, Side.DST, FramesOptions())
    extract(done, Side.DST, ExtractOptions())
    again = train(done, "hello", TRAINING)
    merge(done, "hello", MergeOptions(mask_mode=MaskMode.DST, erode_mask_modifier=10, blur_mask_modifier=30))
    assert again.notes["iteration"] == TRAINING.target_iter
    assert stamps() == before


def test_dst_can_stay_a_video(done: Workspace, tmp_path: Path) -> None:
    """Extraction and merging read data_dst.mp4 itself, and its faces are the ones that the frames gave."""
    workspace = Workspace.create(tmp_path / "video-only")
    (workspace.root / "data_dst.mp4").write_bytes((done.root / "data_dst.mp4").read_bytes())
    result = extract(workspace, Side.DST, ExtractOptions())
    assert (result.frames, result.faces) == (FRAMES, FRAMES)
    for meta, other in zip(metas_of(workspace), metas_of(done), strict=True):
        assert meta.source_filename == other.source_filename
        np.testing.assert_allclose(meta.source_landmarks, other.source_landmarks, atol=0.5)

"""What every way of merging shares: the faces of each frame, and one frame rendered with them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from understudy.compositing.compose import Landmarks, Predict
from understudy.compositing.options import MergeOptions
from understudy.compositing.render import RenderedFrame, Swapper, render_frame
from understudy.errors import UnreadableFace
from understudy.facesets import Catalog, FaceEntry
from understudy.imaging.types import Image, Mask
from understudy.media import FootageInfo, Frame, FrameSource
from understudy.records import Skipped
from understudy.report import Report, Stop
from understudy.stages.merge_model import Model
from understudy.workspace import Workspace

FAILURES = (ValueError, np.linalg.LinAlgError, cv2.error)
"""What a face or a frame out of the ordinary may raise; anything else is a bug or a broken machine and ends the run."""


class DstFaces:
    """The landmarks of every dst frame, fetched as they are needed. skipped: files that are no usable faces."""

    def __init__(self, catalog: Catalog) -> None:
        catalog.require_faces()
        self.skipped = catalog.skipped
        self._by_frame: dict[str, list[FaceEntry]] = catalog.by_frame()

    def of(self, frame_name: str) -> list[Landmarks]:
        """Landmarks (68, 2) in frame pixels of the faces cut from this frame, in order of their file names."""
        found = (entry.meta.source_landmarks for entry in self._by_frame.get(Path(frame_name).stem, ()))
        return [landmarks for landmarks in found if landmarks is not None]


@dataclass(frozen=True, eq=False)
class MergeJob:
    """Everything that one run reads from, and how it speaks."""

    workspace: Workspace
    faces: DstFaces
    model: Model
    predict: Predict
    report: Report
    stop: Stop

    @property
    def options(self) -> MergeOptions:
        return self.model.options

    def render(self, frame: Frame) -> tuple[RenderedFrame, int, str]:
        """The frame with its faces redrawn, how many they are, and what went wrong; then the frame is left original."""
        landmarks = self.faces.of(frame.name)
        swapper = Swapper(self.predict, self.model.predictor.size, self.model.face_type)
        try:
            return render_frame(frame, landmarks, swapper, self.options), len(landmarks), ""
        except FAILURES as error:
            return RenderedFrame.untouched(frame), 0, f"left original: {error}"

    def key_of(self, footage: FrameSource, frame_name: str) -> str:
        """A hash of everything that the picture of this frame is made from."""
        faces = [hashlib.sha256(np.ascontiguousarray(face).tobytes()).hexdigest() for face in self.faces.of(frame_name)]
        made_from = [self.model.identity, _source_identity(footage, frame_name), faces]
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:32]

    def settings(self, footage: FootageInfo) -> dict[str, Any]:
        """What is saved beside the result: enough to make it again."""
        return {
            "schema": "understudy-merge-options/1",
            "model": self.model.name,
            "iteration": self.model.predictor.iteration,
            "footage": footage.path.name,
            "options": self.options.model_dump(mode="json"),
        }

    @property
    def workers(self) -> int:
        """Threads that lay faces over frames."""
        return self.options.workers or os.cpu_count() or 1

    def ahead(self, info: FootageInfo) -> int:
        """Frames under way at once: enough to keep the workers busy, within a quarter of the free memory."""
        bytes_each = max(1, info.width * info.height) * (40 if info.bit_depth > 8 else 24)
        return max(1, min(2 * self.workers, int(psutil.virtual_memory().available) // 4 // bytes_each))


@contextlib.contextmanager
def in_own_thread(model: Model) -> Iterator[Predict]:
    """The model as a function of one face that any thread may call; the network itself runs in one thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="predictor") as thread:

        def run(crop: Image) -> tuple[Image, Mask, Mask]:
            return model.predictor.predict(crop, model.morph)

        yield lambda crop: thread.submit(run, crop).result()


def until(frames: Iterator[Frame], stop: Stop) -> Iterator[Frame]:
    """The frames up to the moment when `stop()` turns true."""
    for frame in frames:
        if stop():
            return
        yield frame


def require_some_done(failed: Sequence[Skipped], with_faces: int) -> None:
    """Raise UnreadableFace when every frame that has faces was left original. with_faces: frames that were not."""
    if failed and not with_faces:
        raise UnreadableFace(
            f"None of the {len(failed)} frames with faces could be merged: {failed[0].reason}",
            hint="Find the faces again: understudy faceset extract dst --replace",
        )


def _source_identity(footage: FrameSource, frame_name: str) -> list[str | int]:
    """What tells this frame's source from another of the same name: file name, size and time of change."""
    path = footage.info.path
    file = path / frame_name if path.is_dir() else path
    try:
        facts = file.stat()
    except OSError:
        return [frame_name]
    return [file.name, frame_name, facts.st_size, facts.st_mtime_ns]

"""What a restorer gains on held-out faces, how that grows with the minutes, and how many faces a second it enhances.

Real clips, faces at 512 px of type wf. The last fifth of each clip, no frame of which is near one that is learned from,
is made soft by recipes that were drawn blindly: at random from all defects, as when a faceset's own soft faces are not
measured. Lanczos is the soft face itself, since that is an enlarged small one.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.detection.options import ExtractOptions
from understudy.devices import best_device
from understudy.errors import MissingFootage
from understudy.facesets import Catalog
from understudy.records import Side
from understudy.report import Event, Metrics
from understudy.stages.extract import extract
from understudy.training.enhancing.degrading import sharpness
from understudy.training.enhancing.restoring import Budget, Lessons, Setup, TrainedRestorer, train_restorer
from understudy.training.learning.precision import choose
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.workspace import Workspace

CLIPS = ("man_b_talking_360x288.mp4", "man_a_turns_540x960.mp4")
MINUTES, QUICK_MINUTES = 8.0, 0.5
LEARNED, HELD_OUT = 100, 24


def run(quick: bool) -> dict[str, Any]:
    """By clip: dB over Lanczos by the minute, the verdict, and faces per second of applying."""
    media = Path(os.environ.get("UNDERSTUDY_MEDIA", Path(__file__).resolve().parents[2] / "shared" / "media"))
    clips = [media / "clips" / name for name in CLIPS]
    there = [clip for clip in clips if clip.is_file()]
    if not there:
        raise MissingFootage(f"No clips in {media / 'clips'}.", hint="Set UNDERSTUDY_MEDIA to the folder of footage.")
    minutes = QUICK_MINUTES if quick else MINUTES
    return {clip.stem: _clip(clip, minutes) for clip in there}


def _clip(clip: Path, minutes: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        faces = _faces(clip, Path(folder) / "shot")
        learned, held_out = (
            _sharpest(faces[: len(faces) * 3 // 4], LEARNED),
            _sharpest(faces[len(faces) * 4 // 5 :], HELD_OUT),
        )
        lessons = Lessons(learned, held_out, np.zeros((0, 4)))
        return _measure(lessons, minutes, Path(folder) / "restorer")


def _measure(lessons: Lessons, minutes: float, folder: Path) -> dict[str, Any]:
    growth: dict[str, float] = {}
    started = time.perf_counter()

    def note(event: Event) -> None:
        if isinstance(event, Metrics):
            growth[f"{(time.perf_counter() - started) / 60:.1f} min"] = round(event.values["gain_db"], 2)

    device = best_device()
    precision = choose(device.id)
    trained = train_restorer(
        CheckpointStore(folder),
        lessons,
        Budget(minutes),
        precision,
        device.torch,
        setup=Setup(evaluate_secs=60 * minutes / 8),
        report=note,
    )
    assert trained is not None
    assert trained.verdict is not None
    soft, restored = trained.verdict.soft, trained.verdict.restored
    return {
        "faces learned from": len(lessons.sharp),
        "arithmetic": precision.dtype,
        "iterations": trained.iteration,
        "iterations per second": trained.iteration / trained.seconds,
        "gain over Lanczos while learning, dB": growth,
        "PSNR Lanczos": soft.psnr,
        "PSNR restored": restored.psnr,
        "SSIM Lanczos": soft.ssim,
        "SSIM restored": restored.ssim,
        "gradients Lanczos": soft.gradients,
        "gradients restored": restored.gradients,
        "strength by softness": ", ".join(f"{value:g}" for value in trained.trust.strength),
        "faces per second of applying": _rate(trained, lessons.held_out),
    }


def _rate(trained: TrainedRestorer, faces: NDArray[np.uint8]) -> float:
    trained(faces[0])
    start = time.perf_counter()
    for face in faces[:8]:
        trained(face)
    return 8 / (time.perf_counter() - start)


def _faces(clip: Path, root: Path) -> NDArray[np.uint8]:
    """At most 400 faces of a clip in frame order, (N,512,512,3)."""
    workspace = Workspace.create(root)
    (root / f"data_src{clip.suffix}").symlink_to(clip)
    extract(workspace, Side.SRC, ExtractOptions(max_faces=1))
    with Catalog.open(workspace.src.aligned, cache=workspace.catalogs) as catalog:
        entries = sorted(catalog.faces(), key=lambda entry: entry.frame or "")
    return np.stack([entry.read().rgb8 for entry in entries[:: max(1, len(entries) // 400)]])


def _sharpest(faces: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    order = np.argsort([-sharpness(face) for face in faces])[:count]
    return faces[np.sort(order)]


if __name__ == "__main__":
    print(run(quick=True))

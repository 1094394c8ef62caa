"""How fast a faceset is sorted: by similar colours as a whole, every other order per core, and how that grows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from understudy.curation.chains import nearest_chain
from understudy.curation.histograms import in_parts
from understudy.curation.sort_options import SortBy, SortOptions
from understudy.curation.sorting import METHODS
from understudy.demo.footage import Performer, draw_shot
from understudy.facesets import Catalog, FaceMeta, encode_jpeg
from understudy.facesets.container import replace_payload
from understudy.facesets.metadata import to_payload
from understudy.geometry import transform
from understudy.geometry.affine import apply
from understudy.records import FaceType, Rect, Side
from understudy.stages.sort import sort
from understudy.stages.undo import undo
from understudy.workspace import Workspace

SIZE, QUALITY = 512, 90
WHOLE = (SortBy.HIST_DISSIM, SortBy.ABSDIFF, SortBy.HIST, SortBy.IDENTITY, SortBy.DISTANCE)
"""Orders whose time grows with the square of the faces, measured by a run over all of them instead of per core."""


def run(quick: bool) -> dict[str, Any]:
    """Seconds of hist over all faces, renaming included; faces per second and core of the others; growth of hist."""
    count = 1_000 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(Path(folder))
        make_faces(workspace.src.aligned, count)
        make_faces(workspace.dst.aligned, 200)
        for side in Side:
            Catalog.open(workspace.side(side).aligned, cache=workspace.catalogs).close()
        figures: dict[str, Any] = {"faces": count, "pixels": SIZE}
        figures |= {"bytes_per_face": _mean_size(workspace.src.aligned)}
        figures |= _timed("hist", lambda: sort(workspace, Side.SRC, SortOptions(by=SortBy.HIST)))
        figures |= _timed("undo", lambda: undo(workspace, Side.SRC))
        few = Workspace.create(Path(folder, "few"))
        make_faces(few.src.aligned, 100 if quick else 300)
        figures["faces_per_second_and_core"] = {str(by): _per_core(few, by) for by in METHODS if by not in WHOLE}
        for by in (SortBy.HIST_DISSIM, SortBy.IDENTITY):
            options = SortOptions(by=by, as_list=True)
            figures |= _timed(str(by), lambda options=options: sort(workspace, Side.SRC, options))  # type: ignore[misc]
        options = SortOptions(by=SortBy.ABSDIFF, as_list=True)
        figures |= _timed(f"absdiff_of_{100 if quick else 300}", lambda: sort(few, Side.SRC, options))
    figures["hist_chain_alone"] = {str(n): _chain(n) for n in ((2_000,) if quick else (5_000, 10_000, 20_000, 50_000))}
    return figures


def make_faces(folder: Path, count: int) -> None:
    """Faces of two people in shots of 50, each with light, blur and grain of its own: no two files are alike."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    bases = list(_bases(40))
    for index in range(count):
        picture, landmarks, frame = bases[index % len(bases)]
        light, turn = 0.7 + 0.5 * ((index // 50) % 7) / 7, index // 50 % 3
        shade = np.clip(picture.astype(np.float32) * light + rng.normal(0, 2), 0, 255).astype(np.uint8)
        shade = cv2.GaussianBlur(shade, (0, 0), 0.4 + turn * 0.6)
        shade = cv2.add(shade, rng.integers(0, 7, (SIZE, SIZE, 1), np.uint8).repeat(3, axis=2))
        source = frame + rng.normal(0, 0.5, (68, 2))
        meta = FaceMeta(
            face_type=FaceType.WHOLE_FACE,
            landmarks=landmarks + rng.normal(0, 0.5, (68, 2)),
            source_filename=f"{index + 1:05d}.png",
            source_rect=Rect(480, 280, 720 + index % 90, 520 + index % 70),
            source_landmarks=source,
            image_to_face_mat=transform(source, SIZE, FaceType.WHOLE_FACE),
        )
        data = replace_payload(encode_jpeg(shade, QUALITY), to_payload(meta))
        (folder / f"{index + 1:05d}_0.jpg").write_bytes(data)


def _bases(count: int) -> Iterator[tuple[Any, Any, Any]]:
    """(picture, aligned landmarks, landmarks in the frame) of faces that turn and speak."""
    for performer in (Performer.ASTRONAUT, Performer.ADMIRAL):
        shot = draw_shot(performer, frames=count // 2, fps=5, size=(1280, 960), seed=3)
        for frame, landmarks in zip(shot.frames(), shot.truth.landmarks, strict=True):
            matrix = transform(landmarks, SIZE, FaceType.WHOLE_FACE)
            yield (
                cv2.warpAffine(frame, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC),
                apply(matrix, landmarks),
                landmarks,
            )


def _per_core(workspace: Workspace, by: SortBy) -> float:
    """Faces per second of one core's time, as the processor counts it: other programs do not matter."""
    faces = len(list(workspace.src.aligned.iterdir()))
    options = SortOptions(by=by, as_list=True, workers=1)
    sort(workspace, Side.SRC, options)
    started = time.process_time()
    sort(workspace, Side.SRC, options)
    return faces / (time.process_time() - started)


def _chain(count: int) -> dict[str, float]:
    """Seconds of wall and processor for chaining so many histograms, and how much memory that took beside them."""
    histograms = drifting_histograms(count)
    started, busy = time.perf_counter(), time.process_time()
    with _growth() as peak:
        for _, distances in in_parts(histograms):
            nearest_chain(distances)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return {"seconds": seconds, "processor_seconds": busy, "megabytes": peak[0] / 2**20}


def drifting_histograms(count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(count, 3, 256) histograms of 512 px pictures as footage gives them: they drift, with a cut every 300 frames."""
    rng, levels = np.random.default_rng(seed), np.arange(256)
    found = np.empty((count, 3, 256), np.float32)
    for index in range(count):
        if index % 300 == 0:
            middles, spreads = rng.uniform(60, 200, (3, 3)), rng.uniform(10, 40, (3, 3))
            weights = rng.dirichlet([1, 1, 1], 3)
        middles = middles + rng.normal(0, 0.8, middles.shape)
        bells = np.exp(-0.5 * ((levels - middles[..., None]) / spreads[..., None]) ** 2) / spreads[..., None]
        shares = (weights[..., None] * bells).sum(axis=1)
        found[index] = rng.poisson(shares / shares.sum(axis=-1, keepdims=True) * SIZE * SIZE)
    return found


def _timed(name: str, work: Any) -> dict[str, float]:
    with _growth() as peak:
        started, busy = time.perf_counter(), time.process_time()
        work()
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return {
        f"{name}_seconds": seconds,
        f"{name}_processor_seconds": busy,
        f"{name}_megabytes": peak[0] / 2**20,
    }


@contextmanager
def _growth() -> Iterator[list[float]]:
    """How much more memory the process held at most during the block than before, in bytes, by 50 looks a second."""
    import threading

    process, done, peak = psutil.Process(), threading.Event(), [0.0]
    before = process.memory_info().rss

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _mean_size(folder: Path) -> int:
    sizes = [path.stat().st_size for path in folder.iterdir()]
    return sum(sizes) // len(sizes)


if __name__ == "__main__":
    print(run(quick=False))

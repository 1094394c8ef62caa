"""How fast a faceset folder is read: the first time, from the cache, and face by face."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from understudy import files
from understudy.facesets import Catalog, FaceMeta, encode_jpeg
from understudy.facesets.container import replace_payload
from understudy.facesets.metadata import to_payload
from understudy.geometry import affine, transform
from understudy.geometry.alignment import TEMPLATE_51
from understudy.records import FaceType, Rect


def run(quick: bool) -> dict[str, Any]:
    """Faces per second of a cold scan and of reading data from the cache; seconds of a warm opening."""
    count = 2_000 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        faces, cache = Path(folder, "aligned"), Path(folder, "cache")
        faces.mkdir()
        _make_faces(faces, count)
        cold = _seconds(lambda: Catalog.open(faces, cache=cache).close())
        warm = _seconds(lambda: len(Catalog.open(faces, cache=cache).faces()))
        with Catalog.open(faces, cache=cache) as catalog:
            entries = catalog.faces()
            data = _seconds(lambda: [entry.meta for entry in entries[:1000]])
        size = sum(path.stat().st_size for path in cache.iterdir())
    return {
        "faces": count,
        "cold_faces_per_second": count / cold,
        "warm_open_seconds": warm,
        "data_faces_per_second": min(1000, count) / data,
        "cache_bytes_per_face": size / count,
    }


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _make_faces(folder: Path, count: int) -> None:
    """`count` different faces around one small picture: reading data does not look at pixels."""
    rng = np.random.default_rng(0)
    jpeg = encode_jpeg(rng.integers(0, 255, (256, 256, 3), np.uint8), 90)
    template = np.vstack([np.linspace((0.0, 0.2), (1.0, 0.2), 17), TEMPLATE_51]) * 200
    for index in range(count):
        source = template + rng.normal(0, 1, (68, 2)) + (500, 300)
        matrix = transform(source, 256, FaceType.WHOLE_FACE)
        meta = FaceMeta(
            face_type=FaceType.WHOLE_FACE,
            landmarks=affine.apply(matrix, source),
            source_filename=f"{index + 1:05d}.png",
            source_rect=Rect(480, 280, 720, 520),
            source_landmarks=source,
            image_to_face_mat=matrix,
        )
        data = replace_payload(jpeg, to_payload(meta))
        files.write_bytes(folder / f"{index + 1:05d}_0.jpg", data, durable=False)


if __name__ == "__main__":
    print(run(quick=False))

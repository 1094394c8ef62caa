"""How fast a faceset folder is read: the first time, from the cache, and face by face."""

from __future__ import annotations

import pickle
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from understudy.facesets import Catalog, FaceMeta, encode_jpeg
from understudy.facesets.container import replace_payload
from understudy.facesets.metadata import to_dict, to_payload
from understudy.facesets.packs import PACK_NAME, each_packed, write_pack
from understudy.geometry import affine, transform
from understudy.geometry.alignment import TEMPLATE_51
from understudy.records import FaceType, Rect

SIZES = (10_000, 100_000)


def run(quick: bool) -> dict[str, Any]:
    """For each size of faceset: faces per second of a cold scan and of reading data from the cache, seconds of a warm
    opening, memory that the process took more; and packing and unpacking, faces per second.

    Half of the faces are as we write them, half as the reference program does. "Cold" means without our cache; the
    files have just been written, so the system may still hold them in memory.
    """
    return {f"{count}_faces": _measured(count) for count in ((2_000,) if quick else SIZES)}


def _measured(count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        faces, cache = Path(folder, "aligned"), Path(folder, "cache")
        faces.mkdir()
        make_faces(faces, count)
        before = _peak_mib()
        cold_cpu = time.process_time()
        cold = _seconds(lambda: Catalog.open(faces, cache=cache).close())
        cold_cpu = time.process_time() - cold_cpu
        scan_peak = _peak_mib()
        warm = _seconds(lambda: Catalog.open(faces, cache=cache).close())
        with Catalog.open(faces, cache=cache) as catalog:
            listed = _seconds(catalog.faces)
            entries = catalog.faces()
            single = _seconds(lambda: [entry.meta for entry in entries[:1000]])
            every = _seconds(lambda: sum(1 for _ in catalog.each_meta()))
            some = entries[: min(count, 10_000)]
            packing = _seconds(lambda: write_pack(faces, some))
        listing = _seconds(lambda: sum(1 for _ in each_packed(faces / PACK_NAME)))
        (faces / PACK_NAME).unlink()
        size = sum(path.stat().st_size for path in cache.iterdir())
    return {
        "cold_faces_per_second": count / cold,
        "cold_faces_per_second_of_one_core": count / cold_cpu,
        "warm_open_seconds": warm,
        "list_of_entries_seconds": listed,
        "single_data_faces_per_second": min(1000, count) / single,
        "all_data_faces_per_second": count / every,
        "scan_memory_mib": scan_peak - before,
        "cache_bytes_per_face": size / count,
        "packing_faces_per_second": len(some) / packing,
        "list_of_pack_faces_per_second": len(some) / listing,
    }


def _peak_mib() -> float:
    """Most memory that this process ever held, or holds now where the system does not say."""
    found = psutil.Process().memory_info()
    return float(getattr(found, "peak_wset", 0) or _linux_peak() or found.rss) / 2**20


def _linux_peak() -> int:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def make_faces(folder: Path, count: int) -> None:
    """`count` different faces around one small picture: reading data does not look at pixels."""
    rng = np.random.default_rng(0)
    jpeg = encode_jpeg(rng.integers(0, 255, (64, 64, 3), np.uint8), 90)
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
            confidence=0.9 if index % 2 else None,
            track=index // 100 if index % 2 else None,
        )
        payload = to_payload(meta) if index % 2 else pickle.dumps(to_dict(meta), 3)
        (folder / f"{index + 1:05d}_0.jpg").write_bytes(replace_payload(jpeg, payload))


if __name__ == "__main__":
    print(run(quick=False))

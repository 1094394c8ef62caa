"""Feeding a training: faces made ready per second, start-up with a cold and a warm cache, batches fetched per second
from memory and from disk, a look at an unchanged faceset, and whether fetching ahead pays."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from bench.catalog import make_faces as make_small_faces
from understudy.devices import best_device
from understudy.facesets import Catalog, FaceMeta, encode_jpeg, write_face
from understudy.geometry import transform
from understudy.geometry.affine import apply
from understudy.geometry.alignment import TEMPLATE_51
from understudy.records import FaceType
from understudy.training.batches.samples import Batch, BatchSource
from understudy.training.faces.bank import FaceBank

PICTURE, SIZE, BATCH = 512, 128, 8


def run(quick: bool) -> dict[str, Any]:
    """Faces of 512 px as crops of 128 px with eyes and mouth. Disk figures are of files that the system may still hold.

    looking_again: seconds that a check of an unchanged faceset takes at a save. idle: share of a loop that waits for
    the next batch where a step takes 20 ms of one core (a stand-in for a network), without and with a thread that
    fetches ahead; `loop_*` what an iteration takes in all.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = 200 if quick else 4000
        make_faces(folder / "aligned", count)
        figures = starting(folder, count)
        figures |= drawing(folder, rounds=50 if quick else 500)
        figures |= looking_again(folder, 2_000 if quick else 100_000)
    return figures


def make_faces(folder: Path, count: int) -> None:
    """Face files of 512 px: 20 different pictures, each under many names and times."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    angles = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.5 + 0.6 * np.cos(angles), 0.35 + 0.9 * np.sin(angles)], 1)
    landmarks = np.concatenate([jaw, TEMPLATE_51]) * 300 + 100
    matrix = transform(landmarks, PICTURE, FaceType.WHOLE_FACE)
    meta = FaceMeta(FaceType.WHOLE_FACE, apply(matrix, landmarks), source_filename="00001.png")
    for number in range(min(20, count)):
        coarse = rng.integers(0, 256, (PICTURE // 8, PICTURE // 8, 3), dtype=np.uint8)
        write_face(folder / f"{number:06d}.jpg", encode_jpeg(coarse.repeat(8, 0).repeat(8, 1), 90), meta)
    for number in range(20, count):
        copy = folder / f"{number:06d}.jpg"
        shutil.copyfile(folder / f"{number % 20:06d}.jpg", copy)
        os.utime(copy, ns=(10**18 + number, 10**18 + number))


def load(folder: Path, **more: Any) -> FaceBank:
    """The bank of the faces that were made."""
    with Catalog.open(folder / "aligned", cache=folder / "catalogs") as catalog:
        return FaceBank.load(
            catalog.faces(),
            size=SIZE,
            face_type=FaceType.FULL,
            eyes_mouth=True,
            faceset=folder / "aligned",
            caches=folder / "crops",
            **more,
        )


def starting(folder: Path, count: int) -> dict[str, Any]:
    """The first start, and one with everything there."""
    Catalog.open(folder / "aligned", cache=folder / "catalogs").close()
    cold = seconds(lambda: load(folder))
    warm = seconds(lambda: load(folder))
    return {
        "faces_made_ready_per_second": count / cold,
        "start_cold_seconds": cold,
        "start_warm_seconds": warm,
        "start_warm_faces_per_second": count / warm,
    }


def drawing(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Batches from memory and from disk, and a loop that fetches ahead or not."""
    device = best_device().torch
    held, on_disk = load(folder), load(folder, budget=0)
    held.pixels  # noqa: B018 - into memory
    figures: dict[str, Any] = {}
    for name, bank in (("memory", held), ("disk", on_disk)):
        rng = np.random.default_rng(0)
        chosen = [rng.integers(0, len(bank), BATCH) for _ in range(rounds)]
        took = seconds(lambda bank=bank, chosen=chosen: [bank.take(one) for one in chosen])  # type: ignore[misc]
        figures[f"batches_fetched_per_second_from_{name}"] = rounds / took
    for name, ahead in (("plain", False), ("ahead", True)):
        source = BatchSource(on_disk, on_disk, batch_size=BATCH, device=device, ahead=ahead)
        waited, whole = loop(source, rounds=max(20, rounds // 10))
        figures |= {f"idle_{name}": waited / whole, f"loop_{name}_ms": 1000 * whole}
    return figures


def loop(source: BatchSource, *, rounds: int) -> tuple[float, float]:
    """Seconds of waiting for a batch, and of a whole iteration, medians."""
    waits, wholes = [], []
    for _ in range(rounds):
        started = time.perf_counter()
        batch = source.next()
        settle(batch)
        waited = time.perf_counter()
        step(batch)
        waits.append(waited - started)
        wholes.append(time.perf_counter() - started)
    return median(waits), median(wholes)


def step(batch: Batch) -> None:
    """Products of matrices for about 20 ms of one core."""
    matrix = batch.src.warped.new_ones((512, 512))
    end = time.perf_counter() + 0.02
    while time.perf_counter() < end:
        torch.mm(matrix, matrix)
    settle(batch)


def settle(batch: Batch) -> None:
    """Wait until the device is done."""
    if batch.src.warped.device.type == "cuda":
        torch.cuda.synchronize()


def looking_again(folder: Path, count: int) -> dict[str, Any]:
    """What a save costs where nothing changed, with a faceset of many faces."""
    many = folder / "many"
    many.mkdir()
    make_small_faces(many, count)
    with Catalog.open(many, cache=folder / "catalogs") as catalog:

        def look() -> None:
            before = catalog.revision
            catalog.refresh()
            assert catalog.revision == before

        return {f"looking_again_seconds_of_{count}": median([seconds(look) for _ in range(5)])}


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

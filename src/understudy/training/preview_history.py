"""Previews that stay: a series of JPEGs that shows how a model learned, each below the losses up to then.

    previews/SAEHD/0000100.jpg    after 100 iterations
                   0000120.jpg
                   _last.jpg      the newest

A series grows up to a limit; then every second one of it goes, so that it reaches from the beginning to now however
long a model trains.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.files import os_errors, writing
from understudy.training.history import History
from understudy.training.loss_graph import loss_graph
from understudy.training.preview import FOLDER_NAME

LAST = "_last.jpg"
QUALITY = 90


def usual_interval(size: int) -> int:
    """After how many iterations the reference keeps a preview of a model of `size` pixels: larger ones learn slower."""
    return 10 * max(1, size // 64)


def below_losses(sheet: NDArray[np.uint8], history: History, iteration: int) -> NDArray[np.uint8]:
    """A sheet (H,W,3) RGB with the loss graph of its width on top."""
    return np.concatenate([loss_graph(history, sheet.shape[1], iteration=iteration), sheet])


def keep_previews(
    folder: Path, sheets: Mapping[str, NDArray[np.uint8]], history: History, iteration: int, *, limit: int
) -> None:
    """Add each sheet to its series below `previews/`. Raises DiskFull, ReadOnlyWorkspace."""
    for title, sheet in sheets.items():
        series = folder / FOLDER_NAME / title.replace(" ", "_")
        picture = below_losses(sheet, history, iteration)
        save_jpeg(series / f"{iteration:07d}.jpg", picture)
        save_jpeg(series / LAST, picture)
        thin_out(series, limit)


def thin_out(series: Path, limit: int) -> None:
    """Delete every second picture of a series of more than `limit`, never the first or the newest."""
    kept = sorted(series.glob("[0-9]*.jpg"), key=lambda path: int(path.stem) if path.stem.isdigit() else -1)
    while len(kept) > limit:
        for path in kept[1:-1:2]:
            with contextlib.suppress(OSError):
                path.unlink()
        kept = [*kept[:-1:2], kept[-1]] if len(kept) > 2 else kept[-limit:]


def save_jpeg(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write (H,W,3) RGB as a JPEG, whole or not at all."""
    with os_errors(path), writing(path) as temp:
        Image.fromarray(picture).save(temp, "JPEG", quality=QUALITY)

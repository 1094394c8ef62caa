"""Previews that stay: a series of JPEGs that shows how a model learned, each below the losses up to then.

    previews/SAEHD/0000100.jpg    after 100 iterations
                   0000120.jpg
                   _last.jpg      the newest

A series grows up to a limit and is thinned out then, so that it reaches from the beginning to now however long a model
trains.
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
from understudy.training.previews.loss_graph import loss_graph
from understudy.training.previews.preview import FOLDER_NAME

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
    """Delete pictures of a series of more than `limit`, each time the one whose neighbours are closest, so that what
    stays is spread evenly over the whole training. The first and the newest always stay."""
    kept = sorted((path for path in series.glob("*.jpg") if path.stem.isdigit()), key=lambda path: int(path.stem))
    at = [int(path.stem) for path in kept]
    while len(kept) > max(2, limit):
        gaps = [after - before for before, after in zip(at, at[2:], strict=False)]
        place = 1 + gaps.index(min(gaps))
        with contextlib.suppress(OSError):
            kept[place].unlink()
        del kept[place], at[place]


def save_jpeg(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write (H,W,3) RGB as a JPEG, whole or not at all."""
    with os_errors(path), writing(path) as temp:
        Image.fromarray(picture).save(temp, "JPEG", quality=QUALITY)

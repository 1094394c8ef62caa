"""Preview pictures: the same faces in the same order for the whole run, so that progress can be judged.

    s  ss  d  dd  sd        src, src redrawn, dst, dst redrawn, dst redrawn as src; one row per pair of faces

and the same with everything outside the masks black.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from understudy.files import os_errors, writing

ROWS = 4
FOLDER_NAME = "previews"


class Swapper(Protocol):
    """What a network must offer to be previewed as a pair of people."""

    def reconstruct(self, src: Tensor, dst: Tensor) -> Sequence[Tensor]: ...

    def swap(self, dst: Tensor) -> Sequence[Tensor]: ...


@dataclass(frozen=True, eq=False)
class PreviewFaces:
    """The faces that every preview shows: pictures (N,3,S,S) RGB and masks (N,1,S,S), float32 in 0..1, row by row."""

    src: Tensor
    src_mask: Tensor
    dst: Tensor
    dst_mask: Tensor


def spread(count: int, rows: int = ROWS) -> list[int]:
    """Indices of up to `rows` faces spread evenly over a faceset of `count`."""
    rows = min(rows, count)
    return [(2 * row + 1) * count // (2 * rows) for row in range(rows)]


def swapper_previews(net: Swapper, faces: PreviewFaces, title: str) -> dict[str, NDArray[np.uint8]]:
    """The two sheets of a two-person swapper by name, (rows·S, 5·S, 3) RGB. Draws no random numbers."""
    with torch.inference_mode():
        ss, _, dd, dd_mask = net.reconstruct(faces.src, faces.dst)
        sd, sd_mask, _ = net.swap(faces.dst)
    src, dst = faces.src, faces.dst
    limit = dd_mask * sd_mask
    return {
        title: sheet([src, ss, dst, dd, sd]),
        f"{title} masked": sheet([src * faces.src_mask, ss, dst * faces.dst_mask, dd * dd_mask, sd * limit]),
    }


def sheet(columns: Sequence[Tensor]) -> NDArray[np.uint8]:
    """Columns of pictures (N,3,S,S) as one picture (N·S, columns·S, 3), 8 bit."""
    wide = torch.cat([column.float().cpu() for column in columns], dim=3)
    rows = wide.permute(0, 2, 3, 1).reshape(-1, wide.shape[3], 3)
    return (rows.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def save_previews(folder: Path, sheets: dict[str, NDArray[np.uint8]], iteration: int, *, history: bool) -> list[Path]:
    """Write each sheet as `previews/NAME.png`, and with `history` also as `previews/NAME/ITERATION.jpg`.

    Spaces in names become underscores.
    """
    written = []
    for title, picture in sheets.items():
        name = title.replace(" ", "_")
        path = folder / FOLDER_NAME / f"{name}.png"
        _save(path, picture, "PNG")
        written.append(path)
        if history:
            _save(folder / FOLDER_NAME / name / f"{iteration:07d}.jpg", picture, "JPEG")
    return written


def _save(path: Path, picture: NDArray[np.uint8], kind: str) -> None:
    with os_errors(path), writing(path) as temp:
        Image.fromarray(picture).save(temp, kind, quality=90)

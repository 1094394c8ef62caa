"""Preview pictures: the same faces in the same order for the whole run, so that progress can be judged.

    s  ss  d  dd  sd        src, src redrawn, dst, dst redrawn, dst redrawn as src; one row per pair of faces

and the same with everything outside the masks black. Beyond 256 px these columns are three narrower sheets. AMP shows
how far a swap goes instead, in blocks of two rows for each pair of faces, with sd at several morphs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from understudy.errors import WorkspaceError
from understudy.files import os_errors, writing
from understudy.networks.amp import Amp
from understudy.networks.saehd import DF, LIAE, SaehdConfig
from understudy.records import FaceType
from understudy.report import Note, Report
from understudy.training.learning.passes import random_channels

ROWS, TALLEST = 4, 800
"""Pairs of faces that a preview shows at most, and its greatest height in pixels, unless one pair is higher."""

WIDEST = 256
"""Largest faces that are shown in one sheet of five columns."""

MORPHS = (0.25, 0.5, 0.65, 0.75, 1.0)

FOLDER_NAME = "previews"

Sheets = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class PreviewFaces:
    """The faces that every preview shows: pictures (N,3,S,S) RGB and masks (N,1,S,S), float32 in 0..1, row by row."""

    src: Tensor
    src_mask: Tensor
    dst: Tensor
    dst_mask: Tensor


class Views(NamedTuple):
    """What a swapper makes of the preview faces: ss and dd each as themselves, sd dst as src; masks of dd and sd."""

    ss: Tensor
    dd: Tensor
    dd_mask: Tensor
    sd: Tensor
    sd_mask: Tensor


def rows_for(size: int) -> int:
    """How many pairs of faces of `size` pixels a preview shows."""
    return max(1, min(ROWS, TALLEST // size))


def spread(count: int, rows: int = ROWS) -> list[int]:
    """Indices of up to `rows` faces spread evenly over a faceset of `count`."""
    rows = min(rows, count)
    return [(2 * row + 1) * count // (2 * rows) for row in range(rows)]


def quick96_previews(net: DF, faces: PreviewFaces) -> Sheets:
    """`Quick96` and `Quick96 masked`, (rows·S, 5·S, 3) RGB. Draws no random numbers, as none of these do."""
    views = _views(net, faces)
    return _in_five_columns("Quick96", views, faces, views.dd_mask * views.sd_mask)


def saehd_previews(net: DF | LIAE, faces: PreviewFaces) -> Sheets:
    """`SAEHD` and `SAEHD masked`; beyond 256 px each as three: `SAEHD src-src`, `SAEHD dst-dst`, `SAEHD pred`, …"""
    views = _views(net, faces)
    assert isinstance(net.config, SaehdConfig)
    whole_head = net.config.face_type is FaceType.HEAD
    limit = views.sd_mask if whole_head else views.dd_mask * views.sd_mask
    in_columns = _in_five_columns if faces.src.shape[-1] <= WIDEST else _in_pairs
    return in_columns("SAEHD", views, faces, limit)


def amp_previews(net: Amp, faces: PreviewFaces) -> Sheets:
    """`AMP morph 1.0`: s, d, dd masked / ss, dd, sd; `AMP morph list`: dd and sd at five morphs; the same masked."""
    config = net.config
    channels = random_channels(len(faces.src), config.inter_dims, config.src_channels, np.random.default_rng(0))
    with torch.inference_mode():
        ss, _, dd, dd_mask = net.reconstruct(faces.src, faces.dst, channels.to(faces.src.device))
        swaps = [net.swap(faces.dst, morph) for morph in MORPHS]
    morphed = [swap.face for swap in swaps]
    masked = [swap.face * dd_mask * swap.mask_swap for swap in swaps]
    return {
        "AMP morph 1.0": blocks([[faces.src, faces.dst, dd * dd_mask], [ss, dd, morphed[-1]]]),
        "AMP morph list": blocks([[dd, *morphed[:2]], morphed[2:]]),
        "AMP morph list masked": blocks([[dd * dd_mask, *masked[:2]], masked[2:]]),
    }


def _views(net: DF | LIAE, faces: PreviewFaces) -> Views:
    with torch.inference_mode():
        ss, _, dd, dd_mask = net.reconstruct(faces.src, faces.dst)
        sd, sd_mask, _ = net.swap(faces.dst)
    return Views(ss, dd, dd_mask, sd, sd_mask)


def _in_five_columns(title: str, views: Views, faces: PreviewFaces, limit: Tensor) -> Sheets:
    src, dst = faces.src * faces.src_mask, faces.dst * faces.dst_mask
    return {
        title: sheet([faces.src, views.ss, faces.dst, views.dd, views.sd]),
        f"{title} masked": sheet([src, views.ss, dst, views.dd * views.dd_mask, views.sd * limit]),
    }


def _in_pairs(title: str, views: Views, faces: PreviewFaces, limit: Tensor) -> Sheets:
    src, dst = faces.src * faces.src_mask, faces.dst * faces.dst_mask
    return {
        f"{title} src-src": sheet([faces.src, views.ss]),
        f"{title} dst-dst": sheet([faces.dst, views.dd]),
        f"{title} pred": sheet([faces.dst, views.sd]),
        f"{title} masked src-src": sheet([src, views.ss]),
        f"{title} masked dst-dst": sheet([dst, views.dd * views.dd_mask]),
        f"{title} masked pred": sheet([dst, views.sd * limit]),
    }


def sheet(columns: Sequence[Tensor]) -> NDArray[np.uint8]:
    """Columns of pictures (N,3,S,S) as one picture (N·S, columns·S, 3), 8 bit."""
    return blocks([columns])


def blocks(rows: Sequence[Sequence[Tensor]]) -> NDArray[np.uint8]:
    """Pictures (N,3,S,S) in rows of equal length as N blocks below each other: (N·rows·S, columns·S, 3), 8 bit."""
    wide = torch.cat([torch.cat([part.float().cpu() for part in row], dim=3) for row in rows], dim=2)
    pixels = wide.permute(0, 2, 3, 1).reshape(-1, wide.shape[3], 3)
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def save_previews(folder: Path, sheets: Sheets) -> list[Path]:
    """Write each sheet as `previews/NAME.png`. Spaces in names become underscores."""
    written = []
    for title, picture in sheets.items():
        name = title.replace(" ", "_")
        path = folder / FOLDER_NAME / f"{name}.png"
        with os_errors(path), writing(path) as temp:
            Image.fromarray(picture).save(temp, "PNG")
        written.append(path)
    return written


@contextmanager
def training_going_on(report: Report) -> Iterator[None]:
    """Draw pictures in this block: one that cannot be written is told of, and training goes on without it."""
    try:
        yield
    except WorkspaceError as error:
        report(Note(f"A picture of the training could not be written: {error.message}", "warning"))

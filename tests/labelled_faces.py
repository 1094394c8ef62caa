"""Facesets whose faces are labelled with outlines known from how they were drawn: `from labelled_faces import …`.

A face is one of the demo's, cut out by its true landmarks; on some of them lies a "hand", a slanted bar of skin with
fingers, which the second outline leaves out. So the label cannot be told from where in the square a pixel is.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from shots import small_shot
from small_faces import PERFORMERS
from understudy.facesets import FaceMeta, Polygon, encode_jpeg, write_face
from understudy.geometry import transform
from understudy.geometry.affine import apply
from understudy.masks import face_hull
from understudy.networks.xseg import XSegConfig
from understudy.records import FaceType, Side
from understudy.training.saved.new import create_model
from understudy.workspace import Workspace

SMALL_XSEG = XSegConfig(size=64, base_dims=4)
"""XSeg of a sixteenth of the area and with an eighth of the channels."""


def labelled_face(
    side: Side, index: int, *, frames: int, size: int = 64, shot_size: tuple[int, int] = (320, 240), hand: bool = False
) -> tuple[str, bytes, FaceMeta]:
    """(name, JPEG, data with outlines) of one frame's face. hand: lay one over it."""
    shot = small_shot(PERFORMERS[side], frames=frames, size=shot_size)
    landmarks = shot.truth.landmarks[index]
    matrix = transform(landmarks, size, FaceType.WHOLE_FACE)
    picture = cv2.warpAffine(shot.frames[index], matrix, (size, size), flags=cv2.INTER_CUBIC)
    placed = apply(matrix, landmarks)
    polygons = [Polygon(outline(face_hull(placed, size, size)))]
    if hand:
        covered = hand_over(picture, index)
        polygons.append(Polygon(covered, include=False))
    meta = FaceMeta(
        FaceType.WHOLE_FACE,
        placed,
        source_filename=f"{index + 1:05d}.png",
        source_landmarks=landmarks,
        image_to_face_mat=matrix,
        polygons=tuple(polygons),
    )
    return f"{index + 1:05d}_0.jpg", encode_jpeg(picture, 95), meta


def outline(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """The border of a mask (H,W) as the points of one outline."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
    return np.asarray(max(found, key=len)[:, 0], np.float32)


def hand_over(picture: NDArray[np.uint8], seed: int) -> NDArray[np.float32]:
    """Draw a hand that reaches over the face into a picture, in place; its outline."""
    chance, size = np.random.default_rng(seed), len(picture)
    width, x = chance.uniform(0.08, 0.16), chance.uniform(0.2, 0.8)
    tip = np.array([x, chance.uniform(0.3, 0.6)])
    root = np.array([chance.uniform(0.1, 0.9), 1.05])
    across = np.array([tip[1] - root[1], root[0] - tip[0]])
    across *= width / np.linalg.norm(across)
    points = np.array(
        [root - 1.2 * across, tip - across, tip + 0.4 * (tip - root) * 0.2, tip + across, root + 1.2 * across]
    )
    pixels = np.asarray(np.rint(points * size), np.int32)
    colour = chance.uniform((150, 100, 80), (225, 180, 155))
    cv2.fillPoly(picture, [pixels], colour.tolist(), lineType=cv2.LINE_AA)
    for share in (0.3, 0.6):  # the gaps between fingers
        start, end = (pixels[0] * (1 - share) + pixels[4] * share), (pixels[1] * (1 - share) + pixels[3] * share)
        cv2.line(
            picture, start.astype(int).tolist(), end.astype(int).tolist(), (colour * 0.6).tolist(), max(1, size // 128)
        )
    return np.asarray(pixels, np.float32)


def labelled_workspace(
    root: Path, count: int = 4, *, labels: bool = True, sides: tuple[Side, ...] = tuple(Side)
) -> Workspace:
    """A workspace with `count` faces of 64 px on each side, every second one under a hand."""
    workspace = Workspace.create(root)
    for side in sides:
        for index in range(count):
            name, jpeg, meta = labelled_face(side, index, frames=count, hand=index % 2 == 1)
            write_face(workspace.side(side).aligned / name, jpeg, meta if labels else meta.but(polygons=()))
    return workspace


def small_xseg(workspace: Workspace, name: str = "XSeg") -> Path:
    """A new small mask network; its folder."""
    folder = workspace.model(name)
    create_model(folder, "XSeg", config=SMALL_XSEG)
    return folder

"""Facesets of a few real face files and a model small enough to train in a test: `from small_faces import ...`."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from shots import small_shot
from understudy.demo.footage import Performer
from understudy.facesets import FaceMeta, decode_jpeg, encode_jpeg, write_face
from understudy.geometry import transform
from understudy.geometry.affine import apply
from understudy.networks.quick96 import Quick96Config
from understudy.records import FaceType, Side
from understudy.training.saved.new import create_model
from understudy.workspace import Workspace

SMALL = Quick96Config(size=32, ae_dims=8, e_dims=8, d_dims=8, d_mask_dims=4)
"""Quick96 with a seventieth of its weights."""

SIZE = 64
PERFORMERS = {Side.SRC: Performer.ASTRONAUT, Side.DST: Performer.ADMIRAL}


@functools.cache
def face_files(side: Side, count: int = 5) -> list[tuple[str, bytes, FaceMeta]]:
    """(name, JPEG, data) of faces cut from a drawn shot by its true landmarks."""
    shot = small_shot(PERFORMERS[side], frames=count)
    files = []
    for index, frame in enumerate(shot.frames):
        landmarks = shot.truth.landmarks[index]
        matrix = transform(landmarks, SIZE, FaceType.WHOLE_FACE)
        picture = cv2.warpAffine(frame, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC)
        meta = FaceMeta(
            FaceType.WHOLE_FACE,
            apply(matrix, landmarks),
            source_filename=f"{index + 1:05d}.png",
            source_landmarks=landmarks,
            image_to_face_mat=matrix,
        )
        files.append((f"{index + 1:05d}_0.jpg", encode_jpeg(picture, 90), meta))
    return files


def sharp_faces(count: int = 30) -> NDArray[np.uint8]:
    """(count, SIZE, SIZE, 3) uint8: the aligned src faces, sharp; not to be modified."""
    return np.stack([decode_jpeg(jpeg) for _, jpeg, _ in face_files(Side.SRC, count)])


def workspace_with_faces(root: Path, count: int = 5) -> Workspace:
    """A workspace whose two facesets hold `count` faces each."""
    workspace = Workspace.create(root)
    for side in Side:
        for name, jpeg, meta in face_files(side, count):
            write_face(workspace.side(side).aligned / name, jpeg, meta)
    return workspace


def small_model(workspace: Workspace, name: str = "small") -> Path:
    """A new small Quick96 model in the workspace; its folder."""
    folder = workspace.model(name)
    create_model(folder, "quick96", config=SMALL)
    return folder

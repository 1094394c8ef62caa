"""Make curation/mean_appearance.json: what every face looks like, taken away before faces are compared.

    python scripts/make_mean_appearance.py

The mean over two performances of the demo, whose portraits are in the public domain: each performer turns by ±35
degrees, nods, speaks and blinks, drawn from the portrait by the demo's rig. Both performers count alike.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from understudy.curation.appearance import Parts, parts_of
from understudy.demo.footage import Performer, draw_shot
from understudy.facesets import Face, FaceMeta
from understudy.geometry import affine, transform
from understudy.records import FaceType

TARGET = Path(__file__).resolve().parents[1] / "src" / "understudy" / "curation" / "mean_appearance.json"
FRAMES, SIZE = 240, 512


def parts_of_performer(performer: Performer) -> Parts:
    """The mean parts of one performance, faces cut by their true landmarks."""
    shot = draw_shot(performer, frames=FRAMES, fps=6, size=(640, 480), seed=5)
    found = []
    for frame, landmarks in zip(shot.frames(), shot.truth.landmarks, strict=True):
        matrix = transform(landmarks, SIZE, FaceType.WHOLE_FACE)
        picture = np.asarray(cv2.warpAffine(frame, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC), np.uint8)
        found.append(parts_of(Face(picture, FaceMeta(FaceType.WHOLE_FACE, affine.apply(matrix, landmarks)))))
    edges, lab = (np.mean([getattr(parts, name) for parts in found], axis=0) for name in ("edges", "lab"))
    return Parts(edges, lab, 0.0)


def main() -> None:
    """Write the file."""
    both = [parts_of_performer(performer) for performer in Performer]
    edges = np.mean([parts.edges for parts in both], axis=0).astype(float).round(5).ravel().tolist()
    lab = np.mean([parts.lab for parts in both], axis=0).astype(float).round(2).ravel().tolist()
    TARGET.write_text(json.dumps({"edges": edges, "lab": lab}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

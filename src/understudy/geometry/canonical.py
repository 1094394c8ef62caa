"""The mean face in FaceMesh's 468 points: where each lies, how they join to a surface, and a flat map of it.

Measured from public-domain portraits by scripts/make_canonical_face.py. Axes as in a picture seen from the camera: x to
the right, y down, z away from the camera, in centimetres; the origin is the mean of the vertices.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray


def vertices() -> NDArray[np.float32]:
    """The points (468, 3) float32 in centimetres, facing the camera (small z is near it)."""
    return np.array(_stored()["vertices"], dtype=np.float32)


def triangles() -> NDArray[np.int32]:
    """The surface (898, 3) int32: vertex numbers, counter-clockwise on screen seen from the camera, so that
    normals point outward. Eyes and mouth are closed."""
    return np.array(_stored()["triangles"], dtype=np.int32)


def uv() -> NDArray[np.float32]:
    """Where each vertex lies on a flat map of the face, (468, 2) float32 in 0..1 from the top left."""
    return np.array(_stored()["uv"], dtype=np.float32)


def mirror() -> NDArray[np.int32]:
    """For each vertex the number of its partner on the other side of the face, (468,) int32."""
    return np.array(_stored()["mirror"], dtype=np.int32)


@cache
def _stored() -> dict[str, Any]:
    text = (resources.files("understudy.geometry") / "canonical_face.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded

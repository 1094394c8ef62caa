"""Facesets: aligned faces in JPEG files that carry their own data, readable by every program of this field.

Names are loaded when first used, so that options of faceset commands import neither OpenCV nor NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.facesets.catalog import Catalog, FaceEntry
    from understudy.facesets.container import decode_jpeg, encode_jpeg
    from understudy.facesets.faces import Face, read_face, read_meta, write_face, write_meta
    from understudy.facesets.metadata import FaceMeta, Polygon

__all__ = [
    "Catalog",
    "Face",
    "FaceEntry",
    "FaceMeta",
    "Polygon",
    "decode_jpeg",
    "encode_jpeg",
    "read_face",
    "read_meta",
    "write_face",
    "write_meta",
]

_HOMES = {
    "Catalog": "catalog",
    "Face": "faces",
    "FaceEntry": "catalog",
    "FaceMeta": "metadata",
    "Polygon": "metadata",
    "decode_jpeg": "container",
    "encode_jpeg": "container",
    "read_face": "faces",
    "read_meta": "faces",
    "write_face": "faces",
    "write_meta": "faces",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'understudy.facesets' has no attribute {name!r}")
    return getattr(importlib.import_module(f"understudy.facesets.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

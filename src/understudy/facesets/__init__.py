"""Facesets: aligned faces in JPEG files that carry their own data, readable by every program of this field."""

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

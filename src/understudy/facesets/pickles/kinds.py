"""What a pickle of plain data may hold beside what every language has."""

from __future__ import annotations

MAX_DEPTH = 64
"""How deep lists and dictionaries may lie inside each other."""

DTYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
"""Element types that an array may have, either byte order."""


class FaceTypeCode(int):
    """The number of a face type as faceset.pak stores it (geometry.face_types.FACE_TYPE_CODES)."""


class SampleTypeCode(int):
    """The number of a kind of sample as faceset.pak stores it; 1 is a face."""


ARRAY_HEAD = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
"""How a pickled array begins, up to its shape: an empty array, and the first of what it is filled with."""

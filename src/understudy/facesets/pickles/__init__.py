"""Pickles that hold plain data, read and written without ever running what they ask for.

    bytes → machine ─ opcode by opcode; quick reads the bulk at once, arrays makes arrays ─► reading → plain values
                                                                                        └► streaming → few at a time
    plain values → writing → bytes

Face files, faceset.pak and old model files are pickles. The machine knows only the opcodes which build None, booleans,
numbers, strings, bytes, lists, tuples, dictionaries and numeric arrays; it has no way to import or call anything, and
what it allocates is bounded by the length of the input. What is written can be loaded by any Python from 3.4 and any
NumPy: array globals carry their old module name `numpy.core.multiarray`.
"""

from understudy.facesets.pickles.arrays import StoredArray
from understudy.facesets.pickles.kinds import DTYPES, MAX_DEPTH, FaceTypeCode, SampleTypeCode
from understudy.facesets.pickles.reading import loads, references
from understudy.facesets.pickles.streaming import stream
from understudy.facesets.pickles.writing import Piece, dump_entries, dump_items, dumps

__all__ = [
    "DTYPES",
    "MAX_DEPTH",
    "FaceTypeCode",
    "Piece",
    "SampleTypeCode",
    "StoredArray",
    "dump_entries",
    "dump_items",
    "dumps",
    "loads",
    "references",
    "stream",
]

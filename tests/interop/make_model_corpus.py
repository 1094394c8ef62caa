"""Writes tests/interop/corpus: small files in the place of a model's that say what no honest one says.

    python tests/interop/make_model_corpus.py

Each is tried as every part of a model. Files that a campaign found are put into the folder by hand, with its seed in
their name.
"""

from __future__ import annotations

import struct
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
PROTO, STOP = b"\x80\x04", b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def table(*entries: tuple[bytes, bytes]) -> bytes:
    return b"}(" + b"".join(key + value for key, value in entries) + b"u"


def dtype(code: str, order: str = "<") -> bytes:
    return (
        b"cnumpy\ndtype\n"
        + text(code)
        + b"\x89\x88\x87R(K\x03"
        + text(order)
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )


def array(
    shape: bytes, code: str = "f4", content: bytes = bytes(8), order: str = "<", fortran: bytes = b"\x89"
) -> bytes:
    """An array as pickles spell it, of arguments that need not fit."""
    head = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
    return head + shape + dtype(code, order) + fortran + b"B" + struct.pack("<I", len(content)) + content + b"tb"


def scalar(code: str, content: bytes) -> bytes:
    return (
        b"cnumpy.core.multiarray\nscalar\n" + dtype(code) + b"B" + struct.pack("<I", len(content)) + content + b"\x86R"
    )


TWO = b"K\x02\x85"
KEY = text("dense1/weight:0")
ITER, OPTIONS = (text("iter"), b"K\x05"), text("options")
DOUBLING = b"]\x94" + b"".join(b"](h" + bytes([n]) + b"h" + bytes([n]) + b"e\x94" for n in range(60))
INF = struct.pack("<d", float("inf"))

FILES = {
    "empty": b"",
    "one-byte": b"\x80",
    "a-numpy-file": b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
    "a-zip": b"PK\x03\x04" + bytes(26),
    "text": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "no-table": PROTO + b"]" + STOP,
    "keys-of-numbers": PROTO + table((b"K\x01", array(TWO))) + STOP,
    "table-in-itself": PROTO + b"}\x94(" + KEY + b"h\x00u" + STOP,
    "table-in-table": PROTO + table((KEY, table((KEY, array(TWO))))) + STOP,
    "array-of-objects": PROTO + table((KEY, array(TWO, "O8", bytes(16), "|"))) + STOP,
    "array-of-void": PROTO + table((KEY, array(TWO, "V4", order="|"))) + STOP,
    "array-of-text": PROTO + table((KEY, array(TWO, "U1"))) + STOP,
    "array-of-complex": PROTO + table((KEY, array(TWO, "c8", bytes(16)))) + STOP,
    "array-of-negative-shape": PROTO + table((KEY, array(b"J\xff\xff\xff\xff\x85"))) + STOP,
    "array-of-gigabytes": PROTO + table((KEY, array(b"J\xff\xff\xff\x7f\x85"))) + STOP,
    "array-of-nothing-times-exabytes": PROTO
    + table((KEY, array(b"(K\x00\x8a\x05\xff\xff\xff\xff\x7ft", content=b"")))
    + STOP,
    "array-of-nine-axes": PROTO + table((KEY, array(b"(" + b"K\x01" * 9 + b"t", content=bytes(4)))) + STOP,
    "array-in-fortran-order": PROTO + table((KEY, array(TWO, fortran=b"\x88"))) + STOP,
    "array-shared-a-thousand-times": PROTO
    + b"}("
    + KEY
    + array(TWO, content=bytes(8))
    + b"\x94"
    + b"".join(text(f"t{n}") + b"h\x00" for n in range(1000))
    + b"u"
    + STOP,
    "array-not-filled": PROTO
    + table((KEY, b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"))
    + STOP,
    "array-of-a-foreign-class": PROTO
    + table((KEY, b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nrecarray\nK\x00\x85C\x01b\x87R"))
    + STOP,
    "class-as-value": PROTO + table((KEY, b"cnumpy\nndarray\n")) + STOP,
    "runs-a-program": PROTO + table((KEY, b"cos\nsystem\n" + text("true") + b"\x85R")) + STOP,
    "runs-through-newobj": PROTO + table((KEY, b"cbuiltins\nexec\n)\x81")) + STOP,
    "runs-through-stack-global": PROTO
    + table((KEY, text("os") + text("system") + b"\x93" + text("true") + b"\x85R"))
    + STOP,
    "loads-an-extension": PROTO + table((KEY, b"\x82\x01")) + STOP,
    "asks-for-a-persistent-object": PROTO + table((KEY, b"K\x01Q")) + STOP,
    "scalar-of-a-page": PROTO + table((KEY, scalar("f8", bytes(5000)))) + STOP,
    "iters-of-text": PROTO + table((text("iters:0"), text("many"))) + STOP,
    "iters-of-512-bits": PROTO + table((text("iters:0"), b"\x8a\x3f" + b"\xff" * 62 + b"\x7f")) + STOP,
    "iter-infinite": PROTO + table((text("iter"), scalar("f8", INF)), (OPTIONS, b"}")) + STOP,
    "iter-of-512-bits": PROTO + table((text("iter"), b"\x8a\x3f" + b"\xff" * 62 + b"\x7f"), (OPTIONS, b"}")) + STOP,
    "options-in-themselves": PROTO + table(ITER, (OPTIONS, b"}\x94(" + text("archi") + b"h\x00u")) + STOP,
    "options-doubling": PROTO + table(ITER, (OPTIONS, table((text("face_type"), b"(" + DOUBLING + b"l")))) + STOP,
    "losses-doubling": PROTO + table(ITER, (text("loss_history"), DOUBLING)) + STOP,
    "losses-of-512-bits": PROTO
    + table(ITER, (text("loss_history"), b"](](\x8a\x3f" + b"\xff" * 62 + b"\x7fK\x01ee"))
    + STOP,
    "sample-in-itself": PROTO + table(ITER, (text("sample_for_preview"), b"]\x94(h\x00e")) + STOP,
    "sample-doubling": PROTO + table(ITER, (text("sample_for_preview"), b"(" + DOUBLING + b"l")) + STOP,
    "memo-beyond-reason": PROTO + b"}r\xff\xff\xff\xff" + STOP,
    "lists-in-lists": PROTO + b"]" * 5000 + b"a" * 4999 + STOP,
    "text-of-exabytes": PROTO + b"\x8d" + b"\xff" * 8 + STOP,
    "bytes-of-exabytes": PROTO + b"\x8e" + b"\xff" * 8 + STOP,
    "stack-never-ends": PROTO + b"(" * 5000,
}


def main() -> None:
    CORPUS.mkdir(exist_ok=True)
    for name, data in FILES.items():
        (CORPUS / name).write_bytes(data)


if __name__ == "__main__":
    main()

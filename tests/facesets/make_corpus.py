"""Writes tests/facesets/corpus: small files that once broke a reader, or that say something no honest file says.

    python tests/facesets/make_corpus.py

Everything is made here, so that each file's point can be read off its name and its line below. Files that a campaign
found are put into the folder by hand, with the campaign's seed in their name.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from made_faces import make_labelled_meta, make_meta
from understudy.facesets import encode_jpeg, pickles
from understudy.facesets.container import replace_payload
from understudy.facesets.metadata import to_dict, to_payload

CORPUS = Path(__file__).resolve().parent / "corpus"

TINY = encode_jpeg(np.full((16, 16, 3), 128, np.uint8), 50)
PLAIN, LABELLED = to_payload(make_meta(0)), to_payload(make_labelled_meta(1))
FACE = replace_payload(TINY, PLAIN)
SAMPLE = {"filename": "a.jpg", "face_type": 4, "landmarks": to_dict(make_meta(0))["landmarks"], "person_name": None}


def segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(payload)) + payload


def with_segments(*pieces: bytes) -> bytes:
    """The tiny picture with pieces right after its first marker."""
    return TINY[:2] + b"".join(pieces) + TINY[2:]


def array(content_length: int, shape: bytes) -> bytes:
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01"
        + shape
        + b"cnumpy\ndtype\n"
        b"X\x02\x00\x00\x00f8\x89\x88\x87R(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89B"
        + struct.pack("<I", content_length)
    )


def key(name: str) -> bytes:
    return b"X" + struct.pack("<I", len(name)) + name.encode()


def pack(config: bytes, offsets: list[int], faces: bytes = b"", *, version: int = 1, size: int | None = None) -> bytes:
    table = b"".join(struct.pack("<Q", offset % 2**64) for offset in offsets)
    return struct.pack("<QQ", version, len(config) if size is None else size) + config + table + faces


def named(*names: object) -> bytes:
    return pickles.dumps([{**SAMPLE, "filename": name} for name in names], 4)


PAIRS = b"](" + b"](G@\x00\x00\x00\x00\x00\x00\x00G@\x00\x00\x00\x00\x00\x00\x00e" * 68 + b"e"

DATA: dict[str, bytes] = {
    "plain": PLAIN,
    "labelled": LABELLED,
    "runs-a-program": b"\x80\x03}" + key("landmarks") + b"cos\nsystem\n" + key("true") + b"\x85Rs.",
    "runs-through-build": b"\x80\x03cnumpy\nndarray\n}" + key("__setstate__") + b"cos\nsystem\nsb.",
    "imports-by-stack": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x031+1\x85R.",
    "lists-in-lists": b"\x80\x03" + b"]" * 5000 + b"a" * 4999 + b".",
    "tuples-in-tuples": b"\x80\x03N" + b"\x85" * 5000 + b".",
    "dictionary-of-itself": b"\x80\x03}q\x00" + key("a") + b"h\x00s.",
    "landmarks-of-themselves": b"\x80\x03}" + key("landmarks") + b"]q\x00h\x00as.",
    "doubling-lists": b"\x80\x03}" + key("x") + b"]q\x00" + b"".join(
        b"(h%ch%ce]q%c" % (i, i, i + 1) for i in range(60)) + b"s.",
    "exabytes-of-text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b".",
    "gigabytes-of-bytes": b"\x80\x03B\xff\xff\xff\xff.",
    "array-of-gigabytes": b"\x80\x03}" + key("source_rect") + array(2**32 - 1, b"(K\x04t") + b"tbs.",
    "array-longer-than-its-shape": b"\x80\x03}" + key("source_rect") + array(32, b"(K\x05t") + bytes(32) + b"tbs.",
    "array-not-ended": b"\x80\x03}" + key("source_rect") + array(32, b"(K\x04t") + bytes(32) + b"es.",
    "landmarks-then-more": b"\x80\x03}" + key("landmarks") + PAIRS + b"(NNes.",
    "landmarks-shared": b"\x80\x03}(" + key("landmarks") + b"]q\x00" + PAIRS[1:] + key("source_landmarks") + b"h\x00u.",
    "landmarks-half-cut": b"\x80\x03}" + key("landmarks") + PAIRS[:700],
    "landmarks-not-numbers": b"\x80\x03}" + key("landmarks") + PAIRS.replace(
        b"@\x00\x00\x00\x00\x00\x00\x00", b"\x7f\xf8\x00\x00\x00\x00\x00\x00") + b"s.",
    "name-leaves-the-folder": pickles.dumps({**to_dict(make_meta(0)), "source_filename": "../../../evil.png"}, 3),
    "name-is-a-folder": pickles.dumps({**to_dict(make_meta(0)), "source_filename": ".."}, 3),
    "name-with-null": pickles.dumps({**to_dict(make_meta(0)), "source_filename": "a\x00.png"}, 3),
    "mask-claims-gigapixels": pickles.dumps(
        {**to_dict(make_meta(0)), "xseg_mask": np.frombuffer(
            b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x00\x00\x00\x00", np.uint8)}, 3),
    "polygons-of-huge-numbers": pickles.dumps(
        {**to_dict(make_meta(0)), "seg_ie_polys": {"polys": [{"type": 1, "pts": [[1e308, -1e308]] * 4}]}}, 3),
    "polygons-of-signalling-nan": pickles.dumps({**to_dict(make_meta(0)), "seg_ie_polys": {"polys": [
        {"type": 1, "pts": np.frombuffer(b"\x01\x00\xa0\x7f" * 8, "<f4").reshape(4, 2)}]}}, 3),
    "confidence-of-text": pickles.dumps({**to_dict(make_meta(0)), "understudy_confidence": "high"}, 3),
}  # fmt: skip

FACES: dict[str, bytes] = {
    "plain": FACE,
    "labelled": replace_payload(TINY, LABELLED),
    "only-two-bytes": b"\xff\xd8",
    "fill-bytes-without-end": b"\xff\xd8" + b"\xff" * 3000,
    "segment-of-no-length": with_segments(b"\xff\xef\x00\x00"),
    "segment-past-the-end": TINY[:2] + b"\xff\xef\xff\xff" + PLAIN[:100],
    "two-kinds-of-data": with_segments(segment(0xEF, PLAIN), segment(0xEF, b"not a pickle")),
    "a-hundred-data-segments": with_segments(*[segment(0xEF, b"\x80\x03N.")] * 100),
    "picture-of-gigapixels": FACE.replace(struct.pack(">HH", 16, 16), struct.pack(">HH", 65500, 65500)),
    "picture-of-no-pixels": FACE.replace(struct.pack(">HH", 16, 16), struct.pack(">HH", 0, 0)),
    "twelve-components": FACE.replace(b"\x08\x00\x10\x00\x10\x03", b"\x08\x00\x10\x00\x10\x0c"),
    "scan-before-frame": TINY[:2] + segment(0xEF, PLAIN) + TINY[TINY.index(b"\xff\xda") :],
    "cut-in-the-scan": FACE[: FACE.index(b"\xff\xda") + 20],
    "restart-markers": with_segments(segment(0xDD, b"\x00\x01"), segment(0xEF, PLAIN)),
}
FACES |= {f"data-{name}": with_segments(segment(0xEF, data)) for name, data in DATA.items() if name.startswith("runs")}

PACKS: dict[str, bytes] = {
    "one-face": pack(named("a.jpg"), [0, len(FACE)], FACE),
    "empty": pack(named(), [0]),
    "another-version": pack(named("a.jpg"), [0, len(FACE)], FACE, version=2),
    "list-larger-than-the-file": pack(named("a.jpg"), [0, len(FACE)], FACE, size=2**63),
    "list-cut-short": pack(named("a.jpg"), [0, len(FACE)], FACE, size=100),
    "offsets-overlap": pack(named("a.jpg", "b.jpg", "c.jpg"), [0, 600, 300, len(FACE)], FACE),
    "offsets-backwards": pack(named("a.jpg", "b.jpg"), [900, 5, len(FACE)], FACE),
    "offsets-negative": pack(named("a.jpg", "b.jpg"), [-8, 600, len(FACE)], FACE),
    "offsets-past-the-end": pack(named("a.jpg", "b.jpg"), [0, 2**40, 2**41], FACE),
    "no-offsets": pack(named("a.jpg", "b.jpg"), []),
    "more-offsets-than-faces": pack(named("a.jpg"), [0, 10, 20, 30, len(FACE)], FACE),
    "fewer-offsets-than-faces": pack(named("a.jpg", "b.jpg", "c.jpg"), [0, len(FACE)], FACE),
    "name-leaves-the-folder": pack(named("../../evil.jpg"), [0, len(FACE)], FACE),
    "name-is-absolute": pack(named("/etc/evil.jpg"), [0, len(FACE)], FACE),
    "name-of-another-system": pack(named("..\\evil.jpg"), [0, len(FACE)], FACE),
    "name-is-a-number": pack(named(7), [0, len(FACE)], FACE),
    "name-twice": pack(named("a.jpg", "a.jpg"), [0, len(FACE), 2 * len(FACE)], FACE + FACE),
    "not-a-list": pack(pickles.dumps({"a": 1}, 4), [0]),
    "list-of-numbers": pack(pickles.dumps([1, 2], 4), [0, 0, 0]),
    "runs-a-program": pack(b"\x80\x04](cos\nsystem\n" + key("true") + b"\x85Re.", [0, 0]),
    "one-face-again-and-again": pack(b"\x80\x04](" + named("a.jpg")[4:-2] + b"\x94" + b"h\x00" * 3000 + b"e.", [0]),
    "list-in-itself": pack(b"\x80\x04]\x94(h\x00e.", [0, 0]),
    "face-is-noise": pack(named("a.jpg"), [0, 500], bytes(range(250)) * 2),
}


def main() -> None:
    for kind, made in (("data", DATA), ("faces", FACES), ("packs", PACKS)):
        folder = CORPUS / kind
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (folder / name).write_bytes(content)
    print(f"{sum(map(len, (DATA, FACES, PACKS)))} files in {CORPUS}")


if __name__ == "__main__":
    main()

"""Honest and dishonest face files to damage: `from fuzzing import corpus, kept`."""

from __future__ import annotations

from pathlib import Path

from made_faces import make_jpeg, make_labelled_meta, make_meta
from understudy.facesets.container import replace_payload
from understudy.facesets.metadata import to_payload

CORPUS = Path(__file__).parent / "corpus"
"""Small files that say what no honest file says; make_corpus.py writes them."""


def kept(kind: str) -> list[bytes]:
    """What the corpus holds of a kind: data, faces or packs."""
    return [path.read_bytes() for path in sorted((CORPUS / kind).iterdir())]


def corpus(golden: Path | None) -> list[bytes]:
    """Whole face files: ours, and those of the golden folder when it is there."""
    made = [
        replace_payload(make_jpeg(0), to_payload(make_meta(0))),
        replace_payload(make_jpeg(1), to_payload(make_labelled_meta(1))),
    ]
    found = sorted((golden / "files").rglob("*.jpg")) if golden else []
    return made + [path.read_bytes() for path in found]

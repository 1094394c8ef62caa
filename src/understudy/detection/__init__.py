"""Finding faces and their landmarks in pictures.

engine = load_engine()
for face in engine.find(rgb8):
    print(face.rect, face.landmarks.shape)
"""

from __future__ import annotations

from understudy.detection.found import Engine, FoundFace
from understudy.detection.loading import load_engine
from understudy.detection.options import ExtractOptions

__all__ = ["Engine", "ExtractOptions", "FoundFace", "load_engine"]

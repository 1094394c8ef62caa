"""The swap of held-out dst faces as a viewer sees it: whom it looks like, whether it speaks and looks as dst does, and
whether it holds still.

The face is laid over the plate inside the drawn masks first, since outside of them a network draws anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.curation.appearance import parts_of
from understudy.detection.pictures import Square
from understudy.errors import UnreadableFace
from understudy.evaluation.expression import expression_errors
from understudy.evaluation.flicker import flicker
from understudy.evaluation.landmarks import LandmarkReader
from understudy.evaluation.two_people import FEWEST, TwoPeople, learn
from understudy.facesets import Face, FaceMeta
from understudy.geometry import affine, alignment
from understudy.geometry.mean_face import MEAN_FACE
from understudy.records import FaceType
from understudy.training.faces.bank import FaceBank
from understudy.training.previews.preview import spread

LEARNED_FROM = 80
"""Training faces of each person that the classifier of likeness learns from, spread over the faceset."""

JUDGED_BY = 64
"""Unseen faces of each person that it is measured on."""

SIDE = 256
"""Faces are made smaller than this before landmarks are read; the network itself looks at 192 px."""

BLURS = (0.0, 0.03)
"""Sigmas, over the side of the square, in which each face is shown to the classifier of likeness: a soft swap of src is
src's."""

PRESENCE = 0.5
AT_ONCE = 16

Floats = NDArray[np.float64]
Picture8 = NDArray[np.uint8]


@dataclass(eq=False)
class SwapJudge:
    """What is needed to judge swaps of the same dst faces again and again. Belongs to one thread.

    dst: faces that are swapped; run: those of consecutive frames, None where there are none. learned, unseen: crops
    (N,S,S,3) uint8 of src and dst, for the classifier of likeness.
    """

    dst: FaceBank
    run: FaceBank | None
    face_type: FaceType
    _learned: list[Picture8]
    _unseen: list[Picture8]
    _reader: LandmarkReader | None = None
    _places: list[Square] | None = None
    _dst_landmarks: Floats | None = None
    _two_people: TwoPeople | None = None
    refused: str = field(default="")

    @classmethod
    def of(
        cls,
        dst: FaceBank,
        run: FaceBank | None,
        *,
        learned: tuple[FaceBank, FaceBank],
        unseen: tuple[FaceBank | None, FaceBank | None],
        face_type: FaceType,
    ) -> SwapJudge:
        """Take what is needed out of the banks. learned: training faces of src and dst; unseen: held-out ones, None
        where a side has none: then the last third of its training faces is kept from the classifier of likeness
        instead."""
        known, others = [], []
        for bank, held in zip(learned, unseen, strict=True):
            crops = _crops(bank, LEARNED_FROM)
            cut = len(crops) - len(crops) // 3 if held is None else len(crops)
            known.append(crops[:cut])
            others.append(crops[cut:] if held is None else _crops(held, JUDGED_BY))
        return cls(dst, run, face_type, known, others)

    def measure(self, net: nn.Module, device: torch.device) -> dict[str, float]:
        """Everything that concerns the swap, by the names of `scores.MEANINGS`; what cannot be measured is left out."""
        plates, swapped, _ = swaps(net, self.dst, device)
        values = self._expression(plates, swapped)
        values |= self.likeness(_small(_bytes(swapped)))
        if self.run is not None:
            run_plates, run_swapped, masks = swaps(net, self.run, device)
            values["flicker"] = flicker(list(run_swapped), list(run_plates), list(masks))
        return values

    def likeness(self, crops: Picture8) -> dict[str, float]:
        """Whom faces (N,S,S,3) look like: `likeness` and the classifier's accuracy; nothing where there is none.

        `likeness` is absent where the classifier hardly tells the two people apart; `refused` says so.
        """
        classifier = self._classifier()
        if classifier is None:
            return {}
        values = {"likeness_accuracy": classifier.accuracy}
        features = self._features(crops)
        if classifier.trusted and len(features):
            values["likeness"] = float(classifier.likeness(features).mean())
        return values

    def _expression(self, plates: NDArray[np.float32], swapped: NDArray[np.float32]) -> dict[str, float]:
        """Landmarks, openings and pose of the swap beside dst's, on the frames where both show a face."""
        small_plates, small_swapped = _small(_bytes(plates)), _small(_bytes(swapped))
        if self._places is None or self._dst_landmarks is None:
            self._places = self._places_of(small_plates)
            self._dst_landmarks, _ = self._reader_now().read(small_plates, self._places)
        found, presence = self._reader_now().read(small_swapped, self._places)
        seen = presence >= PRESENCE
        values = {"seen": float(seen.mean())}
        if seen.any():
            errors = expression_errors(found[seen], self._dst_landmarks[seen], size=small_plates.shape[1])
            values |= {name: value for name, value in errors.as_json().items() if value is not None}
        return values

    def _classifier(self) -> TwoPeople | None:
        """The classifier of likeness, made once; None where there are too few faces to make one."""
        if self._two_people is None and not self.refused:
            self._two_people = self._made()
            self._learned, self._unseen = [], []  # what it learned is enough
        return self._two_people

    def _made(self) -> TwoPeople | None:
        known = [self._features(crops, BLURS) for crops in self._learned]
        others = [self._features(crops) for crops in self._unseen]
        if min(map(len, [*known, *others])) < 2:
            self.refused = "there are too few faces to tell the two people apart"
            return None
        classifier = learn(known[0], known[1], others[0], others[1])
        if classifier.faces < FEWEST:
            self.refused = f"too few faces are held out to tell the two people apart: {FEWEST} of each are needed"
        elif not classifier.trusted:
            self.refused = (
                f"the two people cannot be told apart: {classifier.accuracy:.0%} of unseen faces are told right"
            )
        return classifier

    def _features(self, crops: Picture8, blurs: Sequence[float] = (0.0,)) -> Floats:
        """How faces look without their colours, (N,D): edges on the frontal face. Faces that none is seen in are left
        out. blurs: each face comes once for each of these sigmas, over its side."""
        if not len(crops):
            return np.empty((0, 1))
        landmarks, presence = self._reader_now().read(crops, self._places_of(crops))
        rows = []
        for crop, points, sure in zip(crops, landmarks, presence, strict=True):
            for blur in blurs if sure >= PRESENCE else ():
                shown = cv2.GaussianBlur(crop, (0, 0), blur * crop.shape[0]) if blur else crop
                with contextlib.suppress(UnreadableFace):
                    rows.append(_edges(np.asarray(shown, np.uint8), self.face_type, points))
        return np.array(rows, np.float64) if rows else np.empty((0, 1))

    def _places_of(self, crops: Picture8) -> list[Square]:
        """Where to look at faces in aligned squares."""
        return self._reader_now().places(crops, _usual_landmarks(self.face_type, crops.shape[1]))

    def _reader_now(self) -> LandmarkReader:
        if self._reader is None:
            self._reader = LandmarkReader()
        return self._reader


def swaps(
    net: nn.Module, bank: FaceBank, device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """dst's faces, the same with src's face laid over them, and where: (N,S,S,3) twice and (N,S,S), float32 0..1."""
    swapper: Any = net
    step = max(1, min(AT_ONCE, AT_ONCE * 128**2 // bank.size**2))
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, len(bank), step):
        pictures, _ = bank.fetch(np.arange(start, min(len(bank), start + step)), device)
        face, mask_swap, mask_dst = (part.float() for part in swapper.swap(pictures))
        mask = (mask_swap * mask_dst).clamp(0, 1)
        parts.append((pictures, (face * mask + pictures * (1 - mask)).clamp(0, 1), mask))
    plates, swapped, masks = (torch.cat(part).permute(0, 2, 3, 1).cpu().numpy() for part in zip(*parts, strict=True))
    return plates, swapped, masks[..., 0]


def _edges(crop: Picture8, face_type: FaceType, landmarks: Floats) -> NDArray[np.float32]:
    """Edges on the frontal face (D,). Raises UnreadableFace for landmarks in one point."""
    return parts_of(Face(crop, FaceMeta(face_type, landmarks))).edges.ravel()


def _crops(bank: FaceBank, most: int) -> Picture8:
    """Up to `most` faces spread over a bank, (N,S,S,3) uint8, no larger than `SIDE`."""
    return _small(np.ascontiguousarray(bank.take(np.array(spread(len(bank), most), np.int64)).numpy()[..., :3]))


def _small(pictures: Picture8) -> Picture8:
    """Pictures (N,S,S,3) no larger than `SIDE`."""
    if not len(pictures) or pictures.shape[1] <= SIDE:
        return pictures
    return np.stack([cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for picture in pictures])


def _bytes(pictures: NDArray[np.float32]) -> Picture8:
    return np.asarray(np.rint(255 * pictures), np.uint8)


def _usual_landmarks(face_type: FaceType, size: int) -> Floats:
    """Where landmarks lie in an aligned square, of the mean face: (68,2) px."""
    points = np.asarray(MEAN_FACE[:, :2], np.float64)
    return np.asarray(affine.apply(alignment.transform(points, size, face_type), points), np.float64)

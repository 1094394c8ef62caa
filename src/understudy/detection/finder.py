"""The default engine: BlazeFace says where a face may be, FaceMesh says what it looks like and whether it is one.

    whole picture · around the previous faces · tiles · turned pictures   → BlazeFace candidates
    candidates of one place                                               → FaceMesh, twice → presence → one face

BlazeFace is asked at a low threshold and often errs; FaceMesh's presence is what decides (figures in
docs/guide/extraction.md). The previous faces only say where else to ask BlazeFace.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from understudy.detection.blazeface import BlazeFace, Candidate
from understudy.detection.engines import FULL_RANGE, SHORT_RANGE
from understudy.detection.facemesh import MARGIN, FaceMesh, Mesh, square_around
from understudy.detection.found import FoundFace, checked_rect
from understudy.detection.mesh import landmarks_68
from understudy.detection.options import Accuracy
from understudy.detection.pictures import Picture, Square
from understudy.detection.two_step import Box, Look
from understudy.geometry.boxes import box_of, shared_area
from understudy.records import Rect

SCORE = 0.5
"""Candidates below this are not looked at."""

SCORE_NEAR_PREVIOUS = 0.3
"""The same, where the frame before had a face."""

PRESENCE = 0.5
"""What FaceMesh must say of its second look. Backs of heads and hands stay below 0.1 (docs/guide/extraction.md)."""

CONFIDENCE_IN_A_CROWD = 0.7
"""What a face must reach that lies on another or at its edge: ears and temples look like small turned faces."""

DISAGREEMENT = 0.2
"""Nose and mouth of BlazeFace and FaceMesh lie at most this far apart, over the size of the face: 0.03 as a rule,
above 0.2 where FaceMesh has made a face of an ear in a full profile."""

DISAGREEMENT_IN_RETRIES = 0.15
"""The same for faces that only a further square shows: of profiles those whose eyes lie on the cheek stay above it."""

TILE = 600
TILE_OVERLAP = 0.2
"""The full-range detector sees faces from a twentieth of its square on, so tiles of 600 px show those of 30 px."""

TILES_IN_TURN = 8
"""A quick search looks at every eighth tile, so that each tile is seen at least every eighth frame."""

WHOLE_IN_TURN = 3
"""A quick search asks the full-range detector about the whole picture every third time, and whenever a face is gone."""

SHIFTS = ((0.015, 0.008), (-0.015, -0.008))
"""Two more looks, shifted by so much of the square; the mean of three trembles a fifth less than one. --accuracy high
adds a second pass of six (docs/guide/engines.md)."""

TURNS = (math.pi / 2, -math.pi / 2, math.pi)
"""Further angles at which a thorough search sees the whole picture; upright finds faces turned by up to 60 degrees."""

SCORE_IN_RECT = 0.1
"""Candidates below this do not say how a head is turned in a rectangle that someone named."""

ROLLS = tuple(math.radians(degrees) for degrees in (0, -45, 45, -90, 90, 180))
"""Angles at which a rectangle is looked at when nobody says how the head is turned."""

RETRIES = tuple((scale, turn) for scale in (1.4, 1.2, 1.0, 0.87) for turn in (-0.35, 0.35, 0.0))
"""Further squares for the best candidates of a place where the first looks saw no face: scale and turn (radians) over
the first look's square."""


class MediapipeEngine:
    """BlazeFace and FaceMesh on the CPU. Belongs to one thread."""

    def __init__(self, *, threads: int = 1, accuracy: Accuracy = Accuracy.FAST) -> None:
        self._is_finer = accuracy == Accuracy.HIGH
        self._near = BlazeFace(SHORT_RANGE, threads=threads)
        self._far = BlazeFace(FULL_RANGE, threads=threads)
        self._mesh = FaceMesh(threads=threads)
        self._turn = 0

    def find(
        self, rgb8: NDArray[np.uint8], *, previous: Sequence[FoundFace] | None = None, max_faces: int = 0
    ) -> list[FoundFace]:
        """See `found.Engine.find`."""
        picture = Picture(rgb8)
        self._turn = 0 if previous is None else self._turn + 1
        is_far_due = not previous or self._turn % WHOLE_IN_TURN == 0
        faces: list[FoundFace] = []
        self._add(faces, picture, self._candidates(picture, previous, far=is_far_due))
        if previous and not is_far_due and len(faces) < len(previous):
            self._add(faces, picture, self._far.find(picture, picture.whole, threshold=SCORE))
        faces.sort(key=lambda face: -face.rect.area)
        return faces[:max_faces] if max_faces else faces

    def find_batch(self, pictures: Sequence[NDArray[np.uint8]], *, max_faces: int = 0) -> list[list[FoundFace]]:
        """See `found.Engine.find_batch`; here one after the other."""
        return [self.find(rgb8, max_faces=max_faces) for rgb8 in pictures]

    def landmarks_in(self, rgb8: NDArray[np.uint8], rect: Rect, *, turn: float | None = None) -> FoundFace:
        """See `found.Engine.landmarks_in`. About 15 ms of one core, whatever the size of the frame."""
        rect = checked_rect(rect, rgb8.shape[1], rgb8.shape[0])
        picture = Picture(rgb8)
        square = Square(
            (rect.left + rect.right) / 2,
            (rect.top + rect.bottom) / 2,
            max(rect.width, rect.height) * MARGIN,
            turn or 0.0,
        )
        squares = [square] if turn is not None else self._guesses(picture, square, rect)
        looks = [self._mesh.look(picture, guess) for guess in squares]
        mesh, presence = max(looks, key=lambda look: look[1])
        for _ in range(2):
            nearer = square_around(mesh)
            again = self._mesh.look(picture, nearer)
            if again[1] < min(presence, PRESENCE) or not same_face(box_of(again[0][:, :2]), rect):
                return FoundFace(box_of(mesh[:, :2]), landmarks_68(mesh), mesh, presence)
            square, (mesh, presence) = nearer, again
        mesh = self._mean_of_looks(picture, square, mesh)
        return FoundFace(box_of(mesh[:, :2]), landmarks_68(mesh), mesh, presence)

    def _guesses(self, picture: Picture, square: Square, rect: Rect) -> list[Square]:
        """Where the first looks at a rectangle go: as BlazeFace sees the head turned there, upright, and all around."""
        seen = self._near.find(picture, square.scaled(1.2), threshold=SCORE_IN_RECT)
        there = [item.square.scaled(MARGIN) for item in seen if same_face(_box(item.square), rect)]
        return [*there[:2], *(Square(square.x, square.y, square.side, turn) for turn in ROLLS)]

    def _mean_of_looks(self, picture: Picture, square: Square, mesh: Mesh) -> Mesh:
        """The mean of a look at the right square and of looks at squares shifted a little."""
        meshes = [mesh, *(self._mesh.look(picture, square.moved(x, y))[0] for x, y in SHIFTS)]
        mean: Mesh = np.stack(meshes).mean(axis=0)
        return self._second_pass(picture, mean) if self._is_finer else mean

    def _second_pass(self, picture: Picture, mesh: Mesh) -> Mesh:
        """The mean of six looks, three of them mirrored, at the square that the mean of the first looks asks for."""
        square = square_around(mesh)
        squares = [square, *(square.moved(x, y) for x, y in SHIFTS)]
        looks = [self._mesh.look(picture, s, mirrored=side) for s in squares for side in (False, True)]
        mean: Mesh = np.stack([found for found, _ in looks]).mean(axis=0)
        return mean

    def _add(self, faces: list[FoundFace], picture: Picture, candidates: Sequence[Candidate]) -> None:
        """Add to `faces` those that the candidates show and that are not there yet."""
        for place in places(candidates):
            if not any(same_face(face.rect, _box(place[0].square)) for face in faces):
                face = self._confirm(picture, place)
                if face is not None and all(may_stand_beside(other.rect, face) for other in faces):
                    faces.append(face)

    def _candidates(self, picture: Picture, previous: Sequence[FoundFace] | None, *, far: bool) -> list[Candidate]:
        found = self._near.find(picture, picture.whole, threshold=SCORE)
        if far:
            found += self._far.find(picture, picture.whole, threshold=SCORE)
        for face in previous or ():
            if face.mesh is not None:
                found += self._near.find(picture, square_around(face.mesh), threshold=SCORE_NEAR_PREVIOUS)
        for square in self._further_squares(picture, thorough=previous is None):
            found += self._far.find(picture, square, threshold=SCORE)
        return found

    def _further_squares(self, picture: Picture, *, thorough: bool) -> Iterator[Square]:
        """Tiles and turned pictures for a thorough search, some of the tiles for a quick one."""
        for number, tile in enumerate(tiles(picture.width, picture.height)):
            if thorough or (number + self._turn) % TILES_IN_TURN == 0:
                yield tile
        if thorough:
            whole = picture.whole
            yield from (Square(whole.x, whole.y, whole.side, turn) for turn in TURNS)

    def _confirm(self, picture: Picture, place: Sequence[Candidate]) -> FoundFace | None:
        """The face at a place, if there is one."""
        for candidate in place[:3]:
            face = self._look(picture, candidate.square.scaled(MARGIN), candidate)
            if face is not None:
                return face
        for candidate in place[:2]:
            if candidate.score < SCORE:
                return None
            first = candidate.square.scaled(MARGIN)
            retries = (Square(first.x, first.y, first.side * scale, first.angle + turn) for scale, turn in RETRIES)
            faces = (self._look(picture, square, candidate, DISAGREEMENT_IN_RETRIES) for square in retries)
            face = next((face for face in faces if face is not None), None)
            if face is not None:
                return face
        return None

    def _look(
        self, picture: Picture, square: Square, candidate: Candidate, limit: float = DISAGREEMENT
    ) -> FoundFace | None:
        """Look once to find the right square, then three times in that. Both networks must mean the same face."""
        mesh, presence = self._mesh.look(picture, square)
        if presence < PRESENCE:
            return None
        square = square_around(mesh)
        mesh, presence = self._mesh.look(picture, square)
        if presence < PRESENCE or disagreement(mesh, candidate) > limit:
            return None
        mesh = self._mean_of_looks(picture, square, mesh)
        return FoundFace(box_of(mesh[:, :2]), landmarks_68(mesh), mesh, min(candidate.score, presence))


class MediapipeBoxes:
    """The embedded engine as the detector of another landmarker. See `two_step.Detector`."""

    def __init__(self, *, threads: int = 1) -> None:
        self._engine = MediapipeEngine(threads=threads, accuracy=Accuracy.FAST)

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Box]]:
        found = self._engine.find_batch(pictures)
        return [[Box(face.rect, face.confidence) for face in faces] for faces in found]


class MediapipeLandmarks:
    """FaceMesh as the landmarker of another detector. See `two_step.Landmarker`."""

    def __init__(self, *, threads: int = 1) -> None:
        self._engine = MediapipeEngine(threads=threads, accuracy=Accuracy.FAST)

    def landmarks(self, looks: Sequence[Look]) -> list[tuple[NDArray[np.float64], float]]:
        faces = [self._engine.landmarks_in(look.picture, _moved(look.rect, look.shift)) for look in looks]
        return [(face.landmarks, face.confidence) for face in faces]


def _moved(rect: Rect, shift: tuple[float, float]) -> Rect:
    x, y = shift
    return Rect(rect.left + x, rect.top + y, rect.right + x, rect.bottom + y)


def tiles(width: int, height: int) -> Iterator[Square]:
    """Overlapping squares of TILE px that cover a picture larger than that; none for a smaller one.

    Very large pictures get a layer of larger squares too, for the faces between the tiles' largest and the whole's
    smallest.
    """
    side = max(width, height) / 8
    layers = [float(TILE)]
    while side > TILE * 2:
        layers.append(side)
        side /= 8
    for side in layers:
        if max(width, height) > side * 1.25:
            columns, rows = _centres(width, side), _centres(height, side)
            yield from (Square(x, y, side) for y in rows for x in columns)


def _centres(length: int, side: float) -> list[float]:
    if length <= side:
        return [length / 2 - 0.5]
    count = math.ceil((length - side * TILE_OVERLAP) / (side * (1 - TILE_OVERLAP)))
    return [float(centre) for centre in np.linspace(side / 2, length - side / 2, count) - 0.5]


def places(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """Candidates that may be one face put together, each list and the lists themselves best first."""
    grouped: list[list[Candidate]] = []
    for candidate in sorted(candidates, key=lambda item: -item.score):
        box = _box(candidate.square)
        for group in grouped:
            if same_face(box, _box(group[0].square)):
                group.append(candidate)
                break
        else:
            grouped.append([candidate])
    return grouped


def disagreement(mesh: Mesh, candidate: Candidate) -> float:
    """How far apart the two networks see nose and mouth, over the size of the face."""
    nose, mouth = mesh[1, :2], (mesh[13, :2] + mesh[14, :2]) / 2
    apart = np.linalg.norm(candidate.points[2:4] - np.stack([nose, mouth]), axis=1).mean()
    return float(apart) / max(1e-6, math.sqrt(box_of(mesh[:, :2]).area))


def same_face(one: Rect, other: Rect) -> bool:
    """Whether two boxes show one face: they overlap a lot, or one holds most of the other."""
    common = shared_area(one, other)
    return common > 0.4 * (one.area + other.area - common) or common > 0.7 * min(one.area, other.area)


def may_stand_beside(found: Rect, face: FoundFace) -> bool:
    """Whether a further face is believed beside one that is found already: over an edge of it only if clearly seen."""
    if same_face(found, face.rect):
        return False
    common = shared_area(_grown(found, 1.3), face.rect)
    return common < 0.15 * min(found.area, face.rect.area) or face.confidence >= CONFIDENCE_IN_A_CROWD


def _grown(rect: Rect, factor: float) -> Rect:
    wide, high = rect.width * (factor - 1) / 2, rect.height * (factor - 1) / 2
    return Rect(rect.left - wide, rect.top - high, rect.right + wide, rect.bottom + high)


def _box(square: Square) -> Rect:
    half = square.side / 2
    return Rect(square.x - half, square.y - half, square.x + half, square.y + half)

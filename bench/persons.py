"""How fast people are told apart and duplicates found, and how both grow with the number of faces."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import psutil

from understudy.curation.appearance import describe
from understudy.curation.duplicates import DIMENSIONS as PRINT_LENGTH
from understudy.curation.duplicates import find_duplicates, print_of
from understudy.curation.person_options import DedupeOptions
from understudy.curation.persons import group_faces
from understudy.curation.runs import Sighting
from understudy.demo.footage import Performer, draw_shot
from understudy.facesets import Face, FaceMeta
from understudy.geometry import affine, transform
from understudy.records import FaceType

SIZE = 512
LOOK_LENGTH = 602
PEOPLE = 30


def run(quick: bool) -> dict[str, Any]:
    """Looks and prints of 512 px faces per second of one core, without decoding; seconds of grouping and of finding
    duplicates for made looks and prints: footage in tracks of 100 frames, stills that nothing connects."""
    cv2.setNumThreads(1)
    faces = drawn_faces(8 if quick else 24)
    sizes = (2_000,) if quick else (10_000, 50_000)
    return {
        "describe_per_s": round(per_second(describe, faces)),
        "print_per_s": round(per_second(print_of, faces)),
        **{f"group_{size}_in_tracks_s": seconds_of_grouping(size, 100) for size in sizes},
        **{f"group_{size}_stills_s": seconds_of_grouping(size, 1) for size in sizes[:1]},
        **{f"duplicates_of_{size}_s": seconds_of_duplicates(size) for size in sizes},
        "memory_MiB": psutil.Process().memory_info().rss >> 20,
    }


def drawn_faces(count: int) -> list[Face]:
    """Faces of a performance, cut at 512 px."""
    shot = draw_shot(Performer.ASTRONAUT, frames=count, fps=5, size=(1280, 720))
    faces = []
    for frame, landmarks in zip(shot.frames(), shot.truth.landmarks, strict=True):
        matrix = transform(landmarks, SIZE, FaceType.WHOLE_FACE)
        picture = np.asarray(cv2.warpAffine(frame, matrix, (SIZE, SIZE)), np.uint8)
        faces.append(Face(picture, FaceMeta(FaceType.WHOLE_FACE, affine.apply(matrix, landmarks))))
    return faces


def per_second(work: Callable[[Face], Any], faces: list[Face], rounds: int = 5) -> float:
    """Faces per second of the best round."""
    best = float("inf")
    work(faces[0])
    for _ in range(rounds):
        started = time.perf_counter()
        for face in faces:
            work(face)
        best = min(best, time.perf_counter() - started)
    return len(faces) / best


def seconds_of_grouping(count: int, track: int) -> float:
    """Thirty people in tracks of so many frames; 1: stills."""
    random = np.random.default_rng(0)
    people = random.normal(size=(PEOPLE, LOOK_LENGTH)).astype(np.float32)
    who = np.arange(count) // track % PEOPLE
    looks = people[who] + random.normal(0, 0.3, (count, LOOK_LENGTH)).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    is_footage = track > 1
    sightings = [
        Sighting(f"{n:06d}", n if is_footage else None, n // track if is_footage else None) for n in range(count)
    ]
    started = time.perf_counter()
    group_faces(sightings, looks)
    return round(time.perf_counter() - started, 2)


def seconds_of_duplicates(count: int) -> float:
    """A face that moves between a few hundred expressions, ten frames to each, with noise."""
    random = np.random.default_rng(0)
    basis = random.normal(0, 32, (20, PRINT_LENGTH))
    stations = random.dirichlet(np.full(20, 0.2), count // 10 + 2) @ basis
    prints = np.empty((count, PRINT_LENGTH), np.int8)
    for number in range(count):
        part = number % 10 / 10
        blend = stations[number // 10] * (1 - part) + stations[number // 10 + 1] * part
        prints[number] = np.clip(np.rint(blend + random.normal(0, 1, PRINT_LENGTH)), -127, 127)
    worth = random.random(count).tolist()
    started = time.perf_counter()
    find_duplicates(prints, worth, DedupeOptions().threshold)
    return round(time.perf_counter() - started, 2)

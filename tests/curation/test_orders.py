"""Chains, distances, best faces and measures: each against the plain way of computing it, or against what it is for."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from made_faces import make_meta
from small_faces import face_files
from understudy.curation import chains, differences, measures
from understudy.curation.best_faces import YAW_BINS, Candidate, best_faces, share_of
from understudy.curation.chains import nearest_chain
from understudy.curation.histograms import (
    ColourDistances,
    chain_parts,
    colour_histogram,
    distances_to,
    grey_histogram,
    in_parts,
    summed_distances,
)
from understudy.curation.looks import LookDistances, nearest_distances
from understudy.curation.sort_options import SortBy
from understudy.curation.sorting import METHODS, Context, number_in_name
from understudy.errors import UsageError
from understudy.facesets import Face, decode_jpeg
from understudy.records import Side


def drifting(count: int, seed: int = 0) -> np.ndarray:
    """Histograms as footage gives them, with some pictures that are there twice and three times."""
    rng, levels = np.random.default_rng(seed), np.arange(256)
    middles = np.cumsum(rng.normal(0, 1, (count, 3)), axis=0) + 120
    middles[:: count // 7] += 40
    shares = np.exp(-0.5 * ((levels - middles[..., None]) / 25) ** 2) + 1e-4
    made = rng.poisson(shares / shares.sum(-1, keepdims=True) * 9000).astype(np.float32)
    made[count // 2], made[count // 3], made[7] = made[3], made[3], made[count - 1]
    return made


def plain_chain(count: int, distances: Callable[[int, np.ndarray], np.ndarray]) -> list[int]:
    order = list(range(count))
    for step in range(count - 1):
        away = distances(order[step], np.array(order[step + 1 :]))
        best = step + 1 + int(np.argmin(away))
        order[step + 1], order[best] = order[best], order[step + 1]
    return order


@pytest.mark.parametrize(("count", "seed"), [(1, 0), (2, 0), (30, 1), (450, 2)])
def test_the_chain_is_that_of_the_plain_search(count: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with so short lists that searches and new lists are needed all the time."""
    made = drifting(count, seed) if count > 2 else np.ones((count, 3, 256), np.float32)
    expected = plain_chain(count, lambda one, others: distances_to(made[one], made[others]))
    assert nearest_chain(ColourDistances(made)) == expected
    monkeypatch.setattr(chains, "LISTED", 2)
    monkeypatch.setattr(chains, "_SEARCHES_PER_LISTING", 10_000)
    monkeypatch.setattr(chains, "_ROWS", 64)
    assert nearest_chain(ColourDistances(made)) == expected


def test_a_chain_of_looks() -> None:
    rng = np.random.default_rng(0)
    looks = rng.normal(0, 1, (300, 20)).astype(np.float32)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    looks[200] = looks[10]
    double = looks.astype(np.float64)
    expected = plain_chain(300, lambda one, others: 1 - (double[others] * looks[one]).sum(axis=1))
    assert nearest_chain(LookDistances(looks)) == expected
    near = nearest_distances(looks, looks[:50])
    assert near[:50] == pytest.approx(0, abs=1e-6)
    assert near[60] == pytest.approx((1 - double[:50] @ double[60]).min(), abs=1e-6)


def test_a_chain_stops_when_asked() -> None:
    asked = iter(range(10_000))
    assert len(nearest_chain(ColourDistances(drifting(300)), stop=lambda: next(asked) > 50)) < 300


def test_bounds_are_below_the_distances() -> None:
    made = drifting(120)
    distances = ColourDistances(made)
    bounds = distances.bounds(np.arange(120))
    exact = np.array([distances.exact(one, np.arange(120)) for one in range(120)])
    assert (bounds <= exact).all()
    assert np.abs(exact - bounds).max() < 0.03


def test_distances_are_those_of_opencv() -> None:
    made = drifting(20)
    for one in range(20):
        expected = [
            sum(cv2.compareHist(a, b, cv2.HISTCMP_BHATTACHARYYA) for a, b in zip(made[one], other, strict=True))
            for other in made
        ]
        assert distances_to(made[one], made) == pytest.approx(expected, abs=1e-6)
    grey = made[:, 0]
    sums = [sum(cv2.compareHist(a, b, cv2.HISTCMP_BHATTACHARYYA) for b in grey) for a in grey]
    assert summed_distances(grey) == pytest.approx(sums, abs=1e-6)


def test_histograms_count_the_channels_blue_first() -> None:
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[..., 0], picture[..., 2] = 255, 7
    counts = colour_histogram(picture)
    assert [(counts[0, 7], counts[1, 0], counts[2, 255])] == [(20, 20, 20)]
    assert counts.sum() == 60
    assert grey_histogram(picture[..., 2])[7] == 20


def test_parts_of_very_many() -> None:
    assert chain_parts(0) == []
    assert [len(part) for part in chain_parts(19_999)] == [19_999]
    assert [len(part) for part in chain_parts(50_000)] == [20_000, 20_000, 10_000]
    assert [len(part) for part in chain_parts(260_000)] == [21_848] * 11 + [19_672]
    assert sum(len(distances) for _, distances in in_parts(drifting(30))) == 30


def test_chains_of_pixels_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory and in a file, in one block and in many."""
    pictures = np.random.default_rng(0).integers(0, 255, (23, 8, 6, 3), np.uint8)
    pictures[9] = pictures[4]
    sums = np.abs(pictures[:, None].astype(int) - pictures).sum(axis=(2, 3, 4))
    near = plain_first(sums.astype(float))
    far = plain_first(-sums.astype(float))
    for held, in_memory in ((1 << 20, 100), (8 * 6 * 3 * 2 * 5, 5)):
        monkeypatch.setattr(differences, "HELD_BYTES", held)
        monkeypatch.setattr(differences, "IN_MEMORY", in_memory)
        chain = differences.chain_of_differences
        assert chain(23, lambda index: pictures[index], scratch=tmp_path) == near
        assert chain(23, lambda index: pictures[index], farthest=True, scratch=tmp_path) == far


def plain_first(sums: np.ndarray) -> list[int]:
    order = [0]
    while len(order) < len(sums):
        left = [index for index in range(len(sums)) if index not in order]
        order.append(min(left, key=lambda index: (sums[order[-1], index], index)))
    return order


def candidate(yaw: float, pitch: float = 0.0, sharpness: float = 1.0, level: int = 0) -> Candidate:
    histogram = np.zeros(256, np.float32)
    histogram[level] = 100
    return Candidate(sharpness, pitch, yaw, histogram)


def test_best_faces_come_from_every_direction_there_is() -> None:
    rng = np.random.default_rng(0)
    faces = [candidate(yaw, pitch, s) for yaw, pitch, s in rng.uniform(-1, 1, (4000, 3))]
    chosen = best_faces(faces, 128 * 4)
    assert len(set(chosen)) == len(chosen)
    assert 400 < len(chosen) < 800
    yaws = np.array([faces[index].yaw for index in chosen])
    assert np.histogram(yaws, 20, (-1, 1))[0].min() > 15
    assert np.mean(np.diff(yaws) < 0.02) > 0.99, "from the picture's left to its right"


def test_of_one_direction_the_sharpest_are_compared_and_the_most_unlike_taken() -> None:
    dull = [candidate(0.0, 0.0, 0.1, level=200) for _ in range(30)]
    sharp = [candidate(0.0, 0.0, 1.0, level=10) for _ in range(9)] + [candidate(0.0, 0.0, 0.9, level=90)]
    assert best_faces(dull + sharp, 10) == [39], "the one that looks unlike the other sharp ones"


def test_poor_directions_let_the_others_give_more() -> None:
    assert share_of(2000, [1000] * YAW_BINS) == 16
    assert share_of(2000, [1000] * 64 + [0] * 64) == 16 + 8
    assert share_of(10, [1000] * YAW_BINS) == 1
    faces = [candidate(0.0, pitch) for pitch in np.linspace(-1.5, 1.5, 500)]
    assert len(best_faces(faces, 2000)) == share_of(2000, [500] + [0] * 127) == 31


def test_far_turned_faces_are_in_the_outermost_bins() -> None:
    assert best_faces([candidate(-1.5), candidate(1.5), candidate(0.0)], 2000) == [1, 2, 0]


def order_of(by: SortBy, measured: list[Any], names: list[str], **more: Any) -> tuple[list[int], list[int]]:
    found = METHODS[by].order(measured, Context(names=names, **more))
    return found.kept, found.trashed


def test_one_face_in_its_frame_by_name_or_by_data() -> None:
    names = ["00001_0.jpg", "00002_0.jpg", "00002_1.jpg", "odd.jpg", "a_b_0.jpg"]
    assert order_of(SortBy.ONEFACE, [None] * 5, names) == ([0, 3, 4], [1, 2])
    sorted_names = ["00000.jpg", "00001.jpg", "00002.jpg"]
    assert order_of(SortBy.ONEFACE, ["7", "8", "7"], sorted_names) == ([1], [0, 2])
    with pytest.raises(UsageError, match="which frames"):
        order_of(SortBy.ONEFACE, [None] * 3, sorted_names)
    assert number_in_name("two_words_12.jpg") == ("two_words", 12)
    assert number_in_name("12.jpg") is None


def test_ties_are_broken_by_name_and_keep_takes_the_first() -> None:
    assert order_of(SortBy.BRIGHTNESS, [1.0, 2.0, 1.0, 2.0], list("abcd")) == ([1, 3, 0, 2], [])
    assert order_of(SortBy.BLACK, [1.0, 2.0, 1.0, 2.0], list("abcd"), keep=3) == ([0, 2, 1], [3])
    assert order_of(SortBy.BLUR, [0.0, 0.4, 0.0, 0.5], list("abcd"), keep=1) == ([3], [1, 0, 2])
    assert order_of(SortBy.CONFIDENCE, [0.2, None, 0.9, None], list("abcd")) == ([2, 0, 1, 3], [])
    tracks = [(False, 2, "00001.png"), (True, 0, "00002.png"), (False, 0, "00009.png"), (False, 0, "00003.png")]
    assert order_of(SortBy.TRACK, tracks, list("abcd")) == ([3, 2, 0, 1], [])


def test_pictures_of_several_sizes_have_no_pixel_differences() -> None:
    with pytest.raises(UsageError, match="64x96, 96x96"):
        order_of(SortBy.ABSDIFF, [(96, 96), (96, 64)], ["a", "b"], picture=lambda index: np.zeros(1))


def test_every_order_is_in_the_table_and_says_what_it_does() -> None:
    assert list(METHODS) == list(SortBy)
    assert all(len(method.help) > 15 and method.needs in ("names", "data", "pictures") for method in METHODS.values())


def face() -> Face:
    _, jpeg, meta = face_files(Side.SRC)[0]
    picture = cv2.resize(decode_jpeg(jpeg), (256, 256), interpolation=cv2.INTER_LANCZOS4)
    return Face(picture, meta.but(landmarks=meta.landmarks * 4))


def test_measures_follow_what_they_are_named_after() -> None:
    one = face()
    soft = Face(cv2.GaussianBlur(one.rgb8, (0, 0), 3), one.meta)
    assert measures.sharpness(one) > 1.3 * measures.sharpness(soft)
    assert measures.eyes_sharpness(one) > 1.3 * measures.eyes_sharpness(soft)
    lids = one.rgb8.copy()
    eyes = one.meta.landmarks[36:48].round().astype(int)
    top, bottom = eyes[:, 1].min() - 12, eyes[:, 1].max() + 12
    lids[top:bottom] = cv2.GaussianBlur(lids, (0, 0), 6)[top:bottom]
    only_eyes = Face(lids, one.meta)
    assert measures.eyes_sharpness(only_eyes) < 0.7 * measures.eyes_sharpness(one)
    assert measures.sharpness(only_eyes) > 0.7 * measures.sharpness(one)
    assert measures.brightness(Face(one.rgb8 // 2, one.meta)) == pytest.approx(measures.brightness(one) / 2, abs=0.01)


def test_light_comes_from_where_it_is_brighter() -> None:
    one = face()
    even = Face(np.full_like(one.rgb8, 120), one.meta)
    assert measures.light_direction(even) == pytest.approx((0, 0), abs=0.02)
    ramp = np.linspace(60, 180, 256).astype(np.uint8)
    right = Face(np.broadcast_to(ramp[None, :, None], one.rgb8.shape).copy(), one.meta)
    below = Face(np.broadcast_to(ramp[:, None, None], one.rgb8.shape).copy(), one.meta)
    assert measures.light_direction(right).right > 0.15 > abs(measures.light_direction(right).down)
    assert measures.light_direction(below).down > 0.15 > abs(measures.light_direction(below).right)
    assert measures.light_direction(Face(np.zeros_like(one.rgb8), one.meta)) == (0, 0)


def test_strange_landmarks_are_no_crash() -> None:
    meta = make_meta(0).but(landmarks=np.full((68, 2), 1e6))
    away = Face(np.full((96, 96, 3), 99, np.uint8), meta)
    assert measures.sharpness(away) == measures.eyes_sharpness(away) == 0
    assert measures.light_direction(away) == (0, 0)
    assert measures.brightness(away) == pytest.approx(99 / 255)
    assert all(math.isfinite(angle) for angle in measures.yaw_pitch(meta, 96))

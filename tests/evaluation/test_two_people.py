"""The judge of likeness: it tells two people apart, says how well, and is not asked when it cannot."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from understudy.evaluation.two_people import TwoPeople, learn

Floats = NDArray[np.float64]


def people(apart: float, count: int = 40, seed: int = 0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    direction = np.zeros(30)
    direction[:5] = apart / 2
    return rng.normal(size=(count, 30)) + direction, rng.normal(size=(count, 30)) - direction


def judge(apart: float) -> TwoPeople:
    return learn(*people(apart), *people(apart, seed=1))


def test_unseen_faces_of_each_person_mark_the_ends_of_the_scale() -> None:
    src, dst = people(3.0, seed=1)
    found = judge(3.0)
    assert found.accuracy > 0.95
    assert found.trusted
    assert found.likeness(src).mean() == pytest.approx(1)
    assert found.likeness(dst).mean() == pytest.approx(0)


def test_half_way_between_two_people_is_half_as_like() -> None:
    src, dst = people(3.0, seed=2)
    assert judge(3.0).likeness((src + dst) / 2).mean() == pytest.approx(0.5, abs=0.1)


def test_a_judge_that_guesses_is_not_trusted() -> None:
    found = judge(0.0)
    assert found.accuracy < 0.75
    assert not found.trusted


def test_a_judge_of_too_few_unseen_faces_is_not_trusted() -> None:
    src, dst = people(3.0, count=3, seed=1)
    assert not learn(*people(3.0), src, dst).trusted


def test_unequal_numbers_of_faces_favour_nobody() -> None:
    src, dst = people(2.0, count=200)
    unseen_src, unseen_dst = people(2.0, seed=1)
    found = learn(src, dst[:20], unseen_src, unseen_dst)
    assert (found.likeness(unseen_dst) < 0.5).mean() > 0.8


def test_the_same_faces_make_the_same_judge() -> None:
    src, _ = people(1.0, seed=3)
    np.testing.assert_array_equal(judge(1.0).likeness(src), judge(1.0).likeness(src))

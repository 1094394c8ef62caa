"""Work in threads whose results come in order, with a bounded number under way."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import pytest

from understudy.stages.ordered import in_order


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_for_even(number: int) -> int:
        time.sleep(0.02 if number % 2 == 0 else 0)
        return number * number

    assert list(in_order(range(20), slow_for_even, workers=4, ahead=6)) == [number * number for number in range(20)]


def test_no_more_than_asked_for_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(50):
            taken += 1
            yield number

    for done, _ in enumerate(in_order(items(), lambda number: number, workers=3, ahead=4)):
        assert taken - done <= 4


def test_an_error_comes_where_its_result_would_have() -> None:
    def fail_at_three(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    results = in_order(range(10), fail_at_three, workers=2, ahead=4)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_leaving_early_drops_what_has_not_begun() -> None:
    begun: list[int] = []
    gate = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            gate.wait(5)
        return number

    with contextlib.closing(in_order(range(100), work, workers=2, ahead=20)) as results:
        assert next(results) == 0
        gate.set()
    assert len(begun) < 100

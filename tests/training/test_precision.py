"""The choice of number type: measured once, kept, ignored when stale, and refused where it cannot work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from understudy.errors import InvalidOption
from understudy.records import PrecisionChoice
from understudy.training.learning import precision
from understudy.training.learning.precision import Measurement, Precision, choose


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    return tmp_path / "home"


def store(home: Path, fp32_ms: float, bf16_ms: float, machine: dict[str, object] | None = None) -> None:
    home.mkdir(parents=True, exist_ok=True)
    measurement = {"fp32_ms": fp32_ms, "bf16_ms": bf16_ms}
    record = {"schema": precision.SCHEMA, "machine": machine or precision.machine(), "measurement": measurement}
    (home / "precision.json").write_text(json.dumps(record))


def test_a_processor_is_measured_once(home: Path) -> None:
    threads = torch.get_num_threads()
    first = precision.measure_cpu(rounds=1)
    assert torch.get_num_threads() == threads
    assert precision.measured() == first
    assert choose("cpu") == first.precision
    assert first.fp32_ms > 0 < first.bf16_ms


def test_the_faster_type_is_taken_when_it_is_worth_it(home: Path) -> None:
    store(home, 100, 50)
    assert choose("cpu") == Precision("bfloat16", True, 2)
    store(home, 100, 95)
    assert choose("cpu") == Precision("float32", True, 2)
    assert Measurement(100, 50).gain == 2


@pytest.mark.parametrize("damage", ["another machine", "broken"])
def test_what_was_measured_elsewhere_or_is_broken_does_not_count(home: Path, damage: str) -> None:
    store(home, 100, 50, {"processor": "another"})
    if damage == "broken":
        (home / "precision.json").write_text('{"schema": 3, "mach')
    assert precision.measured() is None
    assert choose("cpu", measure=False).dtype == "float32"


def test_a_persons_choice_stands(home: Path) -> None:
    store(home, 100, 50)
    assert choose("cpu", PrecisionChoice.FP32).dtype == "float32"
    assert choose("cpu", PrecisionChoice.BF16) == Precision("bfloat16", True, 2)
    assert choose("cuda:0", PrecisionChoice.FP16) == Precision("float16", True, 0)
    with pytest.raises(InvalidOption, match="fp16"):
        choose("cpu", PrecisionChoice.FP16)


def test_it_travels_in_a_checkpoint() -> None:
    chosen = Precision("bfloat16", True, 3)
    stored = json.loads(json.dumps(chosen.as_json()))
    assert Precision.of({**stored, "from_a_later_version": 1}) == chosen
    assert chosen.torch_dtype is torch.bfloat16

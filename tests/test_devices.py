"""What the machine says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy import devices
from understudy.errors import InvalidOption


def test_there_is_always_a_processor() -> None:
    found = devices.available()
    assert found[-1].id == "cpu"
    assert found[-1].memory > 1 << 28
    assert devices.best_device() == found[0]
    assert devices.device_named("auto") == found[0]
    assert devices.device_named("cpu").torch.type == "cpu"
    assert devices.physical_cores() >= 1
    assert 0 < devices.available_memory() <= found[-1].memory


def test_a_containers_share_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_CGROUP", tmp_path)
    free, cores = devices.available_memory(), devices.physical_cores()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert devices.physical_cores() == cores
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    assert devices.physical_cores() == 1
    assert devices.available_memory() == 600_000 < free


@pytest.mark.parametrize(("wanted", "threads"), [("1", 1), (" 3,2", 3), ("0", None), ("many", None), ("", None)])
def test_threads_are_those_of_the_environment(
    wanted: str, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert devices.computing_threads() == (threads or devices.physical_cores())


def test_an_unknown_device_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidOption, match="cuda:63") as caught:
        devices.device_named("cuda:63")
    assert "cpu" in caught.value.hint


def test_the_peak_is_a_rate() -> None:
    assert 0.1 < devices.matmul_peak(size=128, rounds=2) < 1e7

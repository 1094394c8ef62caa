"""What doctor says about machines that are not at hand, and that it finds its way around this one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from understudy.devices import Device
from understudy.stages import doctor as stage
from understudy.stages.doctor import GIB, Arithmetic, Diagnosis, Disk, Engine, Memory, Processor, doctor, judge

WELL = Diagnosis(
    versions={"understudy": "1"},
    devices=[Device("cpu", "cpu", "a processor", 32 * GIB)],
    precision=[Arithmetic("cpu", "bfloat16", 8, 1.7)],
    encoders={"libx264": True},
    engines=[Engine("face.tflite", Path("face.tflite"), "ab" * 32, True)],
    disk=Disk(Path("shot"), 500 * GIB, 1000 * GIB, "ext4", 900.0),
    user_data=Disk(Path("home"), 500 * GIB, 1000 * GIB, "ext4", 900.0),
    memory=Memory(32 * GIB, 24 * GIB, 8 * GIB, 0),
    processor=Processor(8, 16),
)


def said(found: Diagnosis) -> list[tuple[str, str]]:
    return [(finding.level, finding.message) for finding in judge(found)]


def test_a_healthy_machine_hears_nothing() -> None:
    assert said(WELL) == []


@pytest.mark.parametrize(
    ("ill", "level", "word"),
    [
        (replace(WELL, engines=[replace(WELL.engines[0], ok=False)]), "problem", "face.tflite"),
        (replace(WELL, engines=[]), "problem", "missing"),
        (
            replace(WELL, engines=[*WELL.engines, Engine("s3fd-fan: s3fd", Path("s"), "", False, bundled=False)]),
            "problem",
            "brought in have changed since: s3fd-fan: s3fd",
        ),
        (replace(WELL, has_second_opencv=True), "advice", "OpenCV"),
        (replace(WELL, encoders={"libx264": False}), "problem", "H.264"),
        (replace(WELL, disk=replace(WELL.disk, write_rate=None)), "problem", "cannot be written"),
        (replace(WELL, user_data=replace(WELL.user_data, write_rate=None)), "problem", "user data"),
        (replace(WELL, disk=replace(WELL.disk, free=GIB)), "advice", "nearly full"),
        (replace(WELL, disk=replace(WELL.disk, write_rate=12.0)), "advice", "slow"),
        (replace(WELL, disk=replace(WELL.disk, file_system="nfs4")), "advice", "network disk"),
        (replace(WELL, memory=replace(WELL.memory, swap_used=7 * GIB)), "advice", "swapping"),
        (replace(WELL, memory=replace(WELL.memory, available=GIB)), "advice", "Little memory"),
        (replace(WELL, processor=replace(WELL.processor, threads_asked=64)), "advice", "64 threads"),
        (replace(WELL, processor=replace(WELL.processor, load=40.0)), "advice", "busy"),
        (replace(WELL, processor=replace(WELL.processor, on_battery=True)), "advice", "battery"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_illness_is_named_once_with_a_remedy(ill: Diagnosis, level: str, word: str) -> None:
    findings = judge(ill)
    assert [(finding.level, word in finding.message) for finding in findings] == [(level, True)]
    assert all(finding.hint for finding in findings)


def test_problems_come_before_advice() -> None:
    ill = replace(WELL, disk=replace(WELL.disk, file_system="nfs"), encoders={"libx264": False})
    assert [finding.level for finding in judge(ill)] == ["problem", "advice"]


def test_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(stage, "DISK_TEST_MIB", 1)
    found = doctor(tmp_path / "not there yet")
    body = found.as_json()
    assert body["devices"][-1]["id"] == "cpu"
    assert body["precision"][-1]["gain"] > 0
    assert body["codecs"]["libx264"] is True
    assert all(engine["ok"] for engine in body["engines"])
    assert body["disk"]["free"] > 0
    assert body["disk"]["write_rate"] > 0
    assert body["processor"]["cores"] >= 1
    assert list(tmp_path.glob(".tmp-*")) == [], "the test file of the disk must go"

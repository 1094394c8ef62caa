"""What this machine can do, and what is wrong or unwise about it.

Facts are gathered first, each by a function of its own; judging them is separate and pure, so that tests can ask what
would be said about a machine that is not at hand.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
import time
import uuid
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import psutil

from understudy import __version__
from understudy.devices import Device, available, physical_cores
from understudy.files import TEMP_PREFIX, user_data_folder
from understudy.report import Note, Report, silent
from understudy.training.learning.precision import choose, measure_cpu, measured

GIB = 2**30
MIB = 2**20
LEAST_FREE_DISK = 10 * GIB
LEAST_FREE_SHARE = 0.03
SLOW_DISK_MIB_PER_SEC = 40.0
DISK_TEST_MIB = 32
LEAST_FREE_MEMORY = 4 * GIB
NETWORK_DISKS = ("nfs", "nfs4", "cifs", "smbfs", "smb3", "afpfs", "webdav", "fuse.sshfs", "ceph", "glusterfs", "lustre")
HARDWARE_ENCODERS = ("h264_nvenc", "hevc_nvenc", "h264_videotoolbox")
ENCODERS = ("libx264", "libx265", "ffv1", "prores_ks", "dnxhd", "aac", *HARDWARE_ENCODERS)


@dataclass(frozen=True)
class Disk:
    """The disk under one folder. write_rate: MiB/s of a short test with fsync; None where nothing can be written."""

    folder: Path
    free: int
    total: int
    file_system: str = ""
    write_rate: float | None = None


@dataclass(frozen=True)
class Memory:
    """Main memory and swap, in bytes."""

    total: int
    available: int
    swap_total: int
    swap_used: int


@dataclass(frozen=True)
class Processor:
    """cores: physical ones this process may use. threads_asked: OMP_NUM_THREADS, 0: not set. load: runnable tasks."""

    cores: int
    logical: int
    threads_asked: int = 0
    load: float = 0.0
    on_battery: bool = False


@dataclass(frozen=True)
class Arithmetic:
    """How networks are computed on one device. gain: how many times faster bf16 is than fp32; None: not measured."""

    device: str
    dtype: str
    threads: int
    gain: float | None = None


@dataclass(frozen=True)
class Engine:
    """One network file: a bundled one, held to its pinned hash, or one that the user brought in and is whole or not."""

    name: str
    path: Path
    sha256: str
    ok: bool
    bundled: bool = True


@dataclass(frozen=True)
class Finding:
    """Something about the machine that a person should know. problem: something will not work; advice: unwise."""

    level: Literal["problem", "advice"]
    message: str
    hint: str


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `understudy doctor` shows."""

    versions: dict[str, str]
    devices: list[Device]
    precision: list[Arithmetic]
    encoders: dict[str, bool]
    engines: list[Engine]
    disk: Disk
    user_data: Disk
    memory: Memory
    processor: Processor
    has_second_opencv: bool = False
    findings: list[Finding] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values; sizes in bytes."""
        return {
            "ok": True,
            "healthy": not any(finding.level == "problem" for finding in self.findings),
            "versions": self.versions,
            "devices": [{"id": d.id, "name": d.name, "kind": d.kind, "memory": d.memory} for d in self.devices],
            "precision": [vars(found) for found in self.precision],
            "codecs": self.encoders,
            "engines": [_plain(vars(engine)) for engine in self.engines],
            "disk": _plain(vars(self.disk)),
            "user_data_folder": _plain(vars(self.user_data)),
            "memory": vars(self.memory),
            "processor": vars(self.processor),
            "findings": [vars(finding) for finding in self.findings],
        }


def doctor(folder: Path, *, report: Report = silent) -> Diagnosis:
    """Examine the machine, and the disk under `folder`. Measures what bf16 gains the first time, in some seconds."""
    devices = available()
    report(Note("Measuring what reduced precision gains here; remembered for the next time …", "debug"))
    home = user_data_folder()
    found = Diagnosis(
        versions=versions(),
        devices=devices,
        precision=[arithmetic(device) for device in devices],
        encoders=encoders(),
        engines=engines(),
        has_second_opencv=has_second_opencv(),
        disk=disk_under(folder),
        user_data=disk_under(home),
        memory=memory(),
        processor=processor(),
    )
    found.findings.extend(judge(found))
    return found


def judge(found: Diagnosis) -> list[Finding]:
    """What is wrong, then what is unwise."""
    engines_wrong = [engine.name for engine in found.engines if engine.bundled and not engine.ok]
    brought_wrong = [engine.name for engine in found.engines if not engine.bundled and not engine.ok]
    checks = [
        _problem(
            bool(engines_wrong) or not found.engines,
            f"Networks that find faces are missing or changed: {', '.join(engines_wrong) or 'all'}.",
            "Install understudy again: its build takes them out of their pinned package.",
        ),
        _problem(
            bool(brought_wrong),
            f"Weights that you brought in have changed since: {', '.join(brought_wrong)}.",
            "Bring the published files in again: understudy engines add FILE",
        ),
        _advice(
            found.has_second_opencv,
            "Two packages of OpenCV are installed, and each overwrites files of the other.",
            "Keep one: pip uninstall -y opencv-python opencv-python-headless; pip install opencv-python-headless",
        ),
        _problem(
            not found.encoders.get("libx264", False),
            "PyAV has no H.264 encoder, so no mp4 can be delivered.",
            "Install the av package's own wheel, not one built against another FFmpeg.",
        ),
        *_disk_findings(found.disk, "The folder"),
        _problem(
            found.user_data.write_rate is None,
            "The user data folder cannot be written: measurements and shared engines cannot be kept.",
            f"Make {found.user_data.folder} writable, or name another folder in UNDERSTUDY_HOME.",
        ),
        *_memory_findings(found.memory),
        *_processor_findings(found.processor),
    ]
    return sorted((check for check in checks if check), key=lambda finding: finding.level != "problem")


def versions() -> dict[str, str]:
    """Of understudy, Python, the system and the libraries that the results depend on."""
    from importlib.metadata import version

    libraries = ("torch", "av", "opencv-python-headless", "ai-edge-litert", "numpy")
    own = {"understudy": __version__, "python": platform.python_version(), "system": platform.platform()}
    return {**own, **{name: version(name) for name in libraries}}


def encoders() -> dict[str, bool]:
    """Which of the encoders that delivery can use work here; those of a GPU only count when one can be opened."""
    import av.codec

    there = {name: name in av.codec.codecs_available for name in ENCODERS}
    return {name: found and (name not in HARDWARE_ENCODERS or _opens(name)) for name, found in there.items()}


def _opens(encoder: str) -> bool:
    import av

    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt, context.framerate = 256, 256, "yuv420p", Fraction(25)
    try:
        context.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


def engines() -> list[Engine]:
    """The bundled networks with their pinned hashes, and those that the user brought in."""
    from understudy.detection.engines import bundled
    from understudy.stages.engines import list_engines

    brought = {
        file.path: Engine(f"{state.info.name}: {file.name}", file.path, file.sha256 or "", file.ok, bundled=False)
        for state in list_engines()
        for file in state.files
        if file.present and file.origin != "bundled"
    }
    return [*(Engine(item.name, item.path, item.sha256, item.ok) for item in bundled()), *brought.values()]


def has_second_opencv() -> bool:
    """Whether opencv-python is installed beside the headless package, as face-alignment's own package asks."""
    from importlib.metadata import PackageNotFoundError, distribution

    names = ("opencv-python", "opencv-contrib-python")
    for name in names:
        with contextlib.suppress(PackageNotFoundError):
            distribution(name)
            return True
    return False


def arithmetic(device: Device) -> Arithmetic:
    """What `--precision auto` means on a device; a processor is measured the first time."""
    if device.kind != "cpu":
        chosen = choose(device.id)
        return Arithmetic(device.id, chosen.dtype, chosen.threads)
    timing = measured() or measure_cpu()
    return Arithmetic(device.id, timing.precision.dtype, timing.precision.threads, round(timing.gain, 2))


def disk_under(folder: Path) -> Disk:
    """The disk that holds `folder`, or that would hold it. Writes a test file of some MiB and removes it."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    usage = shutil.disk_usage(there)
    return Disk(folder, usage.free, usage.total, file_system(there), write_rate(there))


def write_rate(folder: Path) -> float | None:
    """MiB/s of writing a file of DISK_TEST_MIB with fsync; None where nothing can be written."""
    path, block = folder / f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-disk", os.urandom(MIB)
    started = time.perf_counter()
    try:
        with path.open("wb") as file:
            for _ in range(DISK_TEST_MIB):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return None
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return DISK_TEST_MIB / (time.perf_counter() - started)


def file_system(folder: Path) -> str:
    """The kind of file system that holds a folder, such as ext4 or nfs; empty where the system does not say."""
    where = str(folder.resolve())
    mounts = [part for part in psutil.disk_partitions(all=True) if _holds(part.mountpoint, where)]
    return str(max(mounts, key=lambda part: len(part.mountpoint)).fstype) if mounts else ""


def memory() -> Memory:
    main, swap = psutil.virtual_memory(), psutil.swap_memory()
    return Memory(main.total, main.available, swap.total, swap.used)


def processor() -> Processor:
    """Cores, what the environment asks of them, and what else keeps them busy."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return Processor(
        cores=physical_cores(),
        logical=psutil.cpu_count() or 1,
        threads_asked=int(asked) if asked.isdigit() else 0,
        load=round(load, 2),
        on_battery=battery is not None and not battery.power_plugged,
    )


def _disk_findings(disk: Disk, name: str) -> list[Finding | None]:
    network = disk.file_system.lower() in NETWORK_DISKS
    slow = disk.write_rate is not None and disk.write_rate < SLOW_DISK_MIB_PER_SEC
    return [
        _problem(
            disk.write_rate is None,
            f"{name} cannot be written.",
            f"Make {disk.folder} writable for this user, or choose another workspace with -w.",
        ),
        _advice(
            disk.free < LEAST_FREE_DISK or disk.free < LEAST_FREE_SHARE * disk.total,
            f"The disk is nearly full: {disk.free / GIB:.1f} GiB are free.",
            f"Free some room on the disk of {disk.folder}; frames of a minute of 1080p footage take about 5 GiB.",
        ),
        _advice(
            slow,
            f"The disk is slow: {disk.write_rate or 0:.0f} MiB/s.",
            "Keep the workspace on a local SSD; extraction and merging wait for the disk otherwise.",
        ),
        _advice(
            network,
            f"{name} is on a network disk ({disk.file_system}).",
            "Locks and renames are less sure there, and reading faces is slow. Keep the workspace on a local disk.",
        ),
    ]


def _memory_findings(memory: Memory) -> list[Finding | None]:
    return [
        _advice(
            memory.swap_used > 0.1 * memory.total,
            f"The machine is swapping: {memory.swap_used / GIB:.1f} GiB of memory are on disk.",
            "Close other programs, or use smaller batches; training in swap is many times slower.",
        ),
        _advice(
            memory.swap_total == 0 and sys.platform.startswith("linux"),
            "There is no swap: a program that needs more memory than there is gets ended at once.",
            "A few GiB of swap let the machine survive a peak. Nothing saved is lost either way.",
        ),
        _advice(
            memory.available < LEAST_FREE_MEMORY,
            f"Little memory is free: {memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB.",
            "Close other programs before training.",
        ),
    ]


def _processor_findings(processor: Processor) -> list[Finding | None]:
    return [
        _advice(
            processor.threads_asked > processor.logical,
            f"OMP_NUM_THREADS asks for {processor.threads_asked} threads on {processor.logical} cores.",
            "Unset it: threads that share a core wait for each other.",
        ),
        _advice(
            processor.load > 1.5 * processor.logical,
            f"The machine is busy with other work: {processor.load:.1f} tasks for {processor.logical} cores.",
            "Training and merging will be slower than they could be.",
        ),
        _advice(
            processor.on_battery,
            "The machine runs on battery.",
            "Plug it in: most machines slow down, and long training ends with the charge.",
        ),
    ]


def _problem(applies: bool, message: str, hint: str) -> Finding | None:
    return Finding("problem", message, hint) if applies else None


def _advice(applies: bool, message: str, hint: str) -> Finding | None:
    return Finding("advice", message, hint) if applies else None


def _holds(mount: str, path: str) -> bool:
    return path == mount or path.startswith(mount.rstrip("/\\") + os.sep)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

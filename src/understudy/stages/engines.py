"""The engines that find faces: which are here, under which terms, and bringing in those that are not.

Nothing is fetched unless someone asks. An entry has a pinned SHA-256 only where this project has seen the file itself;
the others are taken with the hash that the user names, or from a file that the user has.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.detection.engines import bundled
from understudy.detection.fan_engine import VARIANTS, engine_folder
from understudy.errors import InvalidOption, UsageError
from understudy.files import parse_json, user_data_folder, write_json, writing
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.download import checked_sha256, download, sha256_of
from understudy.stages.result import StageResult

RESEARCH_ONLY = (
    "The pictures it was trained on are licensed for non-commercial research; whether weights carry that on is "
    "unsettled, so ask before commercial work."
)


@dataclass(frozen=True)
class Published:
    """One weight file as it is published. sha256 None: this project has not seen the file and pins nothing."""

    name: str
    part: str
    url: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class EngineInfo:
    """What is known about an engine before any of its files is here."""

    name: str
    what: str
    licence: str
    data_terms: str
    files: tuple[Published, ...] = ()


_FAN = "https://www.adrianbulat.com/downloads/python-fan/"
_REFERENCE_TERMS = "S3FD: WIDER FACE. FAN: 300W-LP. " + RESEARCH_ONLY

KNOWN = (
    EngineInfo(
        "mediapipe",
        "BlazeFace and FaceMesh; bundled, on the processor",
        "Apache-2.0, The MediaPipe Authors",
        "Described in MediaPipe's model cards; the licence sets no terms on the use of the weights beyond its own.",
    ),
    EngineInfo(
        "face-alignment",
        "S3FD and 2D-FAN of the face-alignment project, on any device",
        "BSD-3-Clause, Adrian Bulat",
        _REFERENCE_TERMS,
        (
            Published("s3fd-619a316812.pth", "s3fd", _FAN + "s3fd-619a316812.pth"),
            Published("2DFAN4-11f355bf06.pth.tar", "2dfan", _FAN + "2DFAN4-11f355bf06.pth.tar"),
        ),
    ),
    EngineInfo(
        "s3fd-fan",
        "S3FD and 2D-FAN as DeepFaceLab runs them, on any device",
        "GPL-3.0, as distributed with DeepFaceLab",
        _REFERENCE_TERMS,
        (Published("S3FD.npy", "s3fd"), Published("2DFAN.npy", "2dfan")),
    ),
    EngineInfo(
        "s3fd-3dfan",
        "the same with 3D-FAN, as DeepFaceLab uses it for heads",
        "GPL-3.0, as distributed with DeepFaceLab",
        _REFERENCE_TERMS,
        (Published("S3FD.npy", "s3fd"), Published("3DFAN.npy", "3dfan")),
    ),
)


@dataclass(frozen=True)
class EngineFileState:
    """One file of an engine. path: where it is or would be. origin: the published file that it was made from."""

    name: str
    path: Path
    present: bool
    ok: bool
    sha256: str | None = None
    origin: str = ""
    url: str | None = None


@dataclass(frozen=True)
class EngineState:
    """One engine and whether it can be used now."""

    info: EngineInfo
    files: list[EngineFileState] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        return all(file.ok for file in self.files)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.info.name,
            "what": self.info.what,
            "ready": self.ready,
            "bundled": self.info.name == "mediapipe",
            "licence": self.info.licence,
            "data_terms": self.info.data_terms,
            "files": [{**vars(file), "path": str(file.path)} for file in self.files],
        }


def list_engines() -> list[EngineState]:
    """Every engine that has a name, with the state of its files; bundled ones are held to their pinned hashes."""
    return [EngineState(info, _mediapipe() if info.name == "mediapipe" else _own(info)) for info in KNOWN]


def fetch_engine(
    name: str,
    *,
    sha256: Mapping[str, str] | None = None,
    source: str | None = None,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Fetch the files of an engine that are not here, hold them to their hashes, and bring them in.

    sha256: hashes by file name for files that this project does not pin. source: an address under which the files lie,
    in place of the published one. Licence and data-set terms are reported before anything is fetched. Raises UsageError
    when there is nothing to fetch from or a hash is missing, EngineError, Interrupted.
    """
    info, started = _info(name), time.perf_counter()
    if name == "mediapipe":
        raise UsageError("mediapipe is bundled.", hint="If its files are damaged, install understudy again.")
    given = {file: checked_sha256(value) for file, value in (sha256 or {}).items()}
    _require_known(info, given)
    state = {file.name: file for file in _own(info)}
    missing = [file for file in info.files if not state[file.part].ok]
    report(Note(f"Licence: {info.licence}. Data: {info.data_terms}"))
    plan = [(file, _address(file, source), given.get(file.name) or file.sha256) for file in missing]
    _require_hashes(name, plan)
    outputs = []
    for file, url, expected in plan:
        assert expected is not None
        path = engine_folder(name) / "published" / file.name
        download(url, path, sha256=expected, report=report, stop=stop)
        outputs += add_engine_files([path], report=report).outputs
        path.unlink()
    return StageResult(seconds=time.perf_counter() - started, outputs=outputs, notes={"engine": name})


def add_engine_files(paths: Sequence[Path], *, report: Report = silent) -> StageResult:
    """Bring published weight files from disk into the user data folder; the files themselves stay as they are.

    Raises UsageError for a file that is not there, IncompatibleModel and UnsafeFile for one that is something else.
    """
    from safetensors.torch import save_file

    from understudy.interop.face_networks import read_face_network

    started, outputs = time.perf_counter(), []
    for path in paths:
        if not path.is_file():
            raise UsageError(f"There is no file {path}.", hint="Give the path of a weight file.")
        network, digest = read_face_network(path), sha256_of(path)
        target = engine_folder(network.engine) / f"{network.part}.safetensors"
        origin = {"file": path.name, "sha256": digest, "part": network.part}
        with writing(target) as temp:
            save_file(network.tensors, temp, metadata={key: str(value) for key, value in origin.items()})
        write_json(target.with_suffix(".json"), {"schema": "understudy-engine/1", **origin, "made": sha256_of(target)})
        report(Note(f"{path.name} (SHA-256 {digest}) is {network.part} of {network.engine} now."))
        outputs.append(target)
    return StageResult(seconds=time.perf_counter() - started, outputs=outputs)


def _mediapipe() -> list[EngineFileState]:
    return [
        EngineFileState(item.name, item.path, item.path.is_file(), item.ok, item.sha256, "bundled")
        for item in bundled()
    ]


def _own(info: EngineInfo) -> list[EngineFileState]:
    """The converted files of an engine; `ok` when a file is what was written, by the hash that was noted then."""
    states = []
    for file in info.files:
        path = engine_folder(info.name) / f"{file.part}.safetensors"
        note = _note(path.with_suffix(".json"))
        is_whole = path.is_file() and note.get("made") == sha256_of(path)
        origin = f"{note['file']}, SHA-256 {note['sha256']}" if is_whole else file.name
        states.append(EngineFileState(file.part, path, path.is_file(), is_whole, note.get("sha256"), origin, file.url))
    return states


def _note(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and {"file", "sha256", "made"} <= set(found) else {}


def _info(name: str) -> EngineInfo:
    info = next((info for info in KNOWN if info.name == name), None)
    if info is None:
        known = ", ".join(info.name for info in KNOWN)
        raise InvalidOption(f"There is no engine called {name!r}.", hint=f"Engines: {known}.")
    return info


def _address(file: Published, source: str | None) -> str:
    if source:
        return source.rstrip("/") + "/" + file.name
    if file.url is None:
        raise UsageError(
            f"Nobody publishes {file.name} at an address of its own.",
            hint="It lies in DeepFaceLab's folder `facelib`; take it from there: understudy engines add FILE "
            "(or name a server of yours that has it: --source URL).",
        )
    return file.url


def _require_known(info: EngineInfo, given: Mapping[str, str]) -> None:
    names = [file.name for file in info.files]
    wrong = [name for name in given if name not in names]
    if wrong:
        raise UsageError(f"{info.name} has no file {wrong[0]}.", hint=f"Its files: {', '.join(names)}.")


def _require_hashes(name: str, plan: Sequence[tuple[Published, str, str | None]]) -> None:
    open_ = [file.name for file, _, expected in plan if expected is None]
    if open_:
        flags = " ".join(f"--sha256 {file}=…" for file in open_)
        raise UsageError(
            f"understudy has never seen {' and '.join(open_)} and pins no hash for it.",
            hint=f"Ask its authors for the SHA-256: understudy engines fetch {name} {flags}; "
            "or fetch it yourself and bring it in: understudy engines add FILE",
            files=open_,
        )


def data_folder() -> Path:
    """Where engines that the user brought in live."""
    return user_data_folder() / "engines"


__all__ = ["KNOWN", "VARIANTS", "EngineState", "add_engine_files", "data_folder", "fetch_engine", "list_engines"]

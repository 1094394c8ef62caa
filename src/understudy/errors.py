"""What can go wrong, as one tree.

    UnderstudyError
    ├── UsageError             the request itself cannot be carried out (exit code 2)
    ├── InvalidOption          an option value, or two that do not go together (exit code 2)
    ├── WorkspaceError         ├── NotAWorkspace · ReadOnlyWorkspace · DiskFull · Busy
    ├── MediaError             ├── MissingFootage · UnreadableMedia · UnsupportedMedia · NoFrames · EncodingFailed
    ├── FacesetError           ├── EmptyFaceset · UnreadableFace · NoFacesFound
    ├── EngineError            ├── MissingEngine · MissingExtra
    ├── ModelError             ├── MissingModel · CorruptCheckpoint · IncompatibleModel · TrainingDiverged ·
    │                      ProcessLost · OutOfMemory
    ├── JobError               a running job cannot be reached, or refuses
    ├── UnsafeFile             a file from outside that asked for more than plain data
    └── Interrupted            stopped on request; the same command resumes (exit code 130)

A message says what happened, with the values; the hint says what to do next. Paths belong in the context or at the
end, so that the first half can be shared. `code` is stable: scripts and the web app rely on it.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar


class UnderstudyError(Exception):
    """Base of every error that is ours: a message, a hint and the facts it was made from."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", **context: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context

    @property
    def code(self) -> str:
        """The class name in kebab case, such as `empty-faceset`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", type(self).__name__).lower()

    def as_json(self) -> dict[str, str]:
        """The three fields that every door shows: code, message, hint."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class UsageError(UnderstudyError):
    """The request itself cannot be carried out."""

    exit_code = 2


class InvalidOption(UnderstudyError):
    """An option has a value it cannot have, or two options do not go together."""

    exit_code = 2


class WorkspaceError(UnderstudyError):
    """Something about the workspace folder."""


class NotAWorkspace(WorkspaceError):
    """The folder is not a workspace."""


class ReadOnlyWorkspace(WorkspaceError):
    """A folder that must be written to cannot be."""


class DiskFull(WorkspaceError):
    """The disk ran out of room; what was written before is whole."""


class Busy(WorkspaceError):
    """Another process is writing the same model, faceset or session."""


class MediaError(UnderstudyError):
    """Something about footage, pictures or their files."""


class MissingFootage(MediaError):
    """There is neither a video nor a folder of frames."""


class UnreadableMedia(MediaError):
    """A file cannot be decoded at all."""


class UnsupportedMedia(MediaError):
    """A file is of a kind that is refused on purpose."""


class NoFrames(MediaError):
    """Footage opened, but not one frame of it could be used."""


class EncodingFailed(MediaError):
    """A result could not be written in the format asked for."""


class FacesetError(UnderstudyError):
    """Something about a folder of aligned faces."""


class EmptyFaceset(FacesetError):
    """There is no face with data in the faceset."""


class UnreadableFace(FacesetError):
    """One aligned face cannot be read."""


class NoFacesFound(FacesetError):
    """Extraction looked at every frame and found no face."""


class EngineError(UnderstudyError):
    """Something about a detector, landmarker or other engine."""


class MissingEngine(EngineError):
    """An engine's file is not there or is not the pinned one."""


class MissingExtra(EngineError):
    """An optional package is not installed; the hint names the extra."""


class ModelError(UnderstudyError):
    """Something about a model or its files."""


class MissingModel(ModelError):
    """There is no model of that name."""


class CorruptCheckpoint(ModelError):
    """No generation of a checkpoint is whole."""


class IncompatibleModel(ModelError):
    """The files do not fit the architecture they claim."""


class TrainingDiverged(ModelError):
    """The loss is no longer a finite number."""


class ProcessLost(ModelError):
    """One of several processes that train a model together is gone."""


class OutOfMemory(ModelError):
    """Memory is full: not even a single face at a time fits, or something that cannot be left out."""


class JobError(UnderstudyError):
    """A running job cannot be reached, or refuses a command."""


class UnsafeFile(UnderstudyError):
    """A file from outside asks for more than plain data, and is refused."""


class Interrupted(UnderstudyError):
    """Stopped on request; everything done so far is kept."""

    exit_code = 130

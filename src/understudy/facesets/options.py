"""Options of the commands that look after facesets. Imports neither cv2 nor numpy."""

from __future__ import annotations

from enum import StrEnum

from understudy.options import Options, option

SMALLEST_FACE, LARGEST_FACE = 128, 2048


class ResizedType(StrEnum):
    """What a resized face covers: the same as before, or another face type by its short name."""

    SAME = "same"
    HALF = "h"
    MID_FULL = "mf"
    FULL = "f"
    WHOLE_FACE = "wf"
    HEAD = "head"


class PackOptions(Options):
    """How a faceset becomes one file."""

    replace: bool = option(
        False, "Pack the loose faces although there is a pack; the old one moves to aligned_trash.", group="Output"
    )
    delete_originals: bool = option(
        False, "Move the loose faces to aligned_trash once they are packed and the pack has been read back.",
        group="Output",
    )  # fmt: skip


class UnpackOptions(Options):
    """How a packed faceset becomes loose files again."""

    replace: bool = option(
        False, "Move loose faces that are in the way to aligned_trash, instead of refusing.", group="Output"
    )


class ResizeOptions(Options):
    """How faces are brought to another size or face type."""

    image_size: int = option(
        512, "Side of the new pictures.", group="Faces", unit="px", ge=SMALLEST_FACE, le=LARGEST_FACE
    )
    face_type: ResizedType = option(
        ResizedType.SAME,
        "Cover more or less of the head: h half, mf mid-full, f full, wf whole face, head. More leaves black borders.",
        group="Faces",
    )
    jpeg_quality: int = option(100, "JPEG quality of the new pictures.", group="Output", ge=1, le=100)
    replace: bool = option(
        False, "Put the new faces in the place of the old ones, which move to aligned_trash.", group="Output"
    )
    workers: int = option(0, "Threads; 0: one per core.", group="Speed", ge=0, le=256)


class DrawLandmarksOptions(Options):
    """How pictures with landmarks drawn on them are made."""

    jpeg_quality: int = option(50, "JPEG quality of the drawn pictures.", group="Output", ge=1, le=100)
    remove: bool = option(False, "Move the drawn pictures to aligned_trash instead of drawing.", group="Output")
    workers: int = option(0, "Threads; 0: one per core.", group="Speed", ge=0, le=256)


class MaskFormat(StrEnum):
    """What exported masks are written as."""

    JPG = "jpg"
    PNG = "png"


class ExportMasksOptions(Options):
    """How masks are written as pictures beside the faces."""

    format: MaskFormat = option(
        MaskFormat.JPG, "jpg, as the reference program writes them, or png without loss.", group="Output"
    )
    outline: bool = option(
        False, "For faces without mask or outlines, write the hull of the landmarks instead of skipping them.",
        group="Output",
    )  # fmt: skip
    remove: bool = option(False, "Move the exported masks to aligned_trash instead of writing them.", group="Output")
    workers: int = option(0, "Threads; 0: one per core.", group="Speed", ge=0, le=256)


class ImportPngOptions(Options):
    """How faces of old versions become faces of today."""

    jpeg_quality: int = option(100, "JPEG quality of the faces.", group="Output", ge=1, le=100)
    delete_originals: bool = option(False, "Move the PNG files that were taken over to aligned_trash.", group="Output")
    workers: int = option(0, "Threads; 0: one per core.", group="Speed", ge=0, le=256)

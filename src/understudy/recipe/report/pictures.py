"""Pictures small enough for a page, as files and as data that the page itself holds."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from understudy.files import os_errors, write_bytes

QUALITY = 84


def shrink(source: Path, target: Path, *, width: int) -> None:
    """Write a picture as a JPEG of at most this width. Raises OSError, DiskFull, ReadOnlyWorkspace."""
    with Image.open(source) as picture:
        data = jpeg(np.asarray(picture.convert("RGB")), width=width)
    with os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, data)


def jpeg(picture: NDArray[np.uint8], *, width: int) -> bytes:
    """(H, W, 3) RGB uint8 as a JPEG of at most this width."""
    image = Image.fromarray(np.ascontiguousarray(picture))
    if image.width > width:
        image = image.resize((width, max(1, round(image.height * width / image.width))), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


def data_uri(data: bytes) -> str:
    """A JPEG as an address that holds the picture itself."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"

"""Every recorded network, opened by the library's call, draws what the reference drew: flat files and `.dfm`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from reference_networks import COSINE_TOLERANCE, TOLERANCE

from places import GOLDEN
from understudy import load_model
from understudy.interop.flat_head import read_flat_head
from understudy.networks.predictor import Prediction

FLAT = sorted(path for path in GOLDEN.glob("nets/*.zip") if path.with_name(f"{path.stem}_io.npz").is_file())
SWAPPERS = [path for path in FLAT if not path.stem.startswith(("xseg", "discriminators"))]
DFM = sorted(GOLDEN.glob("dfm/*.dfm.zip"))
BF16_TOLERANCE = 0.05
"""Eight bits of a number, through some thirty layers of random weights; half of it is the largest difference seen."""
HALF_TOLERANCE = 2e-3
"""Quantised files compute in float16, whose rounding differs with the order of summation."""

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden data at {GOLDEN}; set UNDERSTUDY_GOLDEN")


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    with TemporaryDirectory() as folder, zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
        yield Path(folder)


def recorded(io: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    """An array as 0..1, BGR where it is a picture; some are stored in 16 bits."""
    found: np.ndarray = io[name] if name in io else io[f"{name}_u16"] / 65535
    return found


def assert_drawn(drawn: Prediction, face: np.ndarray, mask: np.ndarray, mask_dst: np.ndarray, atol: float) -> None:
    np.testing.assert_allclose(drawn.face[..., ::-1], face, rtol=0, atol=atol)
    np.testing.assert_allclose(drawn.mask, mask[..., 0], rtol=0, atol=atol)
    np.testing.assert_allclose(drawn.mask_dst, mask_dst[..., 0], rtol=0, atol=atol)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("archive", SWAPPERS, ids=lambda path: path.stem)
def test_flat_files_draw_what_they_drew(archive: Path, precision: str) -> None:
    with unpacked(archive) as folder:
        predictor = load_model(folder, "cpu", precision)
        letters = str(read_flat_head(next(folder.glob("*_data.dat"))).options.get("archi", "")).partition("-")[2]
    atol = (COSINE_TOLERANCE if "c" in letters else TOLERANCE) if precision == "fp32" else BF16_TOLERANCE
    with np.load(archive.with_name(f"{archive.stem}_io.npz")) as io:
        faces = recorded(io, "dst")[..., ::-1]
        if not predictor.has_morph:
            names = ("src_dst", "src_dst_mask", "dst_dst_mask")
            assert_drawn(predictor.predict(faces), *(recorded(io, name) for name in names), atol=atol)
            return
        morphs = [name.partition("|")[2] for name in io.files if name.startswith("src_dst|")]
        assert morphs
        for morph in morphs:
            names = (f"src_dst|{morph}", f"src_dst_mask|{morph}", "dst_dst_mask")
            drawn = predictor.predict(faces, float(morph))
            assert_drawn(drawn, *(recorded(io, name) for name in names), atol=atol)


@pytest.mark.parametrize("archive", DFM, ids=lambda path: path.stem)
def test_dfm_files_draw_what_they_drew(archive: Path) -> None:
    atol = HALF_TOLERANCE if "quantized" in archive.stem else TOLERANCE
    with unpacked(archive) as folder:
        predictor = load_model(next(folder.glob("*.dfm")), "cpu")
    with np.load(archive.with_name(f"{archive.name.removesuffix('.dfm.zip')}_io.npz")) as io:
        faces = io["in_face"][..., ::-1]
        ends = sorted({name.partition("|")[2] for name in io.files if name.startswith("out_celeb_face")})
        for end in ends:
            tail = f"|{end}" if end else ""
            names = (f"out_celeb_face{tail}", f"out_celeb_face_mask{tail}", f"out_face_mask{tail}")
            drawn = predictor.predict(faces, float(end) if end else None)
            assert_drawn(drawn, *(io[name] for name in names), atol=atol)


@pytest.mark.parametrize("archive", [path for path in FLAT if path.stem.startswith("xseg")], ids=lambda path: path.stem)
def test_the_mask_network_extracts_what_it_extracted(archive: Path) -> None:
    """But at the threshold: values below 0.1 become 0, and rounding decides on which side of it a value lies."""
    with unpacked(archive) as folder:
        network = load_model(folder, "cpu", "fp32")
    with np.load(archive.with_name(f"{archive.stem}_io.npz")) as io:
        drawn = network.predict(np.float32(io["img_u8"][:1, ..., ::-1]) / 255)
        expected = io["extract_0"].reshape(drawn.mask[0].shape)
    at_threshold = np.abs(np.maximum(drawn.mask[0], expected) - 0.1) < 1e-3
    assert at_threshold.mean() < 0.01
    np.testing.assert_allclose(drawn.mask[0][~at_threshold], expected[~at_threshold], rtol=0, atol=1e-3)

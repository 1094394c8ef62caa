"""Files for live use by number type: size, faces per second one at a time on the processor, and how far from the model.

Two networks that were briefly trained to redraw one face as itself, so that their weights have structure: noise
flatters half precision and punishes whole numbers. Faces of the check were neither trained on nor used to fit the
ranges.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from understudy.interop import dfm_writing
from understudy.interop.dfm_quantising import write_int8
from understudy.networks.amp import Amp, AmpConfig
from understudy.networks.dfm import DfmNetwork
from understudy.networks.saehd import SaehdConfig, saehd_network
from understudy.records import Archi
from understudy.stages.dfm_check import MORPHS, Draw, built_in_faces, compare, drawing

SIZE = 128
STEPS, QUICK_STEPS = 160, 15
BATCH = 4
TRIED, FITTED = 8, 32
Floats = NDArray[np.float32]


def run(quick: bool = False) -> dict[str, Any]:
    """Rows of number type for a df-ud and an AMP of 128 px; the speed is the median of 15 faces (quick: 5)."""
    chance = torch.Generator().manual_seed(0)
    small = {"ae_dims": 64, "e_dims": 32, "d_dims": 32, "d_mask_dims": 16}
    dims = small if quick else {"ae_dims": 256, "e_dims": 64, "d_dims": 64, "d_mask_dims": 22}
    networks: dict[str, nn.Module] = {
        "df-ud": saehd_network(SaehdConfig(size=SIZE, archi=Archi.parse("df-ud"), **dims), generator=chance),
        "amp": Amp(AmpConfig(size=SIZE, inter_dims=8 * dims["d_dims"], **dims), generator=chance),
    }
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, net in networks.items():
            train(net, QUICK_STEPS if quick else STEPS)
            rows += measured(name, net.eval().requires_grad_(False), Path(folder), rounds=5 if quick else 15)
    return {"size_px": SIZE, "trained_steps": QUICK_STEPS if quick else STEPS, "rows": rows}


def train(net: Any, steps: int) -> None:
    """Teach a network to draw faces as they are, and a round mask."""
    faces = torch.from_numpy(np.ascontiguousarray(built_in_faces(SIZE, 96)[16:])).permute(0, 3, 1, 2)
    across = torch.linspace(-1, 1, SIZE)
    mask = ((across[:, None] ** 2 + across[None] ** 2) < 0.7).float()
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-4)
    for step in range(steps):
        chosen = torch.arange(step * BATCH, step * BATCH + BATCH) % len(faces)
        src, dst = faces[chosen], faces[chosen].flip(3)
        drawn = net.reconstruct(src, dst)
        loss = (drawn.src_src - src).abs().mean() + (drawn.dst_dst - dst).abs().mean()
        loss = loss + (drawn.src_mask - mask).square().mean() + (drawn.dst_mask - mask).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def measured(name: str, net: nn.Module, folder: Path, *, rounds: int) -> list[dict[str, Any]]:
    """One network in every number type."""
    faces = built_in_faces(SIZE, TRIED + FITTED)
    tried, fitted = faces[:TRIED], faces[TRIED:]
    files = {kind: folder / f"{name}_{kind}.dfm" for kind in ("fp32", "fp16", "int8")}
    for kind in ("fp32", "fp16"):
        files[kind].write_bytes(dfm_writing.build(net, half=kind == "fp16").SerializeToString())
    morphs = MORPHS if isinstance(net, Amp) else (None,)
    write_int8(net, files["int8"], fitted, morphs=morphs)
    opened = {kind: DfmNetwork(path) for kind, path in files.items()}
    seconds = timed({kind: network.predict for kind, network in opened.items()}, tried, rounds)
    rows = []
    for kind, network in opened.items():
        apart = compare(drawing(net), network.predict, tried, morphs)
        face = compare(only_faces(drawing(net)), only_faces(network.predict), tried, morphs)
        rows.append(
            {
                "model": name,
                "type": kind,
                "MB": round(files[kind].stat().st_size / 1e6, 1),
                "faces/s": round(1 / seconds[kind], 1),
                "face PSNR dB": round(face.psnr_db, 1),
                "face max": f"{face.largest:.1g}",
                "all PSNR dB": round(apart.psnr_db, 1),
                "all max": f"{apart.largest:.1g}",
            }
        )
    return rows


def timed(draws: dict[str, Draw], faces: Floats, rounds: int) -> dict[str, float]:
    """Median seconds of one face; the number types take turns, so that a busy machine slows all of them."""
    found: dict[str, list[float]] = {kind: [] for kind in draws}
    for number in range(rounds + 1):
        for kind, draw in draws.items():
            start = time.perf_counter()
            draw(faces[number % len(faces)][None], 0.75)
            found[kind].append(time.perf_counter() - start if number else math.inf)
    return {kind: float(np.median(times[1:])) for kind, times in found.items()}


def only_faces(draw: Draw) -> Draw:
    """The same without the masks."""
    return lambda faces, morph: draw(faces, morph)[:1]

"""Every option of the reference program is there, with its name, range and default, and changes when it may there.

The tables stand for what people know from it; where ours differ on purpose, the reason stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from understudy.errors import InvalidOption, UsageError
from understudy.networks.amp import AmpConfig
from understudy.networks.families import config_to_plain
from understudy.networks.quick96 import Quick96Config
from understudy.networks.saehd import SaehdConfig
from understudy.options import meta_of
from understudy.records import Archi, FaceType
from understudy.stages.train import on_this_machine, resolve
from understudy.training.changes import changed
from understudy.training.options import CONFIG_OPTIONS, TrainOptions
from understudy.training.recipes import config_from_plain, recipe_for
from understudy.training.saved.model_config import new_config
from understudy.training.saved.models import ModelRecord, new_record

SAEHD, AMP, QUICK96 = "saehd", "amp", "quick96"


@dataclass(frozen=True)
class Row:
    """One line of a table. low, high: the ends of the range, None where there is none. first: asked for a new model
    only, and so a part of its architecture."""

    name: str
    default: Any
    low: float | None = None
    high: float | None = None
    first: bool = False
    choices: tuple[str, ...] = ()


COMMON = (
    Row("autobackup_hour", 0, 0, 24),
    Row("write_preview_history", False),
    Row("target_iter", 0, 0),
    Row("random_src_flip", False),
    Row("random_dst_flip", True),
)
ARCHITECTURE = (
    Row("ae_dims", 256, 32, 1024, first=True),
    Row("e_dims", 64, 16, 256, first=True),
    Row("d_dims", 64, 16, 256, first=True),
    Row("d_mask_dims", 22, 16, 256, first=True),
)
SHARED = (
    Row("uniform_yaw", False),
    Row("blur_out_mask", False),
    Row("models_opt_on_gpu", True),
    Row("lr_dropout", "n", choices=("n", "y", "cpu")),
    Row("random_warp", True),
    Row("gan_power", 0.0, 0, 5),
    Row("gan_patch_size", None, 3, 640),
    Row("gan_dims", 16, 4, 512),
    Row("ct_mode", "none", choices=("none", "rct", "lct", "mkl", "idt", "sot")),
    Row("clipgrad", False),
)
TABLES: dict[str, tuple[Row, ...]] = {
    SAEHD: (
        *COMMON,
        *ARCHITECTURE,
        *SHARED,
        Row("batch_size", 4, 1),
        Row("resolution", 128, 64, 640, first=True),
        Row("face_type", "full_face", first=True, choices=("h", "mf", "f", "wf", "head")),
        Row("archi", "liae-ud", first=True),
        Row("masked_training", True),
        Row("eyes_mouth_prio", False),
        Row("adabelief", True),
        Row("random_hsv_power", 0.0, 0, 0.3),
        Row("true_face_power", 0.0, 0, 1),
        Row("face_style_power", 0.0, 0, 100),
        Row("bg_style_power", 0.0, 0, 100),
        Row("pretrain", False),
    ),
    AMP: (
        *COMMON,
        *ARCHITECTURE,
        *SHARED,
        Row("batch_size", 8, 1),
        Row("resolution", 224, 64, 640, first=True),
        Row("face_type", "whole_face", first=True, choices=("f", "wf", "head")),
        Row("inter_dims", 1024, 32, 2048, first=True),
        Row("morph_factor", 0.5, 0.1, 0.5, first=True),
    ),
    QUICK96: (Row("batch_size", 4, 1), Row("random_src_flip", False), Row("random_dst_flip", False)),
}
ROWS = [(kind, row) for kind, rows in TABLES.items() for row in rows]

READ_AT_THE_START = {"pretrain": "it trains on other faces, and ends by beginning anew"}
"""Options that the reference asks for at every start and that wait for the next start here too."""

CONFIGS = {
    SAEHD: SaehdConfig(archi=Archi.parse("df-ud"), face_type=FaceType.WHOLE_FACE),
    AMP: AmpConfig(),
    QUICK96: Quick96Config(),
}


def record_of(kind: str) -> ModelRecord:
    return new_record(recipe_for(kind).model_class, config_to_plain(CONFIGS[kind]))


def plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | None) else str(value)


def default_of(kind: str, row: Row) -> Any:
    """What a new model of a class gets for an option that nobody typed."""
    if not row.first:
        return plain(getattr(resolve(record_of(kind), TrainOptions()), row.name))
    config = new_config(TrainOptions.of(model=kind))
    return plain(getattr(config, "size" if row.name == "resolution" else row.name))


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=lambda part: part.name if isinstance(part, Row) else part)
def test_an_option_has_its_default(kind: str, row: Row) -> None:
    assert default_of(kind, row) == row.default


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=lambda part: part.name if isinstance(part, Row) else part)
def test_an_option_has_its_range(kind: str, row: Row) -> None:
    """Both ends are taken, and nothing beyond: the reference clips there, and a typing mistake should not pass so."""
    step = 0.01 if isinstance(row.default, float) else 1
    number = float if isinstance(row.default, float) else int
    for end, beyond in ((row.low, -step), (row.high, step)):
        if end is not None:
            TrainOptions.of(**{row.name: number(end)})
            with pytest.raises(InvalidOption):
                TrainOptions.of(**{row.name: number(end + beyond)})
    for choice in row.choices:
        TrainOptions.of(**{row.name: choice})
    if row.choices:
        with pytest.raises(InvalidOption):
            TrainOptions.of(**{row.name: "another"})


@pytest.mark.parametrize(("kind", "row"), ROWS, ids=lambda part: part.name if isinstance(part, Row) else part)
def test_an_option_is_locked_as_there(kind: str, row: Row) -> None:
    """What the architecture fixes is asked once; everything else changes whenever one likes, here even meanwhile."""
    live = bool(meta_of(TrainOptions.model_fields[row.name])["live"])
    assert (row.name in CONFIG_OPTIONS) == row.first
    assert live == (not row.first and row.name not in READ_AT_THE_START)


NEVER: dict[str, dict[str, Any]] = {
    AMP: {
        "masked_training": False,
        "eyes_mouth_prio": False,
        "adabelief": False,
        "true_face_power": 0.1,
        "face_style_power": 0.1,
        "bg_style_power": 0.1,
        "random_hsv_power": 0.1,
        "pretrain": True,
    },
    QUICK96: {
        "masked_training": False,
        "eyes_mouth_prio": True,
        "blur_out_mask": True,
        "gan_power": 0.1,
        "adabelief": True,
        "lr_dropout": "n",
        "clipgrad": True,
        "uniform_yaw": True,
        "true_face_power": 0.1,
        "random_hsv_power": 0.1,
        "pretrain": True,
        "ct_mode": "rct",
    },
}
"""What a class does not leave open there is refused here, at a start and meanwhile."""


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NEVER.items() for name in names])
def test_what_a_class_never_does_is_refused(kind: str, name: str) -> None:
    record, value = record_of(kind), NEVER[kind][name]
    with pytest.raises(InvalidOption, match="always train with"):
        resolve(record, TrainOptions.of(**{name: value}))
    recipe = recipe_for(kind)
    config = config_from_plain(recipe, record.config)
    with pytest.raises(InvalidOption):
        changed(resolve(record, TrainOptions()), {name: value}, recipe.fixed(config), config)


@pytest.mark.parametrize("face_type", ["h", "mf"])
def test_amp_has_no_small_face_types(face_type: str) -> None:
    with pytest.raises((InvalidOption, UsageError)):
        new_config(TrainOptions.of(model=AMP, face_type=face_type))


def test_true_face_is_for_df_alone() -> None:
    """A LIAE model has no codes of two people to compare."""
    TrainOptions.of(true_face_power=0.01)
    liae = new_record("SAEHD", config_to_plain(SaehdConfig(archi=Archi.parse("liae-ud"))))
    with pytest.raises(InvalidOption, match="true-face-power"):
        resolve(liae, TrainOptions(true_face_power=0.01))


@pytest.mark.parametrize(
    ("archi", "typed", "taken"), [("df", 130, 128), ("df-ud", 130, 128), ("df", 144, 144), ("df-d", 144, 128)]
)
def test_resolutions_become_multiples(archi: str, typed: int, taken: int) -> None:
    assert new_config(TrainOptions.of(model=SAEHD, archi=archi, resolution=typed)).size == taken


@pytest.mark.parametrize("name", ["e_dims", "d_dims", "d_mask_dims"])
def test_odd_dims_become_even(name: str) -> None:
    assert getattr(new_config(TrainOptions.of(model=SAEHD, **{name: 33})), name) == 34


def test_the_width_of_the_mask_branch_does_not_follow_that_of_the_decoder() -> None:
    """The reference takes a third of the decoder's usual width, whatever was typed for it."""
    config = new_config(TrainOptions.of(model=SAEHD, d_dims=96))
    assert isinstance(config, SaehdConfig)
    assert config.d_mask_dims == 22


@pytest.mark.parametrize(("memory", "batch"), [(8 * 10**9, 8), (2 * 10**9, 4)])
def test_the_first_batch_follows_the_card(memory: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from understudy import devices
    from understudy.stages import train as stage

    card = devices.Device("cuda:0", "cuda", "a card", memory)
    monkeypatch.setattr(stage, "device_named", lambda text: card)
    record = record_of(SAEHD)
    found = on_this_machine(record, resolve(record, TrainOptions()), TrainOptions(), lambda event: None)
    assert found.batch_size == batch

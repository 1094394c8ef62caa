"""Flat files of the reference: read whole, or refused with the file and the tensor named."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from made_models import Flat, Table, preview_sample, write_flat
from understudy.errors import IncompatibleModel, MissingModel, UnderstudyError, UnsafeFile
from understudy.interop.flat import find_flat_models
from understudy.interop.flat_files import UnusablePart
from understudy.interop.flat_reading import OpenedModel, read_flat_model, unprefixed_model
from understudy.interop.layout import to_theirs

DISCRIMINATORS = {"GAN": "gan", "code_discriminator": "code_discriminator"}
KINDS = {"ms": "first", "vs": "second", "acc": "moment"}


@pytest.fixture
def flat(tmp_path: Path) -> Flat:
    """A df model with everything that a model can have."""
    return write_flat(tmp_path, discriminators=("GAN", "code_discriminator"), sample=preview_sample())


def read(flat: Flat, **arguments: Any) -> tuple[OpenedModel, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The model of the folder, opened and closed again, its weights and the state of its optimisers."""
    (model,) = [found for found in find_flat_models(flat.folder) if found.prefix == flat.prefix]
    with read_flat_model(model, **arguments) as opened:
        weights = {name: opened.weights.read(name) for name in opened.weights.kinds}
        state = opened.optimiser
        return opened, weights, {} if state is None else {name: state.read(name) for name in state.kinds}


def assert_equal(tensors: dict[str, torch.Tensor], flat: Flat) -> None:
    """Every tensor of every network's file came over, in our layout, and there is nothing else."""
    wanted = {}
    for part, table in flat.tables.items():
        if not part.endswith("opt"):
            network = DISCRIMINATORS.get(part, "" if part == "256" else part)
            wanted |= {".".join(filter(None, [network, _dotted(key)])): value for key, value in table.items()}
    assert tensors.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(to_theirs(name, tensors[name]), value)


def assert_state_equal(state: dict[str, torch.Tensor], part: str, table: Table) -> None:
    """Every moment of one optimiser's file came over."""
    discriminator = {"GAN_opt": "gan", "D_code_opt": "code_discriminator"}.get(part, "")
    before = f"{discriminator}/" if discriminator else ""
    assert int(state[f"{before}iterations"]) == int(table["iters:0"])
    for key, value in table.items():
        if key != "iters:0":
            kind, _, tensor = key.removesuffix("_0:0").partition("_")
            network, _, rest = (
                tensor.partition("/") if not discriminator.endswith("discriminator") else ("", "", tensor[4:])
            )
            if discriminator == "gan":
                rest = tensor.split("/", 1)[1] if tensor.startswith("GAN") else tensor.removeprefix("D_src/")
            if part == "256_opt":
                rest = tensor.removeprefix("XSeg/")
            name = (
                rest.replace("/", ".") if discriminator or part == "256_opt" else f"{network}.{rest.replace('/', '.')}"
            )
            layout = f"{discriminator}.{name}" if discriminator else name
            np.testing.assert_array_equal(to_theirs(layout, state[f"{before}{KINDS[kind]}.{name}"]), value)


def _dotted(key: str) -> str:
    return key.removesuffix(":0").replace("/", ".")


def test_everything_in_the_files_comes_over(flat: Flat) -> None:
    opened, weights, state = read(flat)
    assert_equal(weights, flat)
    for part in ("src_dst_opt", "GAN_opt", "D_code_opt"):
        assert_state_equal(state, part, flat.tables[part])
    assert (opened.iteration, opened.optimiser_kind) == (1234, "adabelief")
    assert opened.config == {
        "size": 64,
        "face_type": "whole_face",
        "archi": "df-ud",
        "ae_dims": 8,
        "e_dims": 8,
        "d_dims": 8,
        "d_mask_dims": 4,
    }
    assert opened.losses == flat.data["loss_history"]
    assert opened.options["batch_size"] == 6
    assert opened.notes == ["Not known here, and kept for the way back: an_option_of_tomorrow."]
    assert opened.unused == []


@pytest.mark.parametrize("archi", ["df", "df-udtc", "liae", "liae-ud", "LIAE-TD"])
@pytest.mark.parametrize("optimiser", ["rmsprop", "adabelief"])
def test_every_architecture_comes_over_with_either_optimiser(tmp_path: Path, archi: str, optimiser: str) -> None:
    flat = write_flat(tmp_path, archi=archi, optimiser=optimiser)
    opened, weights, state = read(flat)
    assert_equal(weights, flat)
    assert_state_equal(state, "src_dst_opt", flat.tables["src_dst_opt"])
    assert opened.optimiser_kind == optimiser


def test_amp_comes_over_with_its_untrained_inters(tmp_path: Path) -> None:
    flat = write_flat(tmp_path, model_class="AMP", gan_patch_size=8, gan_dims=8, discriminators=("GAN",))
    opened, weights, state = read(flat)
    assert_equal(weights, flat)
    assert_state_equal(state, "src_dst_opt", flat.tables["src_dst_opt"])
    assert_state_equal(state, "GAN_opt", flat.tables["GAN_opt"])
    assert opened.config["morph_factor"] == 0.5
    assert opened.notes == []


def test_xseg_comes_over_and_does_without_its_data(tmp_path: Path) -> None:
    flat = write_flat(tmp_path, model_class="XSeg", optimiser="rmsprop")
    opened, weights, state = read(flat)
    assert_equal(weights, flat)
    assert_state_equal(state, "256_opt", flat.tables["256_opt"])
    assert opened.notes == []
    flat.file("data.dat").unlink()
    (model,) = find_flat_models(tmp_path)
    with read_flat_model(model) as opened:
        assert (opened.config["size"], opened.config["face_type"]) == (256, "whole_face")
        assert opened.weights.kinds.keys() == weights.keys()
        assert any("XSeg_data.dat" in note for note in opened.notes)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_files_of_every_protocol_are_read(tmp_path: Path, protocol: int) -> None:
    flat = write_flat(tmp_path, protocol=protocol, sample=preview_sample())
    opened, weights, state = read(flat)
    assert_equal(weights, flat)
    assert_state_equal(state, "src_dst_opt", flat.tables["src_dst_opt"])
    kept = opened.record.options
    assert [(key, type(value), value) for key, value in kept.items()] == [
        (key, type(value), value) for key, value in flat.options.items()
    ]


def test_a_folder_of_pretrained_files_has_no_prefixes(tmp_path: Path) -> None:
    flat = write_flat(tmp_path, model_class="Quick96", optimiser="rmsprop")
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.removeprefix(flat.prefix))
    (tmp_path / "data.dat").unlink()
    with read_flat_model(unprefixed_model(tmp_path, "Quick96")) as opened:
        key = "down1/downs_0/conv1/bias:0"
        np.testing.assert_array_equal(
            opened.weights.read("encoder.down1.downs_0.conv1.bias"), flat.tables["encoder"][key]
        )
        assert (opened.iteration, opened.optimiser_kind, opened.losses) == (0, "rmsprop", [])
        assert opened.notes == []
    (tmp_path / "inter.npy").unlink()
    with (
        pytest.raises(MissingModel, match=r"missing: inter\.npy"),
        read_flat_model(unprefixed_model(tmp_path, "Quick96")),
    ):
        pass
    with pytest.raises(MissingModel, match="does not exist"):
        unprefixed_model(tmp_path / "nowhere", "Quick96")


# -- what must be there


@pytest.mark.parametrize("part", ["encoder", "inter", "decoder_src", "decoder_dst"])
def test_a_missing_file_is_named(flat: Flat, part: str) -> None:
    flat.file(f"{part}.npy").unlink()
    with pytest.raises(MissingModel, match=f"new_SAEHD_{part}.npy"):
        read(flat)


def test_a_model_that_was_renamed_by_half_is_seen(flat: Flat) -> None:
    flat.file("encoder.npy").rename(flat.folder / "old_SAEHD_encoder.npy")
    with pytest.raises(MissingModel) as caught:
        read(flat)
    assert "old_SAEHD_encoder.npy" in caught.value.hint


def test_the_newest_backup_is_offered_where_the_model_is_damaged(flat: Flat) -> None:
    write_flat(flat.folder / "new_SAEHD_autobackups" / "01")
    os.truncate(flat.file("inter.npy"), 0)
    flat.file("encoder.npy").unlink()
    with pytest.raises(MissingModel) as caught:
        read(flat)
    assert str(flat.folder / "new_SAEHD_autobackups" / "01") in caught.value.hint


def test_what_an_interrupted_save_left_is_used(flat: Flat) -> None:
    """The reference writes X.tmp, deletes X and renames: a crash between the last two leaves only X.tmp."""
    flat.file("inter.npy").rename(flat.file("inter.npy.tmp"))
    flat.file("data.dat").rename(flat.file("data.dat.tmp"))
    opened, weights, _ = read(flat)
    assert_equal(weights, flat)
    assert sum("a crash while saving" in note for note in opened.notes) == 2


def test_a_left_over_beside_the_whole_file_is_not_read(flat: Flat) -> None:
    flat.file("inter.npy.tmp").write_bytes(b"half")
    opened, weights, _ = read(flat)
    assert_equal(weights, flat)
    assert opened.unused == ["new_SAEHD_inter.npy.tmp"]


def test_a_missing_tensor_is_named_with_its_file(flat: Flat) -> None:
    flat.change("inter.npy", lambda tensors: tensors.pop("dense2/bias:0"))
    with pytest.raises(IncompatibleModel, match=r"new_SAEHD_inter\.npy has no tensor dense2/bias:0"):
        read(flat)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(flat: Flat) -> None:
    key = "down1/downs_1/conv1/weight:0"
    flat.change("encoder.npy", lambda tensors: tensors.update({key: tensors[key][..., :-1]}))
    with pytest.raises(IncompatibleModel) as caught:
        read(flat)
    for part in ("new_SAEHD_encoder.npy", key, "(5, 5, 8, 15)", "(5, 5, 8, 16)"):
        assert part in caught.value.message


def test_as_many_numbers_in_another_shape_are_no_match(flat: Flat) -> None:
    """The reference reshapes without a word, and draws nonsense."""
    key = "dense1/weight:0"
    flat.change("inter.npy", lambda tensors: tensors.update({key: tensors[key].T}))
    with pytest.raises(IncompatibleModel, match="dense1/weight:0 has the shape"):
        read(flat)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(flat: Flat, value: float) -> None:
    def spoil(tensors: dict[str, Any]) -> None:
        tensors["dense1/weight:0"][3, 2] = value

    flat.change("inter.npy", spoil)
    with pytest.raises(IncompatibleModel, match=r"inter\.npy: dense1/weight:0 holds values that are no numbers"):
        read(flat)


@pytest.mark.parametrize("keep", [0, 1, 100, 5000])
def test_a_file_cut_off_is_named(flat: Flat, keep: int) -> None:
    path = flat.file("decoder_src.npy")
    os.truncate(path, keep)
    with pytest.raises(UnsafeFile, match=path.name) as caught:
        read(flat)
    assert "copied whole" in caught.value.hint


def test_a_file_that_shrinks_while_it_is_read_is_named(flat: Flat) -> None:
    (model,) = find_flat_models(flat.folder)
    with read_flat_model(model) as opened:
        os.truncate(flat.file("decoder_src.npy"), 5000)
        largest = max(opened.weights.kinds, key=lambda name: (name.startswith("decoder_src"), name))
        with pytest.raises(UnsafeFile, match=r"decoder_src\.npy.*shorter"):
            opened.weights.read(largest)


@pytest.mark.parametrize("content", [[1, 2], {1: np.zeros(3)}, None, "text"])
def test_a_file_of_something_else_is_named(flat: Flat, content: Any) -> None:
    flat.file("inter.npy").write_bytes(pickle.dumps(content, 4))
    with pytest.raises(IncompatibleModel, match=r"inter\.npy does not hold a table of names"):
        read(flat)


class Hostile:
    """Unpickling this would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["encoder.npy", "src_dst_opt.npy", "GAN.npy", "data.dat"])
def test_no_file_runs_code(flat: Flat, name: str) -> None:
    bait = flat.folder / "was_here"
    flat.file(name).write_bytes(pickle.dumps({"iter": Hostile(bait)}))
    if name in ("src_dst_opt.npy", "GAN.npy"):
        opened, _, _ = read(flat)
        assert any(f"new_SAEHD_{name}" in note for note in opened.notes)
    else:
        with pytest.raises(UnsafeFile, match=name):
            read(flat)
    assert not bait.exists()


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4", np.int32])
def test_numbers_of_another_type_are_taken_as_float32(flat: Flat, dtype: Any) -> None:
    """The reference casts whatever it reads."""
    flat.change("inter.npy", lambda table: table.update({name: value.astype(dtype) for name, value in table.items()}))
    _, weights, _ = read(flat)
    value = flat.tables["inter"]["dense1/weight:0"].astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(weights["inter.dense1.weight"].numpy(), value.T)


def test_an_order_of_axes_that_the_reference_never_writes_is_read(flat: Flat) -> None:
    flat.change("inter.npy", lambda table: table.update({n: np.asfortranarray(v) for n, v in table.items()}))
    _, weights, _ = read(flat)
    assert_equal(weights, flat)


@pytest.mark.parametrize("dtype", [object, "S4", "U3", "c8", [("a", "f4")], "M8[s]"])
def test_elements_that_are_no_numbers_are_refused(flat: Flat, dtype: Any) -> None:
    flat.change("inter.npy", lambda table: table.update({"dense1/weight:0": np.zeros((2, 2), dtype)}))
    with pytest.raises(UnderstudyError, match=r"inter\.npy"):
        read(flat)


# -- what may be missing


def _shorten(tensors: dict[str, Any]) -> None:
    tensors.pop("ms_inter/dense1/weight_0:0")


def _reshape(tensors: dict[str, Any]) -> None:
    tensors["vs_inter/dense1/weight_0:0"] = np.zeros((3, 3), np.float32)


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign", "no steps", "other shape"])
def test_an_optimiser_that_cannot_be_used_is_a_note(flat: Flat, damage: str) -> None:
    path = flat.file("src_dst_opt.npy")
    match damage:
        case "missing":
            path.unlink()
        case "cut":
            os.truncate(path, 100)
        case "foreign":
            path.write_bytes(flat.file("inter.npy").read_bytes())
        case "no steps":
            flat.change(path.name.removeprefix(flat.prefix), lambda table: table.update({"iters:0": "many"}))
        case _:
            flat.change(path.name.removeprefix(flat.prefix), _reshape)
    opened, weights, state = read(flat)
    assert_equal(weights, flat)
    assert not [name for name in state if "/" not in name], "the moments of the network itself begin anew"
    assert "gan/iterations" in state, "those of the discriminators are another file"
    assert [note for note in opened.notes if path.name in note]


def test_tensors_without_state_begin_anew_alone(flat: Flat) -> None:
    flat.change("src_dst_opt.npy", _shorten)
    opened, _, state = read(flat)
    assert "first.inter.dense1.weight" not in state
    assert "second.inter.dense1.weight" not in state, "one moment without the other is of no use"
    assert "first.inter.dense2.weight" in state
    assert any("lacks the state of 1 of" in note for note in opened.notes)


@pytest.mark.parametrize("part", ["src_dst_opt", "GAN", "GAN_opt", "D_code_opt"])
def test_numbers_that_are_none_in_what_only_training_needs_are_found_while_reading(flat: Flat, part: str) -> None:
    def spoil(table: dict[str, Any]) -> None:
        next(value for value in table.values() if value.ndim)[...] = np.nan

    flat.change(f"{part}.npy", spoil)
    with pytest.raises(UnusablePart) as caught:
        read(flat)
    assert caught.value.part == part
    opened, weights, state = read(flat, without={part: caught.value.why})
    assert any(f"{part}.npy" in note and "begins anew" in note for note in opened.notes)
    assert ("gan.in_conv.weight" in weights) == (part != "GAN")
    assert ("gan/iterations" in state) == (part not in ("GAN", "GAN_opt"))


def test_a_gan_of_other_dimensions_begins_anew(flat: Flat) -> None:
    flat.change("data.dat", lambda data: data["options"].update(gan_dims=16))
    opened, weights, state = read(flat)
    assert not [name for name in (*weights, *state) if name.startswith("gan")]
    assert any(note.startswith("new_SAEHD_GAN.npy cannot be used and begins anew") for note in opened.notes)


# -- data.dat


def test_scalars_keep_their_types_and_old_options_their_meaning(tmp_path: Path) -> None:
    flat = write_flat(tmp_path, lr_dropout=True, random_flip=True, eyes_prio=True, batch_size=np.int32(3))
    flat.change("data.dat", lambda data: [data["options"].pop(name) for name in ("random_src_flip", "random_dst_flip")])
    opened, _, _ = read(flat)
    assert opened.options["lr_dropout"] == "y"
    assert (opened.options["random_src_flip"], opened.options["random_dst_flip"]) == (True, True)
    assert opened.options["batch_size"] == 3
    kept = opened.record.options
    assert kept["lr_dropout"] is True
    assert isinstance(kept["batch_size"], np.int32)
    assert isinstance(kept["random_hsv_power"], np.float64)
    assert any("random_flip" in note for note in opened.notes)
    assert any("eyes_prio" in note for note in opened.notes)


def test_what_the_options_do_not_say_is_in_the_default_options(tmp_path: Path) -> None:
    """A model from before d_mask_dims was an option."""
    flat = write_flat(tmp_path)
    flat.change("data.dat", lambda data: data["options"].pop("d_mask_dims"))
    with pytest.raises(IncompatibleModel):  # 22 is built in, the weights say 4
        read(flat)
    (tmp_path / "SAEHD_default_options.dat").write_bytes(pickle.dumps({"d_mask_dims": np.int64(4), "ae_dims": 512}, 4))
    opened, weights, _ = read(flat)
    assert_equal(weights, flat)
    assert opened.record.default_options == {"d_mask_dims": 4, "ae_dims": 512}
    assert "The options do not say d_mask_dims; 4 is assumed." in opened.notes


def test_default_options_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    flat = write_flat(tmp_path)
    (tmp_path / "SAEHD_default_options.dat").write_bytes(b"\x80\x04garbage")
    opened, _, _ = read(flat)
    assert opened.record.default_options is None
    assert any("SAEHD_default_options.dat" in note for note in opened.notes)


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        ({"iter": "many"}, "iteration"),
        ({"iter": -1}, "iteration"),
        ({"iter": 10**12}, "iteration"),
        ({"options": None}, "options"),
        ({"options": {}}, "options"),
    ],
)
def test_data_that_makes_no_sense_is_refused(flat: Flat, edit: dict[str, Any], what: str) -> None:
    flat.change("data.dat", lambda data: data.update(edit))
    with pytest.raises(IncompatibleModel, match=rf"new_SAEHD_data\.dat.*{what}"):
        read(flat)


@pytest.mark.parametrize(
    ("name", "value"), [("archi", "dfhd"), ("resolution", 63), ("ae_dims", "many"), ("face_type", "mark_only")]
)
def test_options_of_no_network_are_refused_by_name(flat: Flat, name: str, value: Any) -> None:
    flat.change("data.dat", lambda data: data["options"].update({name: value}))
    with pytest.raises(IncompatibleModel) as caught:
        read(flat)
    assert str(value) in caught.value.message


@pytest.mark.parametrize("history", [None, "none", [[1.0, 2.0], [3.0]], [1.0, 2.0], [[1.0, "x"]]])
def test_losses_that_cannot_be_read_begin_anew(flat: Flat, history: Any) -> None:
    flat.change("data.dat", lambda data: data.update(loss_history=history))
    opened, _, _ = read(flat)
    assert opened.losses == []
    assert any("loss history" in note for note in opened.notes) == (history is not None)


def test_a_model_at_iteration_0_keeps_its_weights(tmp_path: Path) -> None:
    """The reference would begin anew; whoever imports it wants what is in the files."""
    flat = write_flat(tmp_path, iteration=0)
    opened, weights, _ = read(flat)
    assert_equal(weights, flat)
    assert opened.iteration == 0
    assert any("iteration 0" in note for note in opened.notes)


def test_an_iteration_count_of_numpy_is_one(flat: Flat) -> None:
    flat.change("data.dat", lambda data: data.update(iter=np.int64(77)))
    assert read(flat)[0].iteration == 77


def test_other_files_are_named_and_not_read(flat: Flat) -> None:
    flat.file("merger_session.dat").write_bytes(pickle.dumps(Hostile(flat.folder / "was_here"), 4))
    flat.file("model.dfm").write_bytes(b"\x08\x07")  # a model of its own, no part of this one
    flat.file("history").mkdir()
    opened, _, _ = read(flat)
    assert opened.unused == ["new_SAEHD_merger_session.dat", "new_SAEHD_history"]

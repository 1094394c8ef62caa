"""Models go back to DeepFaceLab: what is written, what is refused, and what a fault leaves behind."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import outsider
from disks import fill, small_disk
from mortal import mortal
from own_models import CONFIGS, class_of, own_model
from small_faces import workspace_with_faces
from understudy.errors import (
    Busy,
    CorruptCheckpoint,
    DiskFull,
    IncompatibleModel,
    Interrupted,
    MissingModel,
    ReadOnlyWorkspace,
    UsageError,
    WorkspaceError,
)
from understudy.facesets import pickles
from understudy.interop.layout import to_theirs
from understudy.networks.families import config_to_plain
from understudy.networks.quick96 import Quick96Config
from understudy.report import Event, Note, Progress
from understudy.stages import model_import, publishing
from understudy.stages.export_dfl import export_dfl
from understudy.stages.result import StageResult
from understudy.stages.train import resolve, train
from understudy.training.options import TrainOptions
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.models import new_record, read_record, write_record
from understudy.training.saved.new import adopt_model, create_model, new_network
from understudy.workspace import Workspace
from users import ordinary_user

FILES = {
    "df-ud": "encoder inter decoder_src decoder_dst code_discriminator GAN src_dst_opt D_code_opt GAN_opt",
    "liae-udtc": "encoder inter_AB inter_B decoder GAN src_dst_opt GAN_opt",
    "liae": "encoder inter_AB inter_B decoder GAN src_dst_opt GAN_opt",
    "tiny": "encoder inter decoder_src decoder_dst src_dst_opt",
    "AMP": "encoder inter_src inter_dst decoder GAN src_dst_opt GAN_opt",
    "Quick96": "encoder inter decoder_src decoder_dst src_dst_opt",
    "XSeg": "256 256_opt",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "shot")


def content(path: Path) -> dict[str, Any]:
    found = pickles.loads(path.read_bytes())
    assert isinstance(found, dict)
    return found


@dataclass(frozen=True)
class Exported:
    """A model of ours of one kind, and its files."""

    kind: str
    folder: Path
    files: list[Path]
    result: StageResult

    @property
    def prefix(self) -> str:
        return "XSeg_" if self.kind == "XSeg" else f"hi_{class_of(self.kind)}_"


@pytest.fixture(scope="module", params=[kind for kind in CONFIGS if not kind.endswith("-small")])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    kind = request.param
    workspace = Workspace.create(tmp_path_factory.mktemp(kind) / "shot")
    adabelief = kind in ("df-ud", "liae-udtc", "AMP")
    folder = own_model(workspace, "hi", kind, adabelief=adabelief, judged=kind not in ("tiny", "Quick96", "XSeg"))
    result = export_dfl(workspace, "hi")
    return Exported(kind, folder, [path for path in workspace.models.iterdir() if path.is_file()], result)


def test_every_class_has_its_files(exported: Exported) -> None:
    names = {f"{exported.prefix}{name}.npy" for name in FILES[exported.kind].split()}
    names |= {f"{exported.prefix}data.dat", f"{exported.prefix}summary.txt"}
    assert {path.name for path in exported.files} == names
    assert set(exported.result.outputs) == set(exported.files)
    assert exported.result.notes["class"] == class_of(exported.kind)


def test_an_old_numpy_opens_every_file_and_finds_nothing_but_its_own_in_them(exported: Exported) -> None:
    said = outsider.opened([path for path in exported.files if path.suffix != ".txt"])
    for path, file in said.items():
        assert {name.rpartition(".")[0] for name in file["globals"]} <= {"numpy", "numpy.core.multiarray", "_codecs"}
        if path.suffix == ".npy":
            for key, (kind, *rest) in file["entries"].items():
                assert kind == ("numpy.int64" if key == "iters:0" else "float32"), key
                assert key == "iters:0" or rest[1], f"{key} is not C-contiguous"


def test_values_are_those_of_the_saved_state_turned_round(exported: Exported) -> None:
    saved = CheckpointStore(exported.folder).newest()
    assert saved is not None
    assert saved.optimiser is not None
    network, optimiser = ("256", "256_opt") if exported.kind == "XSeg" else ("encoder", "src_dst_opt")
    files = {path.name: path for path in exported.files}
    stored = content(files[f"{exported.prefix}{network}.npy"])
    key = next(key for key in stored if key.endswith("weight:0"))
    name = key.removesuffix(":0").replace("/", ".")
    weight = saved.weights[name if exported.kind == "XSeg" else f"encoder.{name}"]
    np.testing.assert_array_equal(stored[key][..., ::-1, :], weight.permute(2, 3, 1, 0).numpy())
    assert content(files[f"{exported.prefix}{optimiser}.npy"])["iters:0"] == int(saved.optimiser["iterations"]) == 104


def test_there_and_back_and_there_again_nothing_has_changed(exported: Exported, tmp_path: Path) -> None:
    other = Workspace.create(tmp_path / "other")
    (source,) = {path.parent for path in exported.files}
    model_import.import_models(other, source)
    export_dfl(other, "XSeg" if exported.kind == "XSeg" else "hi", output=tmp_path / "again")
    assert {path.name for path in (tmp_path / "again").iterdir()} == {path.name for path in exported.files}
    pairs = [(path, tmp_path / "again" / path.name) for path in exported.files if path.suffix != ".txt"]
    assert outsider.differences(pairs) == [""] * len(pairs)


def test_options_have_the_types_that_the_reference_gives_them(workspace: Workspace) -> None:
    options = {"gan_power": 0.1, "batch_size": 6, "lr_dropout": "y", "random_warp": False, "gan_patch_size": None}
    own_model(workspace, "hi", "liae-udtc", options=options)
    export_dfl(workspace, "hi")
    found = content(workspace.models / "hi_SAEHD_data.dat")
    assert list(found) == ["iter", "options", "loss_history", "sample_for_preview", "choosed_gpu_indexes"]
    assert found["iter"] == 4
    assert found["choosed_gpu_indexes"] is None
    kinds = {name: type(value) for name, value in found["options"].items()}
    assert list(kinds)[:5] == ["resolution", "face_type", "models_opt_on_gpu", "archi", "ae_dims"]
    assert list(kinds)[-4:] == ["batch_size", "gan_power", "gan_patch_size", "gan_dims"]
    assert len(kinds) == 31
    for name in ("resolution", "ae_dims", "e_dims", "d_dims", "d_mask_dims", "gan_patch_size", "gan_dims"):
        assert kinds[name] is np.int64, name
    for name in ("gan_power", "random_hsv_power", "face_style_power", "bg_style_power"):
        assert kinds[name] is np.float64, name
    assert kinds["true_face_power"] is float  # the reference does not ask a liae model
    assert found["options"] | {} == found["options"]
    assert found["options"]["archi"] == "liae-udtc"
    assert found["options"]["face_type"] == "wf"
    assert found["options"]["gan_patch_size"] == 8  # an eighth of the resolution
    assert found["options"]["lr_dropout"] == "y"
    assert found["options"]["random_warp"] is False
    assert kinds["batch_size"] is int


def test_what_is_ours_alone_is_left_out_and_named(workspace: Workspace) -> None:
    own_model(workspace, "hi", "df-ud", options={"random_transform": 0.5, "threads": 3, "seed": 0})
    events: list[Event] = []
    result = export_dfl(workspace, "hi", report=events.append)
    assert result.notes["left_out"] == ["random_transform 0.5"]
    assert any("random_transform 0.5" in event.message for event in events if isinstance(event, Note))
    assert "random_transform" not in content(workspace.models / "hi_SAEHD_data.dat")["options"]


@pytest.mark.parametrize("kind", ["AMP", "Quick96"])
def test_what_a_class_always_has_is_not_said_to_be_left_out(workspace: Workspace, kind: str) -> None:
    """DeepFaceLab has no option for it, since it does not ask."""
    record = new_record(class_of(kind), config_to_plain(CONFIGS[kind]))
    options = resolve(record, TrainOptions()).model_dump(mode="json", exclude={"model"})
    own_model(workspace, "hi", kind, options=options)
    assert export_dfl(workspace, "hi").notes["left_out"] == []


def test_moments_of_another_optimiser_are_left_out_and_said(workspace: Workspace) -> None:
    folder = own_model(workspace, "hi", "tiny", adabelief=False)
    saved = CheckpointStore(folder).newest()
    assert saved is not None
    weights = {**saved.weights, "ema.inter.dense1.bias": torch.zeros(3)}
    moments = {f"adam.{name}": tensor for name, tensor in saved.weights.items()}
    CheckpointStore(folder).save(9, weights=weights, optimiser=moments | {"iterations": torch.tensor(9)}, state={})
    events: list[Event] = []
    result = export_dfl(workspace, "hi", report=events.append)
    assert not any("opt" in path.name for path in result.outputs)
    assert {"adam", "ema"} <= set(result.notes["left_out"])
    notes = [event for event in events if isinstance(event, Note)]
    assert any("fresh" in note.message for note in notes if note.level == "warning")
    assert any("adam, ema" in note.message for note in notes)


def test_the_loss_history_has_a_row_for_every_iteration(workspace: Workspace) -> None:
    """The reference takes means over slices by iteration; a slice beyond the end would be no number."""
    folder = own_model(workspace, "hi", "tiny", iteration=50, losses=3, adabelief=False)
    export_dfl(workspace, "hi")
    rows = content(workspace.models / "hi_SAEHD_data.dat")["loss_history"]
    assert len(rows) == 50
    assert rows[:48] == [rows[47]] * 48
    lines = (folder / "history.jsonl").read_text().splitlines()
    assert len(lines) == 3
    assert {type(value) for row in rows for value in row} == {float}


def test_a_model_that_was_never_trained_is_exported_as_iteration_1(workspace: Workspace) -> None:
    own_model(workspace, "hi", "tiny", iteration=0, losses=0, adabelief=False)
    events: list[Event] = []
    export_dfl(workspace, "hi", report=events.append)
    found = content(workspace.models / "hi_SAEHD_data.dat")
    assert found["iter"] == 1
    assert found["loss_history"] == [[0.0, 0.0]]
    assert any("iteration 1" in event.message for event in events if isinstance(event, Note))


def test_files_that_are_there_stay_unless_they_are_to_be_replaced(workspace: Workspace) -> None:
    own_model(workspace, "hi", "df-ud", judged=True)
    first = export_dfl(workspace, "hi")
    (workspace.models / "SAEHD_default_options.dat").write_bytes(b"theirs")
    (workspace.models / "hi_SAEHD_model.dfm").write_bytes(b"live")
    (workspace.models / "hi there_SAEHD_encoder.npy").write_bytes(b"another model's")
    before = {path: path.read_bytes() for path in workspace.models.iterdir() if path.is_file()}
    with pytest.raises(UsageError, match="there already") as caught:
        export_dfl(workspace, "hi")
    assert "--replace" in caught.value.hint
    assert {path: path.read_bytes() for path in workspace.models.iterdir() if path.is_file()} == before

    shutil.rmtree(workspace.model("hi"))
    own_model(workspace, "hi", "df-ud", iteration=6)  # without discriminators: the old ones must not stay
    result = export_dfl(workspace, "hi", replace=True)
    trash = Path(result.notes["trash"])
    assert trash.is_relative_to(workspace.private / "trash")
    assert {path.name: path.read_bytes() for path in trash.iterdir()} == {
        path.name: before[path] for path in first.outputs
    }
    assert content(workspace.models / "hi_SAEHD_data.dat")["iter"] == 6
    assert not (workspace.models / "hi_SAEHD_GAN.npy").exists()
    for name in ("SAEHD_default_options.dat", "hi_SAEHD_model.dfm", "hi there_SAEHD_encoder.npy"):
        assert (workspace.models / name).read_bytes() == before[workspace.models / name]


def test_names_that_the_reference_would_cut_off_are_written_with_spaces(workspace: Workspace, tmp_path: Path) -> None:
    own_model(workspace, "my_first_try", "tiny", adabelief=False)
    events: list[Event] = []
    result = export_dfl(workspace, "my_first_try", report=events.append)
    assert result.notes["as"] == "my first try"
    assert (workspace.models / "my first try_SAEHD_data.dat").is_file()
    assert any("underscore" in event.message for event in events if isinstance(event, Note))
    assert export_dfl(workspace, "my_first_try", output=tmp_path / "out", as_name="b").notes["as"] == "b"
    assert (tmp_path / "out" / "b_SAEHD_encoder.npy").is_file()
    with pytest.raises(UsageError):
        export_dfl(workspace, "my_first_try", output=tmp_path / "out", as_name="../b")


def test_the_summary_is_a_box(workspace: Workspace) -> None:
    own_model(workspace, "hi", "df-ud", options={"pretrain": True, "random_warp": True})
    events: list[Event] = []
    export_dfl(workspace, "hi", report=events.append)
    assert any("pretrain is on" in event.message for event in events if isinstance(event, Note))
    lines = (workspace.models / "hi_SAEHD_summary.txt").read_text().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert all(line.startswith("==") and line.endswith("==") for line in lines)
    assert any("random_warp: False" in line for line in lines)  # what pretraining makes of it
    assert content(workspace.models / "hi_SAEHD_data.dat")["options"]["random_warp"] is True


# -- after training here


def trained(workspace: Workspace, name: str, **options: Any) -> None:
    train(
        workspace, name,
        TrainOptions.of(threads=1, precision="fp32", preview_every=0, batch_size=1, **options),
    )  # fmt: skip


def test_a_model_made_and_trained_here_goes_out_with_its_discriminators(tmp_path: Path) -> None:
    workspace = workspace_with_faces(tmp_path / "shot")
    dims = {"resolution": 64, "archi": "df-ud", "ae_dims": 32, "e_dims": 16, "d_dims": 16, "d_mask_dims": 16}
    trained(workspace, "hi", model="saehd", gan_power=0.1, true_face_power=0.01, target_iter=2, **dims)
    result = export_dfl(workspace, "hi")
    prefix = "hi_SAEHD_"
    names = {path.name.removeprefix(prefix).removesuffix(".npy") for path in result.outputs}
    assert names == {*FILES["df-ud"].split(), "data.dat", "summary.txt"}
    assert not any("opt" in name for name in result.notes["left_out"])

    saved = CheckpointStore(workspace.model("hi")).newest()
    assert saved is not None
    assert saved.optimiser is not None
    gan = content(workspace.models / f"{prefix}GAN.npy")
    np.testing.assert_array_equal(gan["in_conv/weight:0"][0, 0, ::-1], saved.weights["gan.in_conv.weight"][..., 0, 0].T)
    moments = content(workspace.models / f"{prefix}GAN_opt.npy")
    assert moments["iters:0"] == 2
    np.testing.assert_array_equal(moments["ms_D_src/out_conv/bias_0:0"], saved.optimiser["gan/first.out_conv.bias"])
    data = content(workspace.models / f"{prefix}data.dat")
    assert data["iter"] == len(data["loss_history"]) == 2
    assert data["options"]["gan_power"] == 0.1
    assert data["options"]["true_face_power"] == 0.01
    opened = outsider.opened([path for path in result.outputs if path.suffix != ".txt"])
    assert len(opened) == len(result.outputs) - 1


def test_what_was_changed_here_goes_back_by_the_names_and_types_it_came_in(tmp_path: Path) -> None:
    old = Workspace.create(tmp_path / "old")
    own_model(old, "hi", "tiny", adabelief=False, options={"gan_power": 0.0, "random_warp": True})
    export_dfl(old, "hi")
    workspace = workspace_with_faces(tmp_path / "shot")
    model_import.import_models(workspace, old.models)
    trained(workspace, "hi", random_warp=False, gan_power=0.2, hold_out=0.2, target_iter=6)
    result = export_dfl(workspace, "hi")

    before, after = content(old.models / "hi_SAEHD_data.dat"), content(workspace.models / "hi_SAEHD_data.dat")
    assert list(after["options"]) == list(before["options"])
    changed = {name: value for name, value in after["options"].items() if value != before["options"][name]}
    assert changed == {"random_warp": False, "gan_power": 0.2, "target_iter": 6, "batch_size": 1}
    assert [type(value) for value in after["options"].values()] == [type(v) for v in before["options"].values()]
    assert after["iter"] == len(after["loss_history"]) == 6
    assert after["loss_history"][:4] == before["loss_history"]
    assert (workspace.models / "hi_SAEHD_GAN.npy").is_file()
    assert "hold_out 0.2" in result.notes["left_out"]
    rmsprop = content(workspace.models / "hi_SAEHD_src_dst_opt.npy")
    assert rmsprop["iters:0"] == 104 + 2
    assert all(key.startswith(("iters", "acc_")) for key in rmsprop)


# -- faults


def test_a_damaged_state_is_passed_over_and_named(workspace: Workspace) -> None:
    folder = own_model(workspace, "hi", "tiny", adabelief=False)
    store = CheckpointStore(folder)
    saved = store.newest()
    assert saved is not None
    later = store.save(9, weights=saved.weights, optimiser=None, state={})
    with (later / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    events: list[Event] = []
    result = export_dfl(workspace, "hi", report=events.append)
    assert result.notes["iteration"] == 4
    assert any("000000009" in event.message for event in events if isinstance(event, Note) and event.level == "warning")

    (folder / "checkpoints" / "000000004" / "manifest.json").write_text("{}")
    with pytest.raises(CorruptCheckpoint, match="None of the 2"):
        export_dfl(workspace, "hi", output=workspace.root / "out")
    assert not (workspace.root / "out").exists()


def test_weights_of_another_architecture_are_not_handed_on(workspace: Workspace) -> None:
    """The reference would give such a network random weights, without a word."""
    folder = own_model(workspace, "hi", "df-ud")
    record = read_record(folder)
    record.config["e_dims"] = 18
    write_record(folder, record)
    with pytest.raises(IncompatibleModel, match=r"encoder\.down1"):
        export_dfl(workspace, "hi")
    assert not [path for path in workspace.models.iterdir() if path.is_file()]


def test_numbers_that_the_reference_has_fixed_are_no_others(workspace: Workspace) -> None:
    net = new_network("Quick96", Quick96Config(size=32, ae_dims=8, e_dims=8, d_dims=8, d_mask_dims=4))
    adopt_model(workspace.model("hi"), net, "Quick96", weights=net.state_dict(), iteration=1)
    with pytest.raises(IncompatibleModel, match="Quick96"):
        export_dfl(workspace, "hi")


def test_nothing_to_export(workspace: Workspace) -> None:
    with pytest.raises(MissingModel, match="nobody"):
        export_dfl(workspace, "nobody")
    create_model(workspace.model("young"), "SAEHD", config=CONFIGS["tiny"])
    with pytest.raises(MissingModel, match="not been trained yet"):
        export_dfl(workspace, "young")


def test_a_model_that_is_trained_meanwhile_is_exported_as_it_was_saved_last(workspace: Workspace) -> None:
    """A training that goes on may let the state go that is being read; nobody waits."""
    folder = own_model(workspace, "hi", "tiny", adabelief=False)
    saved = CheckpointStore(folder).newest()
    assert saved is not None
    weights = {name: tensor.clone() for name, tensor in saved.weights.items()}
    later = {name: tensor + 1 for name, tensor in weights.items()}
    trained = threading.Event()

    def train_on(event: Event) -> None:
        if isinstance(event, Progress) and not trained.is_set():
            trained.set()
            store = CheckpointStore(folder, keep=1)
            for iteration in (5, 6, 7):
                store.save(iteration, weights=later, optimiser=None, state={})
            assert not (folder / "checkpoints" / "000000004").exists()

    with workspace.writing("model-hi"):  # as a training holds it
        result = export_dfl(workspace, "hi", report=train_on)
    assert trained.is_set()
    assert result.notes["iteration"] == 4
    for name, tensor in weights.items():
        network, _, path = name.partition(".")
        stored = content(workspace.models / f"hi_SAEHD_{network}.npy")[f"{path.replace('.', '/')}:0"]
        np.testing.assert_array_equal(stored, to_theirs(name, tensor))


def test_a_stop_in_the_middle_leaves_nothing(workspace: Workspace) -> None:
    own_model(workspace, "hi", "tiny", adabelief=False)
    events: list[Event] = []
    with pytest.raises(Interrupted):
        export_dfl(workspace, "hi", report=events.append, stop=lambda: any(isinstance(e, Progress) for e in events))
    assert [path.name for path in workspace.models.iterdir()] == ["hi"]


def test_a_disk_that_fills_in_mid_export_leaves_the_old_files(workspace: Workspace) -> None:
    own_model(workspace, "hi", "tiny", adabelief=False)
    with small_disk(mib=32) as disk:
        export_dfl(workspace, "hi", output=disk)
        before = {path: path.read_bytes() for path in disk.iterdir()}

        def fill_it(event: Event) -> None:
            if isinstance(event, Progress):
                fill(disk)

        with pytest.raises(DiskFull):
            export_dfl(workspace, "hi", output=disk, replace=True, report=fill_it)
        (disk / "ballast").unlink()
        assert {path: path.read_bytes() for path in disk.iterdir()} == before


def test_a_disk_that_is_too_small_is_refused_before_anything_is_written(workspace: Workspace) -> None:
    own_model(workspace, "hi", "df-ud")
    with small_disk(mib=1) as disk:
        with pytest.raises(DiskFull, match="MB"):
            export_dfl(workspace, "hi", output=disk)
        assert not list(disk.iterdir())


def test_read_only_targets_are_refused(tmp_path: Path) -> None:
    with ordinary_user() as folder:
        workspace = Workspace.create(folder / "shot")
        own_model(workspace, "hi", "tiny", adabelief=False)
        closed = folder / "closed"
        closed.mkdir(mode=0o555)
        with pytest.raises(ReadOnlyWorkspace):
            export_dfl(workspace, "hi", output=closed)
        with pytest.raises(ReadOnlyWorkspace):
            export_dfl(workspace, "hi", output=closed / "deeper")
    (tmp_path / "file").touch()
    workspace = Workspace.create(tmp_path / "shot")
    own_model(workspace, "hi", "tiny", adabelief=False)
    with pytest.raises(WorkspaceError, match="in the way"):
        export_dfl(workspace, "hi", output=tmp_path / "file")


def test_two_exports_of_a_model_at_once_are_one_too_many(workspace: Workspace) -> None:
    own_model(workspace, "hi", "tiny", adabelief=False)
    with workspace.writing("export-hi"), pytest.raises(Busy):
        export_dfl(workspace, "hi")


def exports_killed(tmp_path: Path, choose: Callable[[int], Iterable[int]]) -> int:
    """Kill an export that replaces an older model before each of the chosen changes on the disk; how many there are."""
    with mortal() as run:
        template = Workspace.create(tmp_path / "template")
        own_model(template, "hi", "tiny", iteration=6, adabelief=False)
        export_dfl(template, "hi")
        shutil.rmtree(template.model("hi"))
        old = {path.name: path.read_bytes() for path in template.models.iterdir()}
        own_model(template, "hi", "tiny", iteration=8, adabelief=False)
        new = export_dfl(template, "hi", output=tmp_path / "new")
        expected = {path.name: path.read_bytes() for path in new.outputs}

        def attempt(kill_at: int) -> int:
            root = tmp_path / "shot"
            shutil.copytree(template.root, root)
            models = root / "model"
            fate = run("stages.export_dfl:export_dfl", root, kill_at=kill_at, name="hi", replace=True)
            found = {path.name: path.read_bytes() for path in models.iterdir() if path.is_file()}
            if "hi_SAEHD_data.dat" in found:
                assert found in (old, expected), kill_at
            for content in old.values():
                assert content in (path.read_bytes() for path in root.rglob("*.*") if path.is_file()), kill_at

            again = run("stages.export_dfl:export_dfl", root, name="hi", replace=True)
            assert again.error is None, kill_at
            assert {path.name: path.read_bytes() for path in models.iterdir() if path.is_file()} == expected, kill_at
            assert [path.name for path in models.iterdir() if path.is_dir()] == ["hi"], kill_at
            for content in old.values():
                assert content in (path.read_bytes() for path in root.rglob("*.*") if path.is_file()), kill_at
            shutil.rmtree(root)
            assert fate.killed == (kill_at >= 0)
            return fate.changes

        changes = attempt(-1)
        for moment in choose(changes):
            attempt(moment)
        return changes


def test_killed_anywhere_it_leaves_the_old_model_or_the_new_one_or_none(tmp_path: Path) -> None:
    """Never half of one: without its data.dat the reference does not see a model; and no file is ever lost."""
    draw = random.Random(4)
    assert exports_killed(tmp_path, lambda changes: draw.sample(range(changes), 5)) > 20


@pytest.mark.faults
def test_killed_before_each_change_it_leaves_the_old_model_or_the_new_one_or_none(tmp_path: Path) -> None:
    exports_killed(tmp_path, range)


def test_a_file_that_cannot_be_moved_brings_all_others_back(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a system where a program has one of the old files open."""
    own_model(workspace, "hi", "tiny", adabelief=False)
    export_dfl(workspace, "hi")
    before = {path: path.read_bytes() for path in workspace.models.iterdir() if path.is_file()}
    move = publishing._move

    def stubborn(old: Path, new: Path) -> None:
        if old.name.endswith("decoder_src.npy") and old.parent == workspace.models:
            raise PermissionError(13, "in use", str(old))
        move(old, new)

    monkeypatch.setattr(publishing, "_move", stubborn)
    with pytest.raises(ReadOnlyWorkspace):
        export_dfl(workspace, "hi", replace=True)
    assert {path: path.read_bytes() for path in workspace.models.iterdir() if path.is_file()} == before
    assert [path.name for path in workspace.models.iterdir() if path.is_dir()] == ["hi"]

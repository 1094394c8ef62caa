"""Bringing models of the reference in: which, as what, and what happens when something goes wrong."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disks import fill, small_disk
from made_models import Flat, preview_sample, write_flat
from mortal import mortal
from understudy.errors import (
    Busy,
    DiskFull,
    IncompatibleModel,
    Interrupted,
    InvalidOption,
    MissingModel,
    ReadOnlyWorkspace,
    UsageError,
)
from understudy.interop import reference_record
from understudy.interop.import_options import ModelImportOptions
from understudy.report import Event, Note, Progress
from understudy.stages.model_import import import_models
from understudy.stages.models import list_models, open_model
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.models import is_model, read_record
from understudy.workspace import Workspace
from users import ordinary_user

ALL = ModelImportOptions(all=True)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "shot")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of the reference's files."""
    return tmp_path / "elsewhere"


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def notes(events: list[Event], level: str = "warning") -> list[str]:
    return [event.message for event in events if isinstance(event, Note) and event.level == level]


def models(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.models.iterdir())


def test_a_model_comes_in_with_all_that_belongs_to_it(workspace: Workspace, elsewhere: Path) -> None:
    flat = write_flat(elsewhere, discriminators=("GAN", "code_discriminator"), sample=preview_sample())
    before = digests(elsewhere)
    events: list[Event] = []
    result = import_models(workspace, elsewhere, report=events.append)
    folder = workspace.model("new")
    assert result.outputs == [folder]
    (said,) = result.notes["models"]
    assert (said["name"], said["class"], said["iteration"], said["optimiser"]) == ("new", "SAEHD", 1234, "adabelief")
    assert (said["discriminators"], said["losses"], said["preview_sample"]) == (["gan", "code_discriminator"], 20, True)
    json.dumps(result.as_json())
    assert digests(elsewhere) == before

    record = read_record(folder)
    assert (record.model_class, record.config["archi"], record.options["gan_power"]) == ("SAEHD", "df-ud", 0.1)
    assert record.imported
    saved = CheckpointStore(folder).newest()
    assert saved is not None
    assert saved.iteration == 1234
    assert saved.optimiser is not None
    assert int(saved.optimiser["gan/iterations"]) == 617
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(1215, 1235))
    assert lines[-1]["src"] == pytest.approx(flat.data["loss_history"][-1][0], rel=1e-6)

    kept = reference_record.read(folder)
    assert kept is not None
    assert [(key, type(value), value) for key, value in kept.options.items()] == [
        (key, type(value), value) for key, value in flat.options.items()
    ]
    assert kept.losses is not None
    np.testing.assert_array_equal(kept.losses, flat.data["loss_history"])
    for side, before_side in zip(kept.sample_for_preview, flat.data["sample_for_preview"], strict=True):
        for array, wanted in zip(side, before_side, strict=True):
            np.testing.assert_array_equal(array, wanted)
    done = [event for event in events if isinstance(event, Progress)][-1]
    assert done.done == done.total


def test_the_workspaces_own_folder_is_one_to_import_from(workspace: Workspace) -> None:
    write_flat(workspace.models, "my face", "AMP")
    import_models(workspace, workspace.models)
    assert is_model(workspace.model("my face"))
    assert (workspace.models / "my face_AMP_encoder.npy").is_file()


def test_a_workspace_stands_for_its_model_folder(workspace: Workspace, elsewhere: Path) -> None:
    write_flat(elsewhere / "model")
    import_models(workspace, elsewhere)
    assert is_model(workspace.model("new"))


# -- which


def test_several_models_ask_which(workspace: Workspace, elsewhere: Path) -> None:
    write_flat(elsewhere, "one")
    write_flat(elsewhere, "two_of_them", archi="liae-ud", iteration=7)
    with pytest.raises(UsageError) as caught:
        import_models(workspace, elsewhere)
    assert "one (SAEHD, iteration 1234)" in caught.value.message
    assert "two_of_them (SAEHD, iteration 7)" in caught.value.message
    assert "--all" in caught.value.hint
    assert models(workspace) == []
    import_models(workspace, elsewhere, ModelImportOptions(name="two_of_them"))
    assert models(workspace) == ["two_of_them"]


def test_all_come_in_but_those_that_cannot(workspace: Workspace, elsewhere: Path) -> None:
    write_flat(elsewhere, "good")
    write_flat(elsewhere, "bad").file("inter.npy").unlink()
    result = import_models(workspace, elsewhere, ALL)
    assert models(workspace) == ["good"]
    assert [(item.item, "bad_SAEHD_inter.npy" in item.reason) for item in result.skipped] == [("bad_SAEHD", True)]
    with pytest.raises((MissingModel, UsageError)):  # nothing left that could come in
        import_models(workspace, elsewhere, ALL)


def test_two_classes_of_one_name_are_told_apart(workspace: Workspace, elsewhere: Path) -> None:
    write_flat(elsewhere, "new", "SAEHD")
    write_flat(elsewhere, "new", "AMP")
    with pytest.raises(UsageError, match="new_SAEHD") as caught:
        import_models(workspace, elsewhere, ModelImportOptions(name="new"))
    assert "new_AMP" in caught.value.message
    events: list[Event] = []
    import_models(workspace, elsewhere, ModelImportOptions(name="new_AMP"), report=events.append)
    assert read_record(workspace.model("new")).model_class == "AMP"
    assert any("new_SAEHD" in note and "--as" in note for note in notes(events))
    import_models(workspace, elsewhere, ModelImportOptions(name="new_SAEHD", as_="newer"))
    assert models(workspace) == ["new", "newer"]


def test_of_two_classes_of_one_name_all_brings_in_the_newer(workspace: Workspace, elsewhere: Path) -> None:
    os.utime(write_flat(elsewhere, "new", "SAEHD").file("data.dat"), (1, 1))
    write_flat(elsewhere, "new", "AMP")
    result = import_models(workspace, elsewhere, ALL)
    assert read_record(workspace.model("new")).model_class == "AMP"
    assert [item.item for item in result.skipped] == ["new_SAEHD"]


def test_a_name_that_is_taken_stays_taken(workspace: Workspace, elsewhere: Path) -> None:
    write_flat(elsewhere)
    import_models(workspace, elsewhere)
    before = digests(workspace.models)
    with pytest.raises(UsageError, match="here already"):
        import_models(workspace, elsewhere)
    (workspace.models / "mine").mkdir()
    (workspace.models / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is no model"):
        import_models(workspace, elsewhere, ModelImportOptions(as_="mine"))
    after = digests(workspace.models)
    assert after == before | {"mine/notes.txt": after["mine/notes.txt"]}


@pytest.mark.parametrize("name", ["a/b", "..", "", "a:b", ".hidden", "x" * 300])
def test_a_name_that_cannot_be_one_is_refused(workspace: Workspace, elsewhere: Path, name: str) -> None:
    write_flat(elsewhere)
    with pytest.raises(UsageError):
        import_models(workspace, elsewhere, ModelImportOptions(as_=name))


def test_the_place_of_the_mask_network_is_kept_for_it(workspace: Workspace, elsewhere: Path) -> None:
    write_flat(elsewhere, "XSeg", "SAEHD")
    with pytest.raises(UsageError, match="mask network"):
        import_models(workspace, elsewhere)
    import_models(workspace, elsewhere, ModelImportOptions(as_="swapper"))
    assert models(workspace) == ["swapper"]


def test_a_list_brings_in_nothing(workspace: Workspace, elsewhere: Path) -> None:
    write_flat(elsewhere, "one")
    write_flat(elsewhere / "one_SAEHD_autobackups" / "01", "one", iteration=1000)
    (elsewhere / "lost_AMP_encoder.npy").write_bytes(b"")
    result = import_models(workspace, elsewhere, ModelImportOptions(list=True))
    (found,) = result.notes["found"]
    assert (found["name"], found["class"], found["iteration"], found["backups"]) == ("one", "SAEHD", 1234, 1)
    assert [item.item for item in result.skipped] == ["lost_AMP"]
    assert models(workspace) == []


def test_all_goes_with_no_name() -> None:
    with pytest.raises(InvalidOption, match="--all"):
        ModelImportOptions.of(all=True, name="one")


def test_a_folder_without_models_says_what_it_is(workspace: Workspace, elsewhere: Path) -> None:
    with pytest.raises(MissingModel, match="does not exist"):
        import_models(workspace, elsewhere)
    elsewhere.mkdir()
    with pytest.raises(MissingModel, match="no model of DeepFaceLab"):
        import_models(workspace, elsewhere)
    (elsewhere / "lost_AMP_encoder.npy").write_bytes(b"")
    with pytest.raises(MissingModel) as caught:
        import_models(workspace, elsewhere)
    assert "lost_AMP" in caught.value.hint
    (elsewhere / "encoder.npy").write_bytes(b"")
    (elsewhere / "lost_AMP_encoder.npy").unlink()
    with pytest.raises(MissingModel) as caught:
        import_models(workspace, elsewhere)
    assert "--pretrained" in caught.value.hint
    with pytest.raises(MissingModel, match="is a file"):
        import_models(workspace, elsewhere / "encoder.npy")
    write_flat(elsewhere)
    with pytest.raises(MissingModel) as caught:
        import_models(workspace, elsewhere, ModelImportOptions(name="old"))
    assert "new" in caught.value.hint
    import_models(workspace, elsewhere)
    with pytest.raises(MissingModel) as caught:
        import_models(workspace, workspace.model("new"))
    assert "understudy already" in caught.value.hint


def test_the_first_command_that_names_a_model_imports_it(workspace: Workspace) -> None:
    write_flat(workspace.models, "new", "AMP")
    assert [(model.name, model.ours) for model in list_models(workspace)] == [("new", False)]
    events: list[Event] = []
    folder = open_model(workspace, "new", report=events.append)
    assert read_record(folder).model_class == "AMP"
    assert any("Imported" in note for note in notes(events, "info"))
    assert [(model.name, model.ours) for model in list_models(workspace)] == [("new", True)]


# -- backups


def backups_of(flat: Flat, *iterations: int, **options: Any) -> None:
    for slot, iteration in enumerate(iterations, 1):
        write_flat(flat.folder / f"{flat.prefix}autobackups" / f"{slot:02d}", iteration=iteration, seed=slot, **options)


def test_backups_are_counted_and_come_in_when_asked_for(workspace: Workspace, elsewhere: Path) -> None:
    backups_of(write_flat(elsewhere), 1200, 1100)
    events: list[Event] = []
    import_models(workspace, elsewhere, report=events.append)
    assert any("2 backups" in note and "--backups" in note for note in notes(events, "info"))
    result = import_models(workspace, elsewhere, ModelImportOptions(as_="whole", backups=True))
    store = CheckpointStore(workspace.model("whole"))
    assert [(path.parent.name, int(path.name)) for path in store.generations()] == [
        ("checkpoints", 1234),
        ("backups", 1200),
        ("backups", 1100),
    ]
    newest = store.newest()
    assert newest is not None
    assert newest.iteration == 1234
    assert result.notes["models"][0]["backups"] == 2


def test_backups_that_cannot_stand_beside_the_model_are_named(workspace: Workspace, elsewhere: Path) -> None:
    """Later than the model: its count was begun anew after pretraining, and the newest state counts."""
    flat = write_flat(elsewhere)
    backups_of(flat, 5000, 1100, 1100, 1000)
    other = flat.folder / "new_SAEHD_autobackups" / "05"
    write_flat(other, archi="liae")
    (flat.folder / "new_SAEHD_autobackups" / "04" / "new_SAEHD_inter.npy").unlink()
    events: list[Event] = []
    import_models(workspace, elsewhere, ModelImportOptions(backups=True), report=events.append)
    found = CheckpointStore(workspace.model("new")).generations()
    assert [int(path.name) for path in found] == [1234, 1100]
    said = " ".join(notes(events))
    for what in ("iteration 5000, later", "the same iteration 1100", "inter.npy", "another architecture"):
        assert what in said


def test_a_backup_is_a_folder_to_import_from(workspace: Workspace, elsewhere: Path) -> None:
    backups_of(write_flat(elsewhere), 1200)
    import_models(workspace, elsewhere / "new_SAEHD_autobackups" / "01")
    newest = CheckpointStore(workspace.model("new")).newest()
    assert newest is not None
    assert newest.iteration == 1200


# -- faults


def test_a_part_that_turns_out_bad_while_it_is_read_is_left_out(workspace: Workspace, elsewhere: Path) -> None:
    flat = write_flat(elsewhere, discriminators=("GAN",))

    def spoil(table: dict[str, Any]) -> None:
        table["vs_encoder/down1/downs_0/conv1/weight_0:0"][0] = np.nan

    flat.change("src_dst_opt.npy", spoil)
    events: list[Event] = []
    result = import_models(workspace, elsewhere, report=events.append)
    saved = CheckpointStore(workspace.model("new")).newest()
    assert saved is not None
    assert saved.optimiser is not None
    assert all(name.startswith("gan/") for name in saved.optimiser)
    assert result.notes["models"][0]["optimiser"] is None
    assert any("src_dst_opt.npy" in note for note in notes(events))
    assert models(workspace) == ["new"]


def test_nothing_is_left_of_a_model_that_is_refused(workspace: Workspace, elsewhere: Path) -> None:
    flat = write_flat(elsewhere)

    def spoil(table: dict[str, Any]) -> None:
        table["dense1/weight:0"][0] = np.nan

    flat.change("inter.npy", spoil)
    with pytest.raises(IncompatibleModel, match="no numbers"):
        import_models(workspace, elsewhere)
    assert models(workspace) == []


def test_nothing_is_left_of_an_import_that_is_stopped(workspace: Workspace, elsewhere: Path) -> None:
    write_flat(elsewhere)
    asked = iter([False] * 30 + [True] * 1000)
    with pytest.raises(Interrupted):
        import_models(workspace, elsewhere, stop=lambda: next(asked))
    assert models(workspace) == []
    import_models(workspace, elsewhere)


def test_one_at_a_time(workspace: Workspace, elsewhere: Path) -> None:
    """Whoever trains or imports a model of that name is its one writer."""
    write_flat(elsewhere)
    with workspace.writing("model-new"), pytest.raises(Busy):
        import_models(workspace, elsewhere)
    outcomes: list[str] = []

    def bring_in() -> None:
        try:
            import_models(Workspace(workspace.root), elsewhere)
            outcomes.append("done")
        except (Busy, UsageError) as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=bring_in) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("done") == 1
    assert CheckpointStore(workspace.model("new")).newest() is not None


def test_the_files_may_be_read_only_and_the_workspace_may_not() -> None:
    with ordinary_user() as home:
        elsewhere = home / "elsewhere"
        write_flat(elsewhere)
        elsewhere.chmod(0o555)
        workspace = Workspace.create(home / "shot")
        import_models(workspace, elsewhere)
        workspace.models.chmod(0o555)
        with pytest.raises(ReadOnlyWorkspace):
            import_models(workspace, elsewhere, ModelImportOptions(as_="again"))
        workspace.models.chmod(0o755)
        assert models(workspace) == ["new"]
        (elsewhere / "new_SAEHD_inter.npy").chmod(0)
        with pytest.raises(IncompatibleModel, match=r"inter\.npy cannot be read"):
            import_models(workspace, elsewhere, ModelImportOptions(as_="again"))
        elsewhere.chmod(0)
        with pytest.raises(MissingModel, match="cannot be read"):
            import_models(workspace, elsewhere, ModelImportOptions(as_="again"))
        elsewhere.chmod(0o755)


def test_a_disk_that_is_too_small_is_seen_before_it_is_full(elsewhere: Path) -> None:
    write_flat(elsewhere)
    with small_disk(mib=1) as disk:
        workspace = Workspace.create(disk / "shot")
        with pytest.raises(DiskFull, match="MB free"):
            import_models(workspace, elsewhere)
        assert models(workspace) == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half(elsewhere: Path) -> None:
    write_flat(elsewhere)
    needed = sum(path.stat().st_size for path in elsewhere.iterdir())
    with small_disk(mib=needed // 2**20 + 3) as disk:
        workspace = Workspace.create(disk / "shot")
        asked = 0

        def fill_the_disk() -> bool:
            nonlocal asked
            asked += 1
            if asked == 20:
                fill(disk)
            return False

        with pytest.raises(DiskFull):
            import_models(workspace, elsewhere, stop=fill_the_disk)
        assert models(workspace) == []
        (disk / "ballast").unlink()
        import_models(workspace, elsewhere)
        assert is_model(workspace.model("new"))


def killed_at_moments(folder: Path, step: int, *, backups: bool) -> int:
    """Kill an import before every `step`th change on the disk and run it again; how many changes there are.

    Nobody sees half a model at any moment, and the same command then brings in all of it.
    """
    small = {"optimiser": None, "archi": "liae", "d_dims": 4, "e_dims": 4}
    flat = write_flat(folder / "elsewhere", **small)
    if backups:
        backups_of(flat, 1200, **small)
    stage, arguments = (
        "stages.model_import:import_models",
        {"folder": str(flat.folder), "options": {"backups": backups}},
    )
    whole = {"checkpoints", "history.jsonl", "model.json", "reference"} | ({"backups"} if backups else set())
    with mortal() as run:
        moment = 0
        while True:
            workspace = Workspace.create(folder / f"shot{moment}")
            fate = run(stage, workspace.root, kill_at=moment, **arguments)
            if not fate.killed:
                assert fate.error is None
                return fate.changes
            seen = [model.name for model in list_models(workspace)]
            assert seen in ([], ["new"])
            if seen:
                assert CheckpointStore(workspace.model("new")).newest() is not None
            again = run(stage, workspace.root, **arguments)
            assert again.error == ("usage-error" if seen else None)
            assert {path.name for path in workspace.model("new").iterdir()} == whole
            assert models(workspace) == ["new"]
            moment += step


def test_killed_it_can_be_run_again(tmp_path: Path) -> None:
    assert killed_at_moments(tmp_path, 17, backups=True) > 20


@pytest.mark.faults
@pytest.mark.parametrize("backups", [False, True])
def test_killed_at_any_moment_it_can_be_run_again(tmp_path: Path, backups: bool) -> None:
    assert killed_at_moments(tmp_path, 1, backups=backups) > 10


def test_hostile_files_beside_the_model_change_nothing(workspace: Workspace, elsewhere: Path) -> None:
    flat = write_flat(elsewhere)
    flat.file("merger_session.dat").write_bytes(pickle.dumps(Path, 4))
    events: list[Event] = []
    result = import_models(workspace, elsewhere, report=events.append)
    assert result.notes["models"][0]["unused"] == ["new_SAEHD_merger_session.dat"]
    assert any("merger_session.dat" in note for note in notes(events, "info"))

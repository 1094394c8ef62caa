"""`understudy model export-dfl` as it is typed."""

from __future__ import annotations

from pathlib import Path

from terminal import understudy

from own_models import own_model
from understudy.workspace import Workspace


def test_what_was_written_is_said_and_a_second_time_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    own_model(workspace, "hi", "tiny", adabelief=False)
    done = understudy("-w", workspace.root, "--json", "model", "export-dfl", "hi")
    assert done.code == 0, done.err
    assert {Path(path).name for path in done.body["outputs"]} >= {"hi_SAEHD_data.dat", "hi_SAEHD_encoder.npy"}
    assert done.body["class"] == "SAEHD"
    assert done.body["iteration"] == 4

    refused = understudy("-w", workspace.root, "--json", "model", "export-dfl", "hi")
    assert refused.code == 2
    assert refused.body["error"]["code"] == "usage-error"
    assert "--replace" in refused.body["error"]["hint"]

    line = ["-w", workspace.root, "model", "export-dfl", "hi", "--output", tmp_path / "out", "--as", "other"]
    done = understudy(*line)
    assert done.code == 0
    assert (tmp_path / "out" / "other_SAEHD_data.dat").is_file()
    assert "other" in done.out

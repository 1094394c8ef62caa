"""Options of `model import`."""

from __future__ import annotations

from pydantic import model_validator

from understudy.options import Options, option


class ModelImportOptions(Options):
    """Which of a folder's models are brought in, and what with them."""

    name: str | None = option(
        None,
        "The model to bring in, where the folder holds several: new, or new_SAEHD where two classes share the name.",
        group="Models",
    )
    as_: str | None = option(None, "Name of the model here, if not its own.", group="Models")
    all: bool = option(False, "Bring in every model of the folder.", group="Models")
    list: bool = option(False, "Only say what the folder holds, and bring in nothing.", group="Models")
    backups: bool = option(
        False,
        "Bring in its automatic backups too, as backups of the new model. Each takes as much room as the model.",
        group="Models",
    )

    @model_validator(mode="after")
    def _one_or_all(self) -> ModelImportOptions:
        if self.all and (self.name is not None or self.as_ is not None):
            raise ValueError("--all brings in every model by its own name: it goes with neither --name nor --as")
        return self

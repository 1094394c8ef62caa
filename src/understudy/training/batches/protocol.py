"""What the training loop asks of whatever deals batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

from understudy.training.faces.bank import FaceBank


class Batches(Protocol):
    """Batches for ever; `state_dict` after one is all that a resumed run needs to go on with the next.

    part: which samples of a batch of so many are made here; the rest is made by other processes of a team.
    """

    part: Callable[[int], slice]

    def __next__(self) -> Any: ...

    @property
    def batch_size(self) -> int:
        """Samples in a batch, of all processes together; of swappers of each side."""
        ...

    @property
    def seed(self) -> int:
        """Start of all random draws."""
        ...

    @property
    def banks(self) -> tuple[FaceBank, FaceBank]:
        """The faces of src and dst."""
        ...

    def note(self, losses: Mapping[str, Tensor]) -> None:
        """Hear how hard the samples of the newest batch were: (B,) by name."""
        ...

    def replace_banks(self, src: FaceBank, dst: FaceBank) -> None:
        """Draw from other faces from the next batch on."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

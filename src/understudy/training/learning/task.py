"""What models of a kind do with faces. The loop knows one task at a time and none by name.

Swapping   redraw two people              SAEHD, AMP, Quick96     swapping.py
Masking    find what of a face is face    XSeg                    masking/task.py
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from understudy.training.batches.protocol import Batches
from understudy.training.faces.bank import FaceBank

if TYPE_CHECKING:
    from understudy.training.learning.learner import Learner
    from understudy.training.options import TrainOptions
    from understudy.training.recipes import Recipe

Banks = tuple[FaceBank, FaceBank]
"""The faces of src and dst."""


class Task(ABC):
    """What differs between redrawing faces and masking them. learner: how a network of the kind learns."""

    learner: ClassVar[type[Learner[Any]]]

    @abstractmethod
    def batches(
        self, recipe: Recipe, options: TrainOptions, banks: Banks, device: torch.device, *, faithful: bool
    ) -> Batches:
        """A source of batches as options want them."""

    @abstractmethod
    def deal_as(
        self, batches: Any, recipe: Recipe, options: TrainOptions, banks: Banks | None, *, faithful: bool
    ) -> None:
        """Bring a source to other options from its next batch on, and to other faces, if given."""

    def needs_other_faces(
        self, banks: Banks, before: Any, objective: Any, options: TrainOptions, faithful: bool
    ) -> bool:
        """Whether faces are to be loaded once more, since what is known of them is not all that is needed by now.

        before, objective: what was minimised and what is by now.
        """
        return False

    @abstractmethod
    def known_names(self, banks: Banks) -> Mapping[str, Sequence[str]]:
        """The faces that previews can show now, by side."""

    def names_to_choose(self, banks: Banks) -> Mapping[str, Sequence[str]]:
        """The faces that may be asked for, by side; where one is not known yet, other faces are needed."""
        return self.known_names(banks)

    @abstractmethod
    def faces_to_show(
        self, banks: Banks, names: Mapping[str, Sequence[str]], batches: Any, device: torch.device
    ) -> Any:
        """Those faces, as the recipe's previews take them."""

    @abstractmethod
    def imagined_batch(self, size: int, count: int) -> Any:
        """A batch without numbers, on torch's device meta."""

"""What Fabric asks about the processes that train together, answered from a `Seat`."""

from __future__ import annotations

import os

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

from understudy.training.team.launching import Seat


class Cluster(ClusterEnvironment):
    """Processes that are started already: by the first of them, or by torchrun, whose variables name its address."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return os.environ.get("MASTER_ADDR", "127.0.0.1")

    @property
    def main_port(self) -> int:
        return int(os.environ.get("MASTER_PORT", "0"))

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._seat.size

    def set_world_size(self, size: int) -> None:
        """It stands already."""

    def global_rank(self) -> int:
        return self._seat.rank

    def set_global_rank(self, rank: int) -> None:
        """It stands already."""

    def local_rank(self) -> int:
        return self._seat.local_rank

    def node_rank(self) -> int:
        return self._seat.rank // len(self._seat.devices)

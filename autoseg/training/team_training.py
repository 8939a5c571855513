"""What a trainer needs to know of the devices that train together."""

from __future__ import annotations

from autoseg.training import team
from autoseg.training.team import Team


class TeamTraining:
    """A trainer that is one of several processes, or alone.

    Attributes:
        team: the processes.
        local_rank: by which nnU-Net decides who writes; the number in the team.
    """

    local_rank: int
    team: Team

    def join_team(self) -> None:
        """Before anything else: a trainer stays in the team that it was made in."""
        self.team = team.active()

    @property
    def is_ddp(self) -> bool:
        """Whether nnU-Net's own launcher runs several processes; a `Team` needs nothing of that."""
        return self._is_ddp and self.team.size == 1

    @is_ddp.setter
    def is_ddp(self, found: bool) -> None:
        self._is_ddp = found

    def take_rank(self) -> None:
        """Let nnU-Net know which process this is."""
        if self.team.size > 1:
            self.local_rank = self.team.rank

"""`KeepOptions`: where the snapshots of agents are kept, and how."""

from typing import Any

from three_mode.errors import ConfigurationError
from three_mode.frozen_options import FrozenOptions

NATS = "nats"
MIB = 1024 * 1024


class _Place(FrozenOptions, frozen=True, kw_only=False):
    where: str = ""
    """A file of SQLite; `nats`: JetStream's key-value store of the cluster; empty: the orchestrator's memory."""


class KeepOptions(_Place, frozen=True, kw_only=True):
    """Where `Agent.keep` keeps snapshots: `OrchestratorOptions(keep=KeepOptions("state.sqlite"))`."""

    largest: int = MIB
    """Bytes of the largest snapshot (1 MiB)."""
    durable: bool = False
    """Whether each write to the file reaches the disk, so that it survives a power cut too. Without, it survives the
    end of any process."""
    within: float = 10.0
    """Seconds that a keep, or the reading of a snapshot, may take (10)."""

    @classmethod
    def of(cls, given: Any) -> "KeepOptions":
        """Return the options that `OrchestratorOptions(keep=...)` was given: a file, `nats`, or KeepOptions."""
        if isinstance(given, str):
            given = cls(given)
        if not isinstance(given, cls) or not isinstance(given.where, str):
            raise ConfigurationError(
                f"keep is the path of a file, 'nats', or KeepOptions, not a {type(given).__name__}",
                hint="OrchestratorOptions(keep='state.sqlite')",
            )
        if given.largest < 1 or not given.within > 0.0:
            raise ConfigurationError("KeepOptions: largest and within are above 0")
        return given

    @property
    def file(self) -> str:
        """Path of the file; empty where there is none."""
        return "" if self.where == NATS else self.where

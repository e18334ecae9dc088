"""Absences: providers whose gRPC was not there a moment ago, and which HTTP reaches meanwhile.

An attempt over gRPC that fails because there is no gRPC (no server, another protocol, no such method) is made again
over HTTP at once, and the next calls go over HTTP for some time. Any other failure is the provider's, and HTTP would
repeat it.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from three_mode.errors import LLMError, ThreeModeError
from three_mode.policies.clock import MONOTONIC, Clock
from three_mode.policies.routing import Target

NO_GRPC = "NO_GRPC"
"""Code of an error of a channel: no server could be reached, or it does not speak gRPC."""
_ABSENT = frozenset({NO_GRPC, "UNIMPLEMENTED"})


class Absences:
    """Absences of one connection, remembered for `remember` seconds."""

    def __init__(self, remember: float, clock: Clock = MONOTONIC) -> None:
        self._remember, self._clock = remember, clock
        # Provider -> when its gRPC is tried again, and why it was not there.
        self._until: dict[str, tuple[float, str]] = {}

    def instead(self, target: Target, error: ThreeModeError) -> Target | None:
        """The target over HTTP that takes the place of one over gRPC, if the error says that there is no gRPC."""
        if not isinstance(error, LLMError) or error.code not in _ABSENT:
            return None
        self._until[target.provider] = (self._clock.now() + self._remember, error.message)
        return replace(target, grpc=False)

    def settled(self, targets: Sequence[Target]) -> tuple[Sequence[Target], Target | None, str | None]:
        """The targets with HTTP in the place of gRPC that is not there; the first that was changed so, and why."""
        if not self._until:
            return targets, None, None
        # Each once: the other side of a split may be the same over HTTP.
        found: dict[tuple[str, str, bool], Target] = {}
        changed: Target | None = None
        why = None
        for target in targets:
            said = self._said(target.provider) if target.grpc else None
            if said is not None:
                target = replace(target, grpc=False)
                changed, why = changed or target, why or said
            found.setdefault((target.provider, target.model, target.grpc), target)
        return list(found.values()), changed, why

    def _said(self, provider: str) -> str | None:
        """Why the gRPC of a provider is not tried now; None where it is."""
        until, said = self._until.get(provider, (0.0, ""))
        left = until - self._clock.now()
        if left <= 0:
            self._until.pop(provider, None)
            return None
        return f"over HTTP, and over gRPC again in {left:.0f} s: {said}"[:200]

"""Claims of one node, by name: few orders begin many agents, and those of one order take two bytes each."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from three_mode.cluster.core.frames import Claim
from transports.bus import NameRows

_Epoch = tuple[int, bool, int]  # number, away, placed


class Claims:
    """Name -> claim."""

    __slots__ = ("_epochs",)

    def __init__(self, claims: Iterable[Claim] = ()) -> None:
        self._epochs: NameRows[_Epoch] = NameRows()
        self.add(claims)

    def add(self, claims: Iterable[Claim]) -> None:
        """Add claims, in place of earlier ones of their names."""
        for epoch, some in groupby(claims, _epoch):
            self._epochs.put([claim.name for claim in some], epoch)

    def remove(self, name: str) -> bool:
        """Remove the claim of a name; return whether there was one."""
        return self._epochs.pop(name) is not None

    def get(self, name: str) -> Claim | None:
        """Return the claim of a name, if there is one."""
        epoch = self._epochs.find(name)
        return Claim(name, *epoch) if epoch is not None else None

    def epoch(self, name: str) -> tuple[int, bool, int] | None:
        """Return the number of the claim of a name, whether it is away, and its place; for each message."""
        return self._epochs.get(name)

    def __getitem__(self, name: str) -> Claim:
        return Claim(name, *self._epochs[name])

    def rank(self, name: str) -> int:
        """Return the rank of the claim of a name; -1 where there is none."""
        epoch = self._epochs.find(name)
        return epoch[2] or epoch[0] if epoch is not None else -1

    def __contains__(self, name: str) -> bool:
        return name in self._epochs

    def __len__(self) -> int:
        return len(self._epochs)

    def __iter__(self) -> Iterator[str]:
        """Yield all names."""
        return iter(self._epochs)

    def values(self) -> Iterator[Claim]:
        """Yield all claims."""
        return (Claim(name, *epoch) for name, epoch in self._epochs.pairs())

    def in_group(self, group: str) -> int:
        """Return how many names a group has."""
        return self._epochs.in_group(group)


def _epoch(claim: Claim) -> _Epoch:
    return claim.number, claim.away, claim.placed

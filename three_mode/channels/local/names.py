"""The names in the catalogue of local models, looked at the disk for at most once a second."""

import time
from collections.abc import Iterable, Iterator

KEPT = 1.0  # seconds


class LocalNames:
    """The names in the catalogue, and those that a connection gives to files of its own."""

    def __init__(self, own: Iterable[str] = ()) -> None:
        self._own = frozenset(own)
        self._names: frozenset[str] = frozenset()
        self._until = 0.0

    def __contains__(self, name: object) -> bool:
        return name in self._fresh()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._fresh()))

    def _fresh(self) -> frozenset[str]:
        now = time.monotonic()
        if now >= self._until:
            from local_models import files  # when the first name is looked up

            self._names, self._until = self._own | frozenset(files.paths()), now + KEPT
        return self._names


def how_to_get(name: str) -> str:
    """How a model that the catalogue lacks comes onto this computer; empty where the name is no known one."""
    from local_models import files

    known = files.KNOWN.get(name)
    return known.advice if known is not None else ""

"""Watches: callbacks for changes of the directory."""

from collections.abc import Callable
from typing import Any

from transports.bus.events import DirectoryChange
from transports.bus.pubsub.delivery import CAUGHT


class Watch:
    """One callback for changes of members and names. `close()` ends it."""

    __slots__ = ("_watches", "callback")

    def __init__(self, watches: "dict[Watch, None]", callback: Callable[[DirectoryChange], Any]) -> None:
        self._watches = watches
        self.callback = callback
        watches[self] = None

    def close(self) -> None:
        """Call the callback no more."""
        self._watches.pop(self, None)


class Watches:
    """All watches of one member. `failed(where, error)` reports what a callback raised."""

    def __init__(self, failed: Callable[[str, BaseException], None]) -> None:
        self._failed = failed
        self._watches: dict[Watch, None] = {}

    def add(self, callback: Callable[[DirectoryChange], Any]) -> Watch:
        """Add a callback."""
        return Watch(self._watches, callback)

    def notify(self, change: DirectoryChange) -> None:
        """Call every callback with one change."""
        for watch in list(self._watches):
            try:
                watch.callback(change)
            except CAUGHT as error:  # reported, never passed on
                self._failed("watch of the directory", error)

"""What a page shows."""

from pathlib import Path

from msgspec import Struct

from transports.bus import Bus


class PageContent(Struct, frozen=True):
    """What a page shows: a bus that this process has joined, a recording, or both."""

    bus: Bus | None = None
    recording: Path | None = None

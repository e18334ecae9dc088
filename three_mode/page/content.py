"""What a page shows."""

from typing import TYPE_CHECKING

from msgspec import Struct

from transports.bus import Bus

if TYPE_CHECKING:
    from three_mode.page.recordings.film import Film


class PageContent(Struct, frozen=True):
    """What a page shows: a bus that this process has joined, a recording, or both."""

    bus: Bus | None = None
    recording: "Film | None" = None
    talks: str = ""
    """File of conversations that the page lists, opens and goes on with; empty: none."""

"""What is left of HTTP/2 streams: bytes that wait for the client's windows, and bodies that nobody wants. Pure."""

from collections import deque
from collections.abc import Callable

from transports.http2.request import Header


class PendingBody:
    """The part of a response that the client has not made room for."""

    __slots__ = ("_ends", "_pieces", "moved_at", "trailers")

    def __init__(self, body: bytes, ends: bool, clock: Callable[[], float]) -> None:
        self._pieces: deque[memoryview | bytes] = deque((body,) if body else ())
        self._ends = ends
        self.trailers: list[Header] | None = None
        self.moved_at = clock()  # when the client last took something

    def add(self, body: bytes, ends: bool) -> None:
        """More of it."""
        if body:
            self._pieces.append(body)
        self._ends = ends

    @property
    def empty(self) -> bool:
        """Whether all bytes have gone."""
        return not self._pieces

    def take(self, size: int) -> tuple[bytes | memoryview, bool]:
        """At most that many bytes, and whether they are the last."""
        if not self._pieces:
            return b"", self._ends
        if size <= 0:
            return b"", False
        first = self._pieces[0]
        if len(first) <= size:
            self._pieces.popleft()
            return first, self._ends and not self._pieces
        view = memoryview(first)
        self._pieces[0] = view[size:]
        return view[:size], False


class Unwanted:
    """The rest of a body whose request has its response: thrown away, for a while."""

    __slots__ = ("_size", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self._size = 0

    def took(self, size: int) -> int:
        """Bytes thrown away so far."""
        self._size += size
        return self._size

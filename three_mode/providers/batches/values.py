"""Values of batches, the same for every provider."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

from three_mode.providers.codec import Outgoing
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import bad_reply

#: State of a batch. The last four are ends: no more results come.
BatchState = Literal["validating", "running", "cancelling", "completed", "failed", "expired", "cancelled"]
ENDS: frozenset[BatchState] = frozenset({"completed", "failed", "expired", "cancelled"})
Marks = Mapping[str, str]  #: notes of ours that a provider keeps with a batch
_CUSTOM_ID = re.compile(rb'"custom_id"\s*:\s*"([A-Za-z0-9_-]{1,64})"')


class LineProblem(Struct, frozen=True):
    """Why a provider refused a batch as a whole; `line` is the one at fault, from 0."""

    message: str
    code: str | None = None
    line: int | None = None


class ProviderBatch(Struct, frozen=True, kw_only=True):
    """One batch, as its provider describes it."""

    id: str
    state: BatchState
    total: int | None = None
    """Requests in it; None: the provider does not say so yet."""
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    created_at: datetime | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    results: tuple[str, ...] = ()
    """Paths of its results behind the base URL, in one piece or several."""
    problems: tuple[LineProblem, ...] = ()
    marks: Marks = {}

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self.state in ENDS


class BatchPage(Struct, frozen=True):
    """A page of the list of batches, newest first; `after` is the id to go on from, None at the end."""

    batches: tuple[ProviderBatch, ...]
    after: str | None = None


class LineOutcome(Struct, frozen=True, kw_only=True):
    """Result of one request: the body of its reply, or of the refusal with its status, or how it ended without one."""

    custom_id: str
    reply: bytes | None = None
    refusal: bytes | None = None
    status: int = 0
    request_id: str | None = None
    ended: Literal["cancelled", "expired"] | None = None


class BatchCodec(Protocol):
    """Codec of one provider's batch endpoints."""

    profile: Profile
    keeps_marks: bool
    """Whether the provider keeps notes of ours with a batch, by which it can be found again."""

    def line(self, custom_id: str, body: bytes) -> bytes:
        """Encodes one request of a batch, from the body of a live one."""
        ...

    def size(self, lines: Sequence[bytes]) -> int:
        """The bytes of these lines together, as the provider counts them."""
        ...

    def upload(self, lines: Sequence[bytes], name: str) -> Outgoing | None:
        """Encodes the upload that comes before a batch; None: the batch itself carries the lines."""
        ...

    def read_upload(self, body: bytes) -> str:
        """Decodes the id of what was uploaded."""
        ...

    def create(
        self, lines: Sequence[bytes], uploaded: str | None, marks: Marks, headers: Sequence[tuple[bytes, bytes]]
    ) -> Outgoing:
        """Encodes the request that begins a batch; `headers` are those of the live requests."""
        ...

    def retrieve(self, batch: str) -> Outgoing:
        """Encodes the question how a batch is."""
        ...

    def cancel(self, batch: str) -> Outgoing:
        """Encodes the request to end a batch."""
        ...

    def listing(self, after: str | None) -> Outgoing:
        """Encodes the request for a page of the list of batches."""
        ...

    def download(self, path: str) -> Outgoing:
        """Encodes the request for results."""
        ...

    def read(self, body: bytes) -> ProviderBatch:
        """Decodes a batch."""
        ...

    def read_page(self, body: bytes) -> BatchPage:
        """Decodes a page of the list."""
        ...

    def outcome(self, line: bytes) -> LineOutcome:
        """Decodes one line of the results. A line that breaks the protocol is a BadReply."""
        ...


def custom_id_in(line: bytes) -> str | None:
    """The custom id in a line that cannot be decoded otherwise."""
    found = _CUSTOM_ID.search(line)
    return None if found is None else found[1].decode("ascii")


def line_outcome(profile: Profile, read: Callable[[bytes], LineOutcome], line: bytes) -> LineOutcome:
    """Reads one line of results. A line that breaks the protocol is a BadReply."""
    try:
        return read(line)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"[:200]
        raise bad_reply(profile, f"a line of the batch's results cannot be read ({why})") from None

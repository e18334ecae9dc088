"""Batch endpoints of Anthropic: one request carries all requests of a batch, and its results are a file of lines.

`POST {base}/messages/batches`, `GET {base}/messages/batches/ID`, `POST {base}/messages/batches/ID/cancel`,
`GET {base}/messages/batches/ID/results`. A batch keeps nothing of ours but the custom ids of its requests, which only
its results show.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from three_mode.providers.anthropic import VERSION, VERSION_WITH_SAMPLING
from three_mode.providers.batches.values import (
    BatchCodec,
    BatchPage,
    BatchState,
    LineOutcome,
    Marks,
    ProviderBatch,
    line_outcome,
)
from three_mode.providers.codec import Outgoing
from three_mode.providers.pieces import JSON_HEADERS, count_of, reading, text_of
from three_mode.providers.profile import Profile

_PAGE = 100
_PATH = "/messages/batches"
_ACCEPT = JSON_HEADERS[1:] + VERSION
_ENDED = {"canceled": "cancelled", "expired": "expired"}


NOTHING = Raw()


class _Result(Struct):
    type: str
    message: Raw = NOTHING
    error: Raw = NOTHING


class _MessageLine(Struct):
    custom_id: str
    result: _Result


_read_line = msgspec.json.Decoder(_MessageLine).decode


class AnthropicBatches(BatchCodec):
    """Codec of Anthropic's message batches."""

    keeps_marks = False

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def line(self, custom_id: str, body: bytes) -> bytes:
        return b'{"custom_id":"%b","params":%b}' % (custom_id.encode(), body)

    def size(self, lines: Sequence[bytes]) -> int:
        return sum(map(len, lines)) + len(lines) + len(b'{"requests":[]}')

    def upload(self, lines: Sequence[bytes], name: str) -> None:
        return None

    def read_upload(self, body: bytes) -> str:
        raise NotImplementedError("nothing is uploaded")  # `upload` says so

    def create(
        self, lines: Sequence[bytes], uploaded: str | None, marks: Marks, headers: Sequence[tuple[bytes, bytes]]
    ) -> Outgoing:
        versions = [value for name, value in headers if name == b"anthropic-version"]
        old = VERSION_WITH_SAMPLING[0][1]
        version = VERSION_WITH_SAMPLING if old in versions else VERSION  # the old one takes all that the new one takes
        rest = tuple(dict.fromkeys(each for each in headers if each[0] != b"anthropic-version"))
        return Outgoing("POST", _PATH, b'{"requests":[%b]}' % b",".join(lines), rest + version)

    def retrieve(self, batch: str) -> Outgoing:
        return Outgoing("GET", f"{_PATH}/{quote(batch, safe='')}", headers=_ACCEPT)

    def cancel(self, batch: str) -> Outgoing:
        return Outgoing("POST", f"{_PATH}/{quote(batch, safe='')}/cancel", headers=JSON_HEADERS + VERSION)

    def listing(self, after: str | None) -> Outgoing:
        more = f"&after_id={quote(after, safe='')}" if after else ""
        return Outgoing("GET", f"{_PATH}?limit={_PAGE}{more}", headers=_ACCEPT)

    def download(self, path: str) -> Outgoing:
        return Outgoing("GET", path, headers=VERSION)

    def read(self, body: bytes) -> ProviderBatch:
        return reading(self.profile, _batch, body, "batch")

    def read_page(self, body: bytes) -> BatchPage:
        return reading(self.profile, _page, body, "list of batches")

    def outcome(self, line: bytes) -> LineOutcome:
        return line_outcome(self.profile, _outcome, line)


def _outcome(line: bytes) -> LineOutcome:
    read = _read_line(line)
    result = read.result
    if result.type == "succeeded" and bytes(result.message):
        return LineOutcome(custom_id=read.custom_id, reply=bytes(result.message))
    if result.type == "errored" and bytes(result.error):
        return LineOutcome(custom_id=read.custom_id, refusal=bytes(result.error))
    return LineOutcome(custom_id=read.custom_id, ended=_ENDED[result.type])  # type: ignore[arg-type]


def _batch(reply: Any) -> ProviderBatch:
    counts = reply["request_counts"]
    waiting, succeeded, failed, cancelled, expired = (
        count_of(counts.get(name)) for name in ("processing", "succeeded", "errored", "canceled", "expired")
    )
    status, found = text_of(reply["processing_status"]), text_of(reply["id"])
    if not found:
        raise ValueError("the id is empty")
    ended = status == "ended"
    state: BatchState = {"in_progress": "running", "canceling": "cancelling", "ended": "completed"}[status]  # type: ignore[assignment]
    if ended and (expired or cancelled):
        state = "expired" if expired else "cancelled"
    return ProviderBatch(
        id=found,
        state=state,
        total=waiting + succeeded + failed + cancelled + expired,
        succeeded=succeeded,
        failed=failed,
        cancelled=cancelled,
        expired=expired,
        created_at=_moment(reply.get("created_at")),
        expires_at=_moment(reply.get("expires_at")),
        ended_at=_moment(reply.get("ended_at")),
        # The address that the reply names is left alone: a key goes to no other host than its own.
        results=(f"{_PATH}/{quote(found, safe='')}/results",) if ended and reply.get("results_url") else (),
    )


def _page(reply: Any) -> BatchPage:
    found = tuple(map(_batch, reply["data"]))
    return BatchPage(found, found[-1].id if found and reply.get("has_more") else None)


def _moment(text: Any) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text_of(text)).astimezone(UTC)

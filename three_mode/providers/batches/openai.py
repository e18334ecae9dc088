"""Batch endpoints of OpenAI: a file of requests is uploaded, a batch is made of it, and its results are files again.

`POST {base}/files` (multipart, purpose `batch`), `POST {base}/batches`, `GET {base}/batches/ID`,
`POST {base}/batches/ID/cancel`, `GET {base}/files/ID/content`. A batch keeps `metadata`, which the list shows too.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from three_mode.providers.batches.values import (
    BatchCodec,
    BatchPage,
    BatchState,
    LineOutcome,
    LineProblem,
    Marks,
    ProviderBatch,
    line_outcome,
)
from three_mode.providers.codec import Header, Outgoing
from three_mode.providers.pieces import JSON_HEADERS, count_of, encode_json, reading, text_of
from three_mode.providers.profile import Profile

ENDPOINT = "/v1/chat/completions"
WINDOW = "24h"  # the only one there is
_PAGE = 100
_ACCEPT = JSON_HEADERS[1:]
_STATES: dict[str, BatchState] = {
    "validating": "validating",
    "in_progress": "running",
    "finalizing": "running",
    "cancelling": "cancelling",
    "completed": "completed",
    "failed": "failed",
    "expired": "expired",
    "cancelled": "cancelled",
}
# Codes in the file of errors, of requests that were never answered.
_UNANSWERED = {"batch_expired": "expired", "batch_cancelled": "cancelled"}


class _Response(Struct):
    body: Raw
    status_code: int = 200
    request_id: str | None = None


class _Failure(Struct):
    code: str | None = None
    message: str | None = None


class _CompletionLine(Struct):
    custom_id: str
    response: _Response | None = None
    error: _Failure | None = None


_read_line = msgspec.json.Decoder(_CompletionLine).decode


class OpenAIBatches(BatchCodec):
    """Codec of OpenAI's batches of chat completions."""

    keeps_marks = True

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def line(self, custom_id: str, body: bytes) -> bytes:
        head = b'{"custom_id":"%b","method":"POST","url":"%b","body":' % (custom_id.encode(), ENDPOINT.encode())
        return head + body + b"}\n"

    def size(self, lines: Sequence[bytes]) -> int:
        return sum(map(len, lines))

    def upload(self, lines: Sequence[bytes], name: str) -> Outgoing:
        boundary = f"three-mode-{name}".encode()  # with an id of chance in it, which no line has at its beginning
        head = (
            b'--%b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            b'--%b\r\nContent-Disposition: form-data; name="file"; filename="%b.jsonl"\r\n'
            b"Content-Type: application/jsonl\r\n\r\n" % (boundary, boundary, name.encode())
        )
        body = b"".join((head, *lines, b"\r\n--%b--\r\n" % boundary))
        headers: tuple[Header, ...] = ((b"content-type", b"multipart/form-data; boundary=" + boundary), *_ACCEPT)
        return Outgoing("POST", "/files", body, headers)

    def read_upload(self, body: bytes) -> str:
        return reading(self.profile, lambda reply: _id_of(reply), body, "uploaded file")

    def create(
        self, lines: Sequence[bytes], uploaded: str | None, marks: Marks, headers: Sequence[tuple[bytes, bytes]]
    ) -> Outgoing:
        said = {
            "input_file_id": uploaded,
            "endpoint": ENDPOINT,
            "completion_window": WINDOW,
            "metadata": dict(marks),
        }
        return Outgoing("POST", "/batches", encode_json(said), JSON_HEADERS)

    def retrieve(self, batch: str) -> Outgoing:
        return Outgoing("GET", f"/batches/{quote(batch, safe='')}", headers=_ACCEPT)

    def cancel(self, batch: str) -> Outgoing:
        return Outgoing("POST", f"/batches/{quote(batch, safe='')}/cancel", headers=JSON_HEADERS)

    def listing(self, after: str | None) -> Outgoing:
        more = f"&after={quote(after, safe='')}" if after else ""
        return Outgoing("GET", f"/batches?limit={_PAGE}{more}", headers=_ACCEPT)

    def download(self, path: str) -> Outgoing:
        return Outgoing("GET", path)

    def read(self, body: bytes) -> ProviderBatch:
        return reading(self.profile, _batch, body, "batch")

    def read_page(self, body: bytes) -> BatchPage:
        return reading(self.profile, _page, body, "list of batches")

    def outcome(self, line: bytes) -> LineOutcome:
        return line_outcome(self.profile, _outcome, line)


def _outcome(line: bytes) -> LineOutcome:
    read = _read_line(line)
    if read.response is not None:
        body, status, request_id = bytes(read.response.body), read.response.status_code, read.response.request_id
        if status < 400:
            return LineOutcome(custom_id=read.custom_id, reply=body, request_id=request_id)
        return LineOutcome(custom_id=read.custom_id, refusal=body, status=status, request_id=request_id)
    if read.error is None:
        raise ValueError("a line of results has neither response nor error")
    ended = _UNANSWERED.get(read.error.code or "")
    said = encode_json({"error": {"code": read.error.code, "message": read.error.message}})
    return LineOutcome(custom_id=read.custom_id, refusal=said, ended=ended)  # type: ignore[arg-type]


def _batch(reply: Any) -> ProviderBatch:
    counts = reply.get("request_counts") or {}
    total, succeeded, failed = (count_of(counts.get(name)) for name in ("total", "completed", "failed"))
    state = _STATES[reply["status"]]
    files = [reply.get("output_file_id"), reply.get("error_file_id")]
    lost = total - succeeded - failed
    return ProviderBatch(
        id=_id_of(reply),
        state=state,
        total=total or None,
        succeeded=succeeded,
        failed=failed,
        cancelled=lost if state == "cancelled" else 0,
        expired=lost if state == "expired" else 0,
        created_at=_moment(reply.get("created_at")),
        expires_at=_moment(reply.get("expires_at")),
        ended_at=_moment(reply.get(f"{state}_at")),
        results=tuple(f"/files/{quote(text_of(file), safe='')}/content" for file in files if file),
        problems=tuple(_problem(each) for each in (reply.get("errors") or {}).get("data") or ()),
        marks={str(name): str(value) for name, value in (reply.get("metadata") or {}).items()},
    )


def _problem(reply: Any) -> LineProblem:
    line = reply.get("line")
    return LineProblem(
        text_of(reply.get("message")), text_of(reply.get("code")) or None, None if line is None else count_of(line) - 1
    )


def _page(reply: Any) -> BatchPage:
    found = tuple(map(_batch, reply["data"]))
    return BatchPage(found, found[-1].id if found and reply.get("has_more") else None)


def _id_of(reply: Any) -> str:
    found = text_of(reply["id"])
    if not found:
        raise ValueError("the id is empty")
    return found


def _moment(seconds: Any) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(count_of(seconds), UTC)

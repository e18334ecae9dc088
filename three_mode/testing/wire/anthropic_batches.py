"""Wire format of Anthropic's message batches, for the scripted provider."""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from three_mode.testing.batch_state import DAY, BatchState, ScriptedBatch, ScriptedRequest, refused
from three_mode.testing.script import Answer, Seen
from three_mode.testing.wire.events import document, encode

NDJSON = ((b"content-type", b"application/x-jsonl"),)
_CUSTOM_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def create(state: BatchState, name: str, seen: Seen) -> Answer:
    """Makes a batch, or refuses all of it."""
    requests: list[ScriptedRequest] = []
    known: set[str] = set()
    for number, row in enumerate(seen.json.get("requests") or ()):
        custom_id = row.get("custom_id", "")
        if not _CUSTOM_ID.fullmatch(custom_id) or custom_id in known:
            return refused(seen, 400, f"requests.{number}.custom_id: {custom_id!r} is not right, or there twice")
        if "max_tokens" not in row.get("params", {}):
            return refused(seen, 400, f"requests.{number}.params.max_tokens: Field required")
        known.add(custom_id)
        requests.append(ScriptedRequest(custom_id, row["params"], "/v1/messages"))
    if not requests:
        return refused(seen, 400, "requests: at least one is required")
    url = state.url() + seen.path.partition("/messages/batches")[0]
    batch = ScriptedBatch(state.new_id("msgbatch"), requests, {"url": url}, time.time())
    state.add(batch)
    return document(described(batch))


def retrieve(state: BatchState, name: str, seen: Seen) -> Answer:
    """Describes a batch. One that is being cancelled has ended by the next question."""
    batch = state.batch(name)
    if batch is None:
        return refused(seen, 404, f"batch {name} was not found")
    answer = document(described(batch))
    if batch.cancelling and not batch.ended:
        state.end_cancelled(batch)
    return answer


def cancel(state: BatchState, name: str, seen: Seen) -> Answer:
    """Begins to cancel a batch."""
    batch = state.batch(name)
    if batch is None:
        return refused(seen, 404, f"batch {name} was not found")
    if batch.ended:
        return refused(seen, 400, "the batch has ended")
    batch.cancelling = True
    return document(described(batch))


def listing(state: BatchState, name: str, seen: Seen) -> Answer:
    """Lists batches, newest first."""
    asked = parse_qs(seen.path.partition("?")[2])
    limit, after = int(asked.get("limit", ["20"])[0]), asked.get("after_id", [""])[0]
    newest = state.made[::-1]
    begin = next((place + 1 for place, batch in enumerate(newest) if batch.id == after), 0)
    page = newest[begin : begin + limit]
    return document(
        {
            "data": [described(batch) for batch in page],
            "has_more": begin + limit < len(newest),
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }
    )


def results(state: BatchState, name: str, seen: Seen) -> Answer:
    """Results of a batch that has ended."""
    batch = state.batch(name)
    if batch is None or not batch.ended:
        return refused(seen, 404, f"batch {name} has no results")
    lines = [_line(batch, request) for request in batch.requests]
    return Answer(headers=NDJSON, pieces=tuple(state.arrange(lines)), streamed=True)


def described(batch: ScriptedBatch) -> dict[str, Any]:
    """A batch as JSON. Requests are counted as they are only once all have ended."""
    counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
    if not batch.ended:
        counts["processing"] = len(batch.requests)
    else:
        for request in batch.requests:
            counts[_result(batch, request)["type"]] += 1
    status = "ended" if batch.ended else "canceling" if batch.cancelling else "in_progress"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": counts,
        "created_at": _moment(batch.created_at),
        "expires_at": _moment(batch.created_at + DAY),
        "ended_at": _moment(batch.ended_at) if batch.ended else None,
        "archived_at": None,
        "cancel_initiated_at": _moment(batch.created_at) if batch.cancelling else None,
        "results_url": f"{batch.said['url']}/messages/batches/{batch.id}/results" if batch.ended else None,
    }


def _line(batch: ScriptedBatch, request: ScriptedRequest) -> bytes:
    return encode({"custom_id": request.custom_id, "result": _result(batch, request)}) + b"\n"


def _result(batch: ScriptedBatch, request: ScriptedRequest) -> dict[str, Any]:
    answer = batch.answers.get(request.custom_id)
    if answer is None:
        return {"type": "canceled" if batch.rest == "cancelled" else "expired"}
    body = json.loads(answer.body)
    if answer.status < 400 and body.get("type") != "error":
        return {"type": "succeeded", "message": body}
    return {"type": "errored", "error": body}


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


ACTIONS: dict[str, Callable[[BatchState, str, Seen], Answer]] = {
    "create": create,
    "retrieve": retrieve,
    "cancel": cancel,
    "list": listing,
    "results": results,
}

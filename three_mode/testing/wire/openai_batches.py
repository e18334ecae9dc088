"""Wire format of OpenAI's files and batches, for the scripted provider."""

import json
from collections.abc import Callable
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qs

from three_mode.testing.batch_state import DAY, BatchState, ScriptedBatch, ScriptedRequest, refused
from three_mode.testing.script import Answer, Seen
from three_mode.testing.wire.events import document, encode

NDJSON = ((b"content-type", b"application/octet-stream"),)
COMPLETIONS = "/v1/chat/completions"


def upload(state: BatchState, name: str, seen: Seen) -> Answer:
    """Keeps a file."""
    whole = b"Content-Type: " + seen.headers.get("content-type", "").encode() + b"\r\n\r\n" + seen.body
    fields: dict[str, Any] = {}
    message = message_from_bytes(whole)
    for part in message.get_payload() if message.is_multipart() else ():
        fields[str(part.get_param("name", header="content-disposition"))] = part  # type: ignore[union-attr]
    if "file" not in fields or "purpose" not in fields:
        return refused(seen, 400, "a file and its purpose are required")
    content = fields["file"].get_payload(decode=True)
    file = state.new_id("file")
    state.files[file] = content
    return document(
        {
            "id": file,
            "object": "file",
            "bytes": len(content),
            "created_at": 1_700_000_000,
            "filename": fields["file"].get_filename(),
            "purpose": fields["purpose"].get_payload(),
            "status": "processed",
        }
    )


def create(state: BatchState, name: str, seen: Seen) -> Answer:
    """Makes a batch of a file. What is wrong in the file is told by the batch, which has failed."""
    import time

    said = seen.json
    content = state.files.get(said.get("input_file_id", ""))
    if content is None:
        return refused(seen, 400, f"no such file: {said.get('input_file_id')}")
    if said.get("endpoint") != COMPLETIONS or said.get("completion_window") != "24h":
        return refused(seen, 400, "the endpoint or the window is not supported")
    batch = ScriptedBatch(state.new_id("batch"), [], said, time.time())
    problems: list[dict[str, Any]] = []
    known: set[str] = set()
    for number, line in enumerate(content.splitlines(), 1):
        try:
            row = json.loads(line)
            request = ScriptedRequest(row["custom_id"], row["body"], row["url"])
            right = row["method"] == "POST" and request.path == COMPLETIONS
        except (ValueError, KeyError, TypeError):
            problems.append(_problem("invalid_json_line", "this line is no request", number))
            continue
        if not right or request.custom_id in known:
            code = "duplicate_custom_id" if right else "mismatched_endpoint"
            problems.append(_problem(code, f"{request.custom_id} is not right", number))
        known.add(request.custom_id)
        batch.requests.append(request)
    if len({request.body.get("model") for request in batch.requests}) > 1:
        problems.append(_problem("mismatched_model", "the requests are of several models", 2))
    if problems:
        batch.ended, batch.ended_at, batch.problems = True, time.time(), tuple(problems)
    state.add(batch)
    return document(described(batch))


def retrieve(state: BatchState, name: str, seen: Seen) -> Answer:
    """Describes a batch. One that is being cancelled has ended by the next question."""
    batch = state.batch(name)
    if batch is None:
        return refused(seen, 404, f"No batch found with id '{name}'.")
    answer = document(described(batch, state))
    if batch.cancelling and not batch.ended:
        state.end_cancelled(batch)
    return answer


def cancel(state: BatchState, name: str, seen: Seen) -> Answer:
    """Begins to cancel a batch."""
    batch = state.batch(name)
    if batch is None:
        return refused(seen, 404, f"No batch found with id '{name}'.")
    if batch.ended:
        return refused(seen, 409, "Cannot cancel a batch that has ended.")
    batch.cancelling = True
    return document(described(batch))


def listing(state: BatchState, name: str, seen: Seen) -> Answer:
    """Lists batches, newest first."""
    asked = parse_qs(seen.path.partition("?")[2])
    limit, after = int(asked.get("limit", ["20"])[0]), asked.get("after", [""])[0]
    newest = state.made[::-1]
    begin = next((place + 1 for place, batch in enumerate(newest) if batch.id == after), 0)
    page = newest[begin : begin + limit]
    return document(
        {
            "object": "list",
            "data": [described(batch, state) for batch in page],
            "has_more": begin + limit < len(newest),
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }
    )


def results(state: BatchState, name: str, seen: Seen) -> Answer:
    """Content of a file."""
    for batch in state.made:
        if name in batch.lines:
            pieces = tuple(state.arrange(batch.lines[name]))
            return Answer(headers=NDJSON, pieces=pieces, streamed=True)
    if name not in state.files:
        return refused(seen, 404, f"No such File object: {name}")
    return Answer(headers=NDJSON, pieces=(state.files[name],))


def described(batch: ScriptedBatch, state: BatchState | None = None) -> dict[str, Any]:
    """A batch as JSON."""
    succeeded = sum(answer.status < 400 for answer in batch.answers.values())
    failed = len(batch.answers) - succeeded
    status = "cancelling" if batch.cancelling else "in_progress"
    if batch.problems:
        status = "failed"
    elif batch.ended:
        status = batch.rest or "completed"
        if state is not None and not batch.lines:
            _write(batch, state)
    files = dict.fromkeys(("output_file_id", "error_file_id"))
    for file in batch.lines:
        files["error_file_id" if file.endswith("e") else "output_file_id"] = file
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.said["endpoint"],
        "errors": {"object": "list", "data": list(batch.problems)} if batch.problems else None,
        "input_file_id": batch.said["input_file_id"],
        "completion_window": batch.said["completion_window"],
        "status": status,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.created_at) + DAY,
        **({f"{status}_at": int(batch.ended_at)} if batch.ended else {}),
        **files,
        "request_counts": {
            "total": 0 if batch.problems else len(batch.requests),
            "completed": succeeded,
            "failed": failed,
        },
        "metadata": batch.said.get("metadata"),
    }


def _write(batch: ScriptedBatch, state: BatchState) -> None:
    """Writes the results of a batch that has ended."""
    good, bad = list[bytes](), list[bytes]()
    for request in batch.requests:
        line: dict[str, Any] = {"id": state.new_id("batch_req"), "custom_id": request.custom_id}
        answer = batch.answers.get(request.custom_id)
        if answer is not None:
            response = {
                "status_code": answer.status,
                "request_id": f"req_{request.custom_id}",
                "body": json.loads(answer.body),
            }
            (good if answer.status < 400 else bad).append(encode({**line, "response": response, "error": None}) + b"\n")
        elif batch.rest == "expired":
            code = {"code": "batch_expired", "message": "This request could not be executed before the window ended."}
            bad.append(encode({**line, "response": None, "error": code}) + b"\n")
    if good:
        batch.lines[state.new_id("file") + "o"] = good
    if bad:
        batch.lines[state.new_id("file") + "e"] = bad


def _problem(code: str, message: str, line: int) -> dict[str, Any]:
    return {"code": code, "message": message, "param": None, "line": line}


ACTIONS: dict[str, Callable[[BatchState, str, Seen], Answer]] = {
    "upload": upload,
    "create": create,
    "retrieve": retrieve,
    "cancel": cancel,
    "list": listing,
    "results": results,
}

"""The official clients against the batch endpoints of the scripted provider, so that those are right independently of
us."""

import io
import json
from typing import Any

import pytest

from three_mode.testing import Answer, ScriptedProvider, Seen, Turn
from three_mode.testing.wire import overloaded

ASK: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def echo(seen: Seen) -> Turn | Answer:
    """Answers with the words of the last message; "bad" is refused."""
    said = seen.json["messages"][-1]["content"]
    return (
        Answer(status=400, pieces=(json.dumps(REFUSAL[seen.path]).encode(),)) if said == "bad" else Turn(text=(said,))
    )


REFUSAL: dict[str, Any] = {
    "/v1/chat/completions": {"error": {"message": "no", "type": "invalid_request_error"}},
    "/v1/messages": {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}},
}


def asking(text: str) -> dict[str, Any]:
    return {**ASK, "messages": [{"role": "user", "content": text}]}


def openai_file(*rows: tuple[str, str], method: str = "POST") -> io.BytesIO:
    lines = [
        {"custom_id": name, "method": method, "url": "/v1/chat/completions", "body": asking(text)}
        for name, text in rows
    ]
    file = io.BytesIO("\n".join(map(json.dumps, lines)).encode())
    file.name = "requests.jsonl"
    return file


async def test_openai() -> None:
    openai = pytest.importorskip("openai")
    async with (
        ScriptedProvider("http/1.1") as server,
        openai.AsyncOpenAI(api_key="k", base_url=server.url + "/v1", max_retries=0) as client,
    ):
        server.always(echo)
        file = await client.files.create(file=openai_file(("a", "one"), ("b", "bad"), ("c", "three")), purpose="batch")
        assert (file.object, file.purpose, file.filename) == ("file", "batch", "requests.jsonl")
        batch = await client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={"mine": "yes"},
        )
        assert (batch.status, batch.request_counts.total, batch.metadata) == ("in_progress", 3, {"mine": "yes"})
        assert batch.expires_at - batch.created_at == 24 * 3600
        server.batches.finish()
        batch = await client.batches.retrieve(batch.id)
        assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 2, 1)
        lines = (await client.files.content(batch.output_file_id)).text.splitlines()
        rows = [json.loads(line) for line in lines]
        assert [row["custom_id"] for row in rows] == ["c", "a"], "out of order"
        reply = openai.types.chat.ChatCompletion.model_validate(rows[1]["response"]["body"])
        assert reply.choices[0].message.content == "one"
        (bad,) = (await client.files.content(batch.error_file_id)).text.splitlines()
        assert json.loads(bad)["response"]["status_code"] == 400
        assert [each.id async for each in client.batches.list(limit=1)] == [batch.id]
        with pytest.raises(openai.ConflictError):
            await client.batches.cancel(batch.id)
        with pytest.raises(openai.NotFoundError):
            await client.batches.retrieve("batch_none")


async def test_openai_ends_that_are_not_good() -> None:
    openai = pytest.importorskip("openai")
    async with (
        ScriptedProvider("http/1.1") as server,
        openai.AsyncOpenAI(api_key="k", base_url=server.url + "/v1", max_retries=0) as client,
    ):

        async def submit(*rows: tuple[str, str]) -> str:
            file = await client.files.create(file=openai_file(*rows), purpose="batch")
            made = await client.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            return str(made.id)

        twice = await client.batches.retrieve(await submit(("a", "one"), ("a", "two")))
        assert (twice.status, twice.errors.data[0].code, twice.errors.data[0].line) == (
            "failed",
            "duplicate_custom_id",
            2,
        )
        late = await submit(("a", "one"), ("b", "two"))
        server.batches.finish(answered=1)
        batch = await client.batches.retrieve(late)
        assert batch.status == "expired"
        (line,) = (await client.files.content(batch.error_file_id)).text.splitlines()
        assert json.loads(line)["error"]["code"] == "batch_expired"
        left = await submit(("a", "one"))
        assert (await client.batches.cancel(left)).status == "cancelling"
        assert (await client.batches.retrieve(left)).status == "cancelling"
        assert (await client.batches.retrieve(left)).status == "cancelled"
        assert [each.id async for each in client.batches.list(limit=2)] == [left, late, twice.id]
        server.batches.next("retrieve", overloaded())
        with pytest.raises(openai.APIStatusError):
            await client.batches.retrieve(left)


async def test_anthropic() -> None:
    anthropic = pytest.importorskip("anthropic")
    async with (
        ScriptedProvider("http/1.1") as server,
        anthropic.AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0) as client,
    ):
        server.always(echo)
        rows = [{"custom_id": name, "params": asking(text)} for name, text in (("a", "one"), ("b", "bad"), ("c", "x"))]
        batch = await client.messages.batches.create(requests=rows)
        assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 3)
        assert (batch.expires_at - batch.created_at).total_seconds() == 24 * 3600
        server.batches.finish(answered=2)
        batch = await client.messages.batches.retrieve(batch.id)
        assert batch.processing_status == "ended"
        counts = batch.request_counts
        assert (counts.succeeded, counts.errored, counts.expired, counts.processing) == (1, 1, 1, 0)
        results = [each async for each in await client.messages.batches.results(batch.id)]
        assert [(each.custom_id, each.result.type) for each in results] == [
            ("c", "expired"),
            ("b", "errored"),
            ("a", "succeeded"),
        ]
        assert results[2].result.message.content[0].text == "one"
        assert results[1].result.error.error.type == "invalid_request_error"
        with pytest.raises(anthropic.BadRequestError):
            await client.messages.batches.cancel(batch.id)
        other = await client.messages.batches.create(requests=rows)
        assert (await client.messages.batches.cancel(other.id)).processing_status == "canceling"
        assert (await client.messages.batches.retrieve(other.id)).processing_status == "canceling"
        ended = await client.messages.batches.retrieve(other.id)
        assert (ended.processing_status, ended.request_counts.canceled) == ("ended", 3)
        assert [each.id async for each in client.messages.batches.list(limit=1)] == [other.id, batch.id]
        for bad in ([rows[0], rows[0]], [{**rows[0], "custom_id": "not allowed"}], []):
            with pytest.raises(anthropic.BadRequestError):
                await client.messages.batches.create(requests=bad)
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.batches.retrieve("msgbatch_none")

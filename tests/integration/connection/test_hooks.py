"""What a program does to replies before its callers see them: whole ones, streams, and pieces of streams."""

import json
from pathlib import Path

import msgspec
import pytest

from tests.support.providers.servers import connected, hello
from three_mode.connection import Observing
from three_mode.messages import Chunk, Finish, LLMResponse, Start, Text, TextDelta, ThinkingDelta, UsageUpdate
from three_mode.observe import RecordOptions
from three_mode.policies import CacheOptions, Policies
from three_mode.testing import Turn


async def shout(reply: LLMResponse) -> LLMResponse:
    return msgspec.structs.replace(reply, parts=(Text(reply.content.upper() + "!"),))


def quieter(chunk: Chunk) -> Chunk | None:
    """Leaves thinking out, and changes words."""
    if isinstance(chunk, ThinkingDelta):
        return None
    return TextDelta(chunk.text.replace("o", "0"), chunk.index) if isinstance(chunk, TextDelta) else chunk


async def test_after_a_whole_reply() -> None:
    async with connected(observe=Observing(after=shout)) as (llm, _):
        assert (await llm.chat_completion(hello())).content == "HELLO WORLD!!"


async def test_after_a_stream_it_changes_the_reply_and_not_what_went_out(tmp_path: Path) -> None:
    records = RecordOptions(path=tmp_path / "calls")
    async with connected(observe=Observing(after=shout, records=records)) as (llm, _):
        stream = llm.stream(hello())
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.text for chunk in chunks) == "Hello world!"
        assert stream.response().content == "HELLO WORLD!!"
        assert stream.response().usage.output_tokens == 3
        assert await llm.stream(hello()).text() == "HELLO WORLD!!"
    first = json.loads((tmp_path / "calls").read_text().splitlines()[0])
    assert first["reply"]["parts"][0]["text"] == "HELLO WORLD!!", "a record holds what the caller got"


async def test_each_piece_of_a_stream() -> None:
    seen: list[type] = []

    def watching(chunk: Chunk) -> Chunk | None:
        seen.append(type(chunk))
        return quieter(chunk)

    async with connected("anthropic", observe=Observing(each=watching)) as (llm, server):
        server.always(Turn(thinking=("hm",)))
        stream = llm.stream(hello())
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.text for chunk in chunks) == "Hell0 w0rld!"
        assert not any(isinstance(chunk, ThinkingDelta) for chunk in chunks)
        assert isinstance(chunks[0], Start)
        assert isinstance(chunks[-1], Finish)
        assert any(isinstance(chunk, UsageUpdate) for chunk in chunks)
        assert set(seen) == {TextDelta, ThinkingDelta}, "only what the model made is asked about"
        assert (stream.response().content, stream.response().thinking) == ("Hell0 w0rld!", "")
        assert (await llm.chat_completion(hello())).content == "Hello world!", "whole replies have `after`"


async def test_the_cache_keeps_what_the_provider_said() -> None:
    once = Observing(after=shout, each=lambda chunk: TextDelta(f"<{chunk.text}>"))
    async with connected(observe=once, policies=Policies(cache=CacheOptions())) as (llm, server):
        server.always(Turn(text=("Hello", " world!")))
        assert await llm.stream(hello()).text() == "<HELLO>< WORLD!>!"
        again = llm.stream(hello())
        assert await again.text() == "<HELLO WORLD!>!"
        assert [step.kind for step in again.response().steps] == ["cache_hit"]
        assert (await llm.chat_completion(hello())).content == "HELLO WORLD!!"
        assert len(server.seen) == 1


@pytest.mark.parametrize("where", ["after", "each"])
async def test_a_hook_that_raises_ends_the_stream_with_its_error(where: str) -> None:
    def breaks(_: object) -> None:
        raise LookupError("the hook")

    async with connected(observe=Observing(**{where: breaks})) as (llm, _):  # type: ignore[arg-type]
        stream = llm.stream(hello())
        with pytest.raises(LookupError, match="the hook"):
            async for _chunk in stream:
                pass
        assert [chunk async for chunk in stream] == [], "it is over"

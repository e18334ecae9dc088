"""The official clients against the same scripted server, so that the server is right independently of us."""

from typing import Any

import pytest

from three_mode.testing import Answer, ScriptedProvider, ToolCall, Turn

TURN = Turn(thinking=("hm",), tool_calls=(ToolCall("weather", {"city": "Oslo"}, "a"),), finish="tool_calls")


async def test_openai() -> None:
    openai = pytest.importorskip("openai")
    async with ScriptedProvider("http/1.1") as server:
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url + "/v1", max_retries=0) as client:
            ask: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
            reply = await client.chat.completions.create(**ask)
            assert reply.choices[0].message.content == "Hello world!"
            assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (12, 3)
            text = ""
            async for chunk in await client.chat.completions.create(**ask, stream=True):
                text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            assert text == "Hello world!"
            server.always(TURN)
            call = (await client.chat.completions.create(**ask)).choices[0].message.tool_calls[0]
            assert (call.id, call.function.name, call.function.arguments.replace(" ", "")) == (
                "a",
                "weather",
                '{"city":"Oslo"}',
            )
            server.always(Answer(status=429))
            with pytest.raises(openai.RateLimitError):
                await client.chat.completions.create(**ask)


async def test_anthropic() -> None:
    anthropic = pytest.importorskip("anthropic")
    async with ScriptedProvider("http/1.1") as server:
        async with anthropic.AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0) as client:
            ask: dict[str, Any] = {
                "model": "m",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": "Hi"}],
            }
            reply = await client.messages.create(**ask)
            assert reply.content[0].text == "Hello world!"
            assert (reply.usage.input_tokens, reply.usage.output_tokens) == (12, 3)
            async with client.messages.stream(**ask) as stream:
                assert "".join([text async for text in stream.text_stream]) == "Hello world!"
            server.always(TURN)
            async with client.messages.stream(**ask) as stream:
                blocks = (await stream.get_final_message()).content
            assert [block.type for block in blocks] == ["thinking", "text", "tool_use"]
            assert blocks[2].input == {"city": "Oslo"}
            server.always(Answer(status=529))
            with pytest.raises(anthropic.APIStatusError):
                await client.messages.create(**ask)


async def test_gemini() -> None:
    genai = pytest.importorskip("google.genai")
    async with ScriptedProvider("http/1.1") as server:
        client = genai.Client(api_key="k", vertexai=False, http_options={"base_url": server.url})
        reply = await client.aio.models.generate_content(model="m", contents="Hi")
        assert reply.text == "Hello world!"
        assert (reply.usage_metadata.prompt_token_count, reply.usage_metadata.candidates_token_count) == (
            12,
            3,
        )
        stream = await client.aio.models.generate_content_stream(model="m", contents="Hi")
        assert "".join([piece.text or "" async for piece in stream]) == "Hello world!"
        server.always(TURN)
        call = (await client.aio.models.generate_content(model="m", contents="Hi")).function_calls[0]
        assert (call.name, call.args) == ("weather", {"city": "Oslo"})
        server.always(Answer(status=500))
        with pytest.raises(genai.errors.ServerError):
            await client.aio.models.generate_content(model="m", contents="Hi")
        await client.aio.aclose()
        client.close()


async def test_ollama() -> None:
    ollama = pytest.importorskip("ollama")
    async with ScriptedProvider("http/1.1") as server:
        client = ollama.AsyncClient(host=server.url)
        ask: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
        reply = await client.chat(**ask)
        assert reply.message.content == "Hello world!"
        assert (reply.prompt_eval_count, reply.eval_count) == (12, 3)
        pieces = [piece.message.content or "" async for piece in await client.chat(**ask, stream=True)]
        assert "".join(pieces) == "Hello world!"
        server.always(TURN)
        call = (await client.chat(**ask)).message.tool_calls[0]
        assert (call.function.name, dict(call.function.arguments)) == ("weather", {"city": "Oslo"})
        server.always(Answer(status=500, pieces=(b'{"error":"broke"}',)))
        with pytest.raises(ollama.ResponseError):
            await client.chat(**ask)
        await client._client.aclose()

"""Reasoning and calls of models that mark them, through a real engine: whole, streamed, cut, and by the endpoint."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from local_models import LocalModel
from tests.support.local_models.models import opened, user
from tests.support.local_models.reciter import make_reciter
from tests.support.local_models.tool_templates import ALL, QWEN, R1, written
from tests.support.serve.endpoint import free_port
from three_mode import LLMConnection, LLMRequest
from three_mode.messages import Thinking, ThinkingDelta, Tool, fold
from three_mode.serve import App, Connected, ServeOptions, serve

THOUGHT = ("\nI won", "der <tool_call>", " why.\n")
ANSWER = ("\n\nWell", ", seven.")
CALL = ("<tool_call>", '\n{"name": "', 'weather"', ', "arguments": {"city": "', 'Oslo"}}\n', "</tool_call>")
WHOLE = ("<think>", *THOUGHT, "</think>", *ANSWER, *CALL)
MARKS = ("<think>", "</think>", "<|im_end|>")
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 9}}, "required": ["city"]}
TOOLS: Any = ({"type": "function", "function": {"name": "weather", "description": "", "parameters": CITY}},)
HOW: Any = {"temperature": 0, "within": 30}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reciters")


async def parts(model: LocalModel, **how: Any) -> tuple[str, str, Any]:
    """What a stream shows, which is what the whole answer has."""
    thought = text = ""
    async for piece in model.stream(user("hi"), **HOW, **how):
        thought, text = thought + piece.reasoning, text + piece.text
    reply = await model.chat(user("hi"), **HOW, **how)
    assert (thought, text, piece.tool_calls, piece.finish) == (
        reply.reasoning,
        reply.text,
        reply.tool_calls,
        reply.finish,
    )
    assert piece.usage is not None
    assert piece.usage.reasoning_tokens == reply.usage.reasoning_tokens
    return thought, text, reply


@pytest.mark.parametrize("control", [MARKS, ()])
@pytest.mark.parametrize("opened_by_template", [False, True])
async def test_reasoning_is_no_content_wherever_the_answer_ends(
    control: tuple[str, ...], opened_by_template: bool, folder: Path
) -> None:
    script = WHOLE[1:] if opened_by_template else WHOLE
    path = make_reciter(
        folder / f"{len(control)}{opened_by_template}.gguf",
        script,
        control=(*control, "<think>") if control else ("<think>",),
        template=R1 if opened_by_template else QWEN,
    )
    before = len(script) - len(ANSWER) - len(CALL)
    async with opened(path) as model:
        thought, text, reply = await parts(model, tools=TOOLS)
        assert (thought, text) == ("I wonder <tool_call> why.", "Well, seven.")
        assert [(call.name, call.parsed) for call in reply.tool_calls] == [("weather", {"city": "Oslo"})]
        assert reply.finish == "tool_calls"
        assert reply.usage.reasoning_tokens == before
        for length in range(1, len(script)):
            thought, text, reply = await parts(model, tools=TOOLS, max_tokens=length)
            assert "I wonder <tool_call> why.".startswith(thought)
            assert "Well, seven.".startswith(text)
            assert reply.finish == "length"
            assert len(reply.tool_calls) == (length == len(script) - 1), "the call is whole but for its last mark"
            assert reply.usage.reasoning_tokens == min(length, before)
        seven = {"type": "object", "properties": {"n": {"const": 7}}, "required": ["n"]}
        thought, text, reply = await parts(model, schema=seven)
        assert json.loads(text) == {"n": 7}
        assert thought == ("I wonder <tool_call> why." if opened_by_template else "")
        thought, _, reply = await parts(model, tools=TOOLS, tool_choice="required", max_tokens=120)
        assert thought == ("I wonder <tool_call> why." if opened_by_template else "")
        assert reply.text == ""


async def test_a_template_says_whether_and_of_what_a_model_reasons(folder: Path) -> None:
    path = make_reciter(folder / "says.gguf", ["Hel", "lo!"], control=MARKS, template=QWEN)
    told = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two", "reasoning_content": "a thought <|im_end|>"},
        {"role": "user", "content": "three"},
    ]
    async with opened(path) as model:
        plain = [{key: text for key, text in message.items() if key != "reasoning_content"} for message in told]
        assert await model.count(told) == await model.count(plain), "of turns before the last question it is left out"
        parts = model._template.render(told[:2])
        assert "a thought <" in "".join(parts)
        assert any(part.endswith("thought <") for part in parts), "its marks are text"
        without = await model.count(told, thinking=False)
        assert without > await model.count(told)
        reply = await model.chat(told, thinking=False, **HOW)
        assert (reply.text, reply.reasoning, reply.usage.reasoning_tokens) == ("Hello!", "", 0)


@pytest.mark.parametrize("name", list(ALL))
async def test_every_format_goes_through_the_engine_with_its_marks(name: str, folder: Path) -> None:
    said = written(name, [("weather", {"city": "Oslo"})])
    marks = {"mistral": ["[TOOL_CALLS]"], "mistral-args": ["[TOOL_CALLS]", "[ARGS]"], "llama": ["<|python_tag|>"]}
    control = marks.get(name, [])
    pieces = [said]
    for mark in control:  # a control token stands by itself
        pieces = [part for piece in pieces for part in _around(piece, mark)]
    begins = {"deepseek": ">", "deepseek-3.1": ">", "mistral": "]", "mistral-args": "]"}.get(name, "\n")
    path = make_reciter(folder / f"{name}.gguf", pieces, control=control, template=ALL[name], begins=begins)
    async with opened(path) as model:
        for choice in ("auto", "required"):
            _, text, reply = await parts(model, tools=TOOLS, tool_choice=choice, max_tokens=200)
            assert text == ""
            assert reply.finish == "tool_calls"
            assert [call.name for call in reply.tool_calls] == ["weather"]
        assert reply.tool_calls[0].parsed == {"city": "Oslo"} or name in ("gemma", "llama")
        _, text, reply = await parts(model, tools=TOOLS, max_tokens=1)
        assert (text, reply.finish) == ("", "length") or reply.tool_calls


def _around(text: str, mark: str) -> list[str]:
    before, found, after = text.partition(mark)
    return [part for part in (before, found, after) if part]


@pytest_asyncio.fixture
async def served(folder: Path) -> AsyncIterator[tuple[LLMConnection, str]]:
    path = make_reciter(folder / "served.gguf", WHOLE, control=MARKS, template=QWEN)
    port = free_port()
    async with LLMConnection() as llm:
        async with serve(App(Connected(llm, None, {"thinker": f"gguf:{path}"}), ServeOptions(port=port))):
            yield llm, f"http://127.0.0.1:{port}"


async def test_a_connection_and_the_endpoint_have_it_in_everybodys_form(served: tuple[LLMConnection, str]) -> None:
    _, url = served
    asked = [{"role": "user", "content": "hi"}]
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        tools = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
        body = {"model": "thinker", "messages": asked, "temperature": 0, "tools": tools}
        answer = (await client.post("/v1/chat/completions", json=body)).json()
        message = answer["choices"][0]["message"]
        assert message["reasoning_content"] == "I wonder <tool_call> why."
        assert message["content"] == "Well, seven."
        assert message["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Oslo"}'}
        assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 5
        streamed = (await client.post("/v1/chat/completions", json=body | {"stream": True})).text
        deltas = [
            json.loads(line[6:])["choices"][0]["delta"] for line in streamed.splitlines() if line.startswith("data: {")
        ]
        assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == message["reasoning_content"]
        assert "".join(delta.get("content") or "" for delta in deltas) == message["content"]
        assert [delta for delta in deltas if "tool_calls" in delta]
        back = [*asked, message | {"role": "assistant"}, {"role": "tool", "tool_call_id": "call_0", "content": "cold"}]
        again = (await client.post("/v1/chat/completions", json=body | {"messages": back})).json()
        assert again["usage"]["prompt_tokens"] > answer["usage"]["prompt_tokens"] + 20
        cut = (await client.post("/v1/chat/completions", json=body | {"max_tokens": 10})).json()["choices"][0]
        assert (cut["finish_reason"], cut["message"]["content"]) == ("length", "Well, seven.")
        assert "tool_calls" not in cut["message"]
        theirs = [{"name": "weather", "input_schema": CITY}]
        body = {"model": "thinker", "messages": asked, "temperature": 0, "max_tokens": 100, "tools": theirs}
        blocks = (await client.post("/v1/messages", json=body)).json()["content"]
        assert [block["type"] for block in blocks] == ["thinking", "text", "tool_use"]
        assert blocks[0]["thinking"] == message["reasoning_content"]
        assert blocks[2]["input"] == {"city": "Oslo"}


async def test_a_connection_gives_reasoning_as_it_does_for_providers(folder: Path) -> None:
    path = make_reciter(folder / "connected.gguf", WHOLE, control=MARKS, template=QWEN)
    async with LLMConnection() as llm:
        request = LLMRequest(
            model=f"gguf:{path}",
            messages=[{"role": "user", "content": "hi"}],
            temperature=0,
            tools=[Tool("weather", parameters=CITY)],
        )
        reply = await llm.chat_completion(request)
        assert reply.thinking == "I wonder <tool_call> why."
        assert reply.content == "Well, seven."
        assert [part.provider for part in reply.parts if isinstance(part, Thinking)] == ["local"]
        assert reply.usage.reasoning_tokens == 5
        async with llm.stream(request) as stream:
            chunks = [chunk async for chunk in stream]
        assert sum(isinstance(chunk, ThinkingDelta) for chunk in chunks) > 1
        assert fold(chunks).parts == reply.parts

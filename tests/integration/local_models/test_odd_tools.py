"""Tools that no model here was trained on, and prompts that are too long: the small model and errors that help."""

from typing import Any

import pytest

from local_models import LoadOptions
from tests.support.local_models.models import opened, user
from three_mode import LLMConnection, LLMRequest
from three_mode.connection import ConnectionOptions
from three_mode.errors import ContextLength
from three_mode.messages import Tool

TEXT, NUMBER = {"type": "string", "maxLength": 20}, {"type": "integer", "maximum": 99, "minimum": 0}


def tools(**parameters: Any) -> tuple[dict[str, Any], ...]:
    """Tools by their names, each with its parameters; two underscores are a dot."""
    return tuple(
        {
            "type": "function",
            "function": {
                "name": name.replace("__", "."),
                "parameters": {"type": "object", "properties": given, "required": list(given)},
            },
        }
        for name, given in parameters.items()
    )


@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize(
    ("said", "offered", "name"),
    [
        ("Call search_web with cats.", tools(get_weather={"place": TEXT}, search_web={"query": TEXT}), "search_web"),
        ("Call ns.tool_8 with 5.", tools(ns__tool_9={"n": NUMBER}, ns__tool_8={"n": NUMBER}), "ns.tool_8"),
        ("Call zeta with y.", tools(alpha={"v": TEXT}, beta={"v": TEXT}, zeta={"v": TEXT}, omega={"v": TEXT}), "zeta"),
        ("Call set_light with on.", tools(set_light={"state": {"enum": ["on", "off"]}, "room": TEXT}), "set_light"),
        ("Call größe with 7.", tools(größe={"n": NUMBER}), "größe"),
        ("Call now.", tools(now={}), "now"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_names_and_arguments_are_those_of_the_tools_that_there_are(
    choice: str, said: str, offered: tuple[dict[str, Any], ...], name: str
) -> None:
    async with opened() as model:
        reply = await model.chat(user(said), tools=offered, tool_choice=choice, temperature=0, max_tokens=150)
        (call,) = reply.tool_calls
        assert (call.name, reply.text, reply.finish) == (name, "", "tool_calls")
        (schema,) = (tool["function"]["parameters"] for tool in offered if tool["function"]["name"] == name)
        assert list(call.parsed) == list(schema["properties"])
        for key, value in call.parsed.items():
            rule = schema["properties"][key]
            assert value in rule["enum"] if "enum" in rule else isinstance(value, str if rule is TEXT else int)
        cut = await model.chat(user(said), tools=offered, tool_choice=choice, temperature=0, max_tokens=6)
        assert (cut.text, cut.tool_calls, cut.finish) == ("", (), "length")


async def test_a_prompt_that_is_too_long_says_by_how_much_and_what_can_be_done() -> None:
    long = LLMRequest(model="tiny", messages=[{"role": "user", "content": "Repeat: " + "ab " * 400}], max_tokens=4)
    for context, advice in ((512, "larger `context`: it was trained for 2048"), (2048, "")):
        options = ConnectionOptions(local=LoadOptions(context=context, sequences=1))
        async with LLMConnection(options=options) as llm:
            if context == 2048:
                assert (await llm.chat_completion(long)).finish_reason == "length", "the advice was right"
            words = "ab " * (400 if context == 512 else 4000)
            with pytest.raises(ContextLength) as caught:
                await llm.chat_completion(LLMRequest(model="tiny", messages=[{"role": "user", "content": words}]))
            assert caught.value.room == context - 1
            assert (caught.value.tokens or 0) > context
            assert str(caught.value.tokens) in str(caught.value)
            assert advice in (caught.value.hint or "")
            assert ("context" in (caught.value.hint or "")) is bool(advice), "what cannot be done is not advised"
            told = [Tool(f"tool_{n}", description="words " * 40, parameters={"type": "object"}) for n in range(99)]
            with pytest.raises(ContextLength):
                await llm.chat_completion(
                    LLMRequest(model="tiny", messages=[{"role": "user", "content": words}], tools=told)
                )

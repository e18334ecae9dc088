"""For each feature, our body is the body that the provider's official client sends for the same request."""

import base64
import json
import re
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("openai")
pytest.importorskip("anthropic")
pytest.importorskip("ollama")
pytest.importorskip("google.genai")

from tests.support.providers.sdks import sent_by
from three_mode import errors
from three_mode.messages import Image, LLMRequest, Text, Thinking, ToolCall, ToolResult
from three_mode.providers import Profile, codec_of, profile_of, validate

Body = dict[str, Any]
Call = Callable[[Any], object]
PNG = b"\x89PNG\r\n\x1a\n123"
B64 = base64.b64encode(PNG).decode()
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL = {"name": "weather", "description": "The weather.", "parameters": SCHEMA}
ASK = {"role": "user", "content": "Hello!"}
SYSTEM = {"role": "system", "content": "You are brief."}
CALLS = (ToolCall("a", "weather", {"city": "Paris"}), ToolCall("b", "weather", {"city": "Oslo"}))
RESULTS = [
    {"role": "tool", "tool_call_id": "a", "content": "sunny"},
    {"role": "tool", "tool_call_id": "b", "content": "rain"},
]
TURNS = [ASK, {"role": "assistant", "content": CALLS}, *RESULTS]


def compare(provider: str, request: Body, call: Call, stream: bool = False, skip: tuple[str, ...] = ()) -> Body:
    sent = sent_by(provider, call)
    outgoing = codec_of(profile_of(provider)).encode(LLMRequest(**request), "m", stream=stream)
    ours = json.loads(outgoing.body)
    theirs = {key: value for key, value in sent.body.items() if key not in skip}
    if provider == "gemini":
        theirs = protobuf_json(theirs)
    assert ours == theirs
    assert outgoing.method == sent.method
    assert sent.path.endswith(outgoing.path)
    return ours


def protobuf_json(value: Any) -> Any:
    """Google's client sends dicts as it got them; its API takes `mime_type` and `mimeType` for one field."""
    if isinstance(value, list):
        return [protobuf_json(each) for each in value]
    if not isinstance(value, dict):
        return value
    camel = {re.sub(r"_(\w)", lambda match: match[1].upper(), key): protobuf_json(each) for key, each in value.items()}
    return {key: each for key, each in camel.items() if key != "generationConfig" or each}


def image_from_file() -> Image:
    """Through a file that is gone again: what is sent is what was in it."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(PNG)
        file.flush()
        return Image.from_file(file.name)


def openai(**options: Any) -> Call:
    return lambda client: client.chat.completions.create(**{"model": "m", "messages": [ASK], **options})


_O_TOOL = {"type": "function", "function": TOOL}
_O_CALLS = [
    {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": json.dumps(call.arguments, separators=(",", ":"))},
    }
    for call in CALLS
]
OPENAI: dict[str, tuple[Body, Call]] = {
    "plain": ({"messages": [ASK]}, openai()),
    "system prompt": ({"messages": [SYSTEM, ASK]}, openai(messages=[SYSTEM, ASK])),
    "sampling": (
        {"messages": [ASK], "temperature": 0.5, "top_p": 0.9, "max_tokens": 9, "stop": ["END"], "seed": 7},
        openai(temperature=0.5, top_p=0.9, max_completion_tokens=9, stop=["END"], seed=7),
    ),
    "tools": ({"messages": [ASK], "tools": [TOOL], "tool_choice": "auto"}, openai(tools=[_O_TOOL], tool_choice="auto")),
    "a forced tool": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "weather"},
        openai(tools=[_O_TOOL], tool_choice={"type": "function", "function": {"name": "weather"}}),
    ),
    "any tool": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "required"},
        openai(tools=[_O_TOOL], tool_choice="required"),
    ),
    "a strict tool": (
        {"messages": [ASK], "tools": [{**TOOL, "strict": True}]},
        openai(tools=[{"type": "function", "function": {**TOOL, "strict": True}}]),
    ),
    "tool results": (
        {"messages": TURNS, "tools": [TOOL]},
        openai(
            messages=[ASK, {"role": "assistant", "content": None, "tool_calls": _O_CALLS}, *RESULTS], tools=[_O_TOOL]
        ),
    ),
    "parallel_tool_calls through extra": (
        {"messages": [ASK], "tools": [TOOL], "extra": {"parallel_tool_calls": False}},
        openai(tools=[_O_TOOL], parallel_tool_calls=False),
    ),
    "an image by URL": (
        {"messages": [{"role": "user", "content": [Text("What?"), Image(url="https://x.test/a.png", detail="low")]}]},
        openai(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What?"},
                        {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
                    ],
                }
            ]
        ),
    ),
    "an image as bytes": (
        {"messages": [{"role": "user", "content": [Image(data=PNG, mime="image/png")]}]},
        openai(
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64}"}}],
                }
            ]
        ),
    ),
    "an image from a file": (
        {"messages": [{"role": "user", "content": [image_from_file()]}]},
        openai(
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64}"}}],
                }
            ]
        ),
    ),
    "no tool": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "none"},
        openai(tools=[_O_TOOL], tool_choice="none"),
    ),
    "stop": ({"messages": [ASK], "stop": ["END", "STOP"]}, openai(stop=["END", "STOP"])),
    "seed": ({"messages": [ASK], "seed": 0}, openai(seed=0)),
    "top_p": ({"messages": [ASK], "top_p": 0.0}, openai(top_p=0.0)),
    "a schema for the answer": (
        {"messages": [ASK], "response_format": {"json_schema": SCHEMA, "name": "place"}},
        openai(
            response_format={"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
        ),
    ),
    "any JSON": ({"messages": [ASK], "response_format": "json"}, openai(response_format={"type": "json_object"})),
    "effort": ({"messages": [ASK], "reasoning": "low"}, openai(reasoning_effort="low")),
    "cache key": ({"messages": [ASK], "cache": {"key": "k1"}}, openai(prompt_cache_key="k1")),
    "a name": ({"messages": [{**ASK, "name": "ann"}]}, openai(messages=[{**ASK, "name": "ann"}])),
    "extra": (
        {"messages": [ASK], "extra": {"logit_bias": {"50256": -100}, "service_tier": "flex", "logprobs": True}},
        openai(logit_bias={"50256": -100}, service_tier="flex", logprobs=True),
    ),
}


@pytest.mark.parametrize("feature", OPENAI)
def test_openai(feature: str) -> None:
    compare("openai", *OPENAI[feature])


def test_openai_stream() -> None:
    ours = compare(
        "openai",
        {"messages": [ASK]},
        openai(stream=True, stream_options={"include_usage": True}),
        stream=True,
    )
    assert ours["stream"] is True


def test_openai_schema_of_a_class_is_as_strict_as_the_sdk_makes_it() -> None:
    from pydantic import BaseModel

    class Place(BaseModel):
        city: str
        days: int

    def call(client: Any) -> object:
        try:
            return client.chat.completions.parse(model="m", messages=[ASK], response_format=Place)
        except ValueError:  # the answer of the test's transport is no Place
            return None

    sent = sent_by("openai", call).body["response_format"]
    request = LLMRequest(messages=[ASK], response_format={"json_schema": Place.model_json_schema(), "name": "Place"})
    body = codec_of(profile_of("openai")).encode(request, "m", stream=False).body
    assert json.loads(body)["response_format"] == sent


def anthropic(**options: Any) -> Call:
    return lambda client: client.messages.create(**{"model": "m", "messages": [ASK], "max_tokens": 4096, **options})


_A_TOOL = {"name": "weather", "description": "The weather.", "input_schema": SCHEMA}
_A_TURNS = [
    ASK,
    {
        "role": "assistant",
        "content": [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in CALLS],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": "sunny"},
            {"type": "tool_result", "tool_use_id": "b", "content": "rain"},
        ],
    },
]
_THOUGHT = [
    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
    {"type": "redacted_thinking", "data": "b3BhcXVl"},
    {"type": "text", "text": "Yes."},
]
ANTHROPIC: dict[str, tuple[Body, Call]] = {
    "plain": ({"messages": [ASK]}, anthropic()),
    "system prompt": ({"messages": [SYSTEM, ASK]}, anthropic(system="You are brief.")),
    "limits": ({"messages": [ASK], "max_tokens": 9, "stop": ["END"]}, anthropic(max_tokens=9, stop_sequences=["END"])),
    "sampling": (
        {"messages": [ASK], "temperature": 0.5, "top_p": 0.9},
        anthropic(extra_body={"temperature": 0.5, "top_p": 0.9}),
    ),
    "tools": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "auto"},
        anthropic(tools=[_A_TOOL], tool_choice={"type": "auto"}),
    ),
    "a forced tool": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "weather"},
        anthropic(tools=[_A_TOOL], tool_choice={"type": "tool", "name": "weather"}),
    ),
    "any tool": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "required"},
        anthropic(tools=[_A_TOOL], tool_choice={"type": "any"}),
    ),
    "a strict tool": (
        {"messages": [ASK], "tools": [{**TOOL, "strict": True}]},
        anthropic(tools=[{**_A_TOOL, "strict": True}]),
    ),
    "tool results": ({"messages": TURNS, "tools": [TOOL]}, anthropic(messages=_A_TURNS, tools=[_A_TOOL])),
    "a failed tool, and a word after it": (
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": CALLS[:1]},
                {"role": "tool", "content": (ToolResult("a", "no such city", is_error=True),)},
                {"role": "user", "content": "Try again."},
            ],
            "tools": [TOOL],
        },
        anthropic(
            messages=[
                ASK,
                {"role": "assistant", "content": _A_TURNS[1]["content"][:1]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "a", "content": "no such city", "is_error": True},
                        {"type": "text", "text": "Try again."},
                    ],
                },
            ],
            tools=[_A_TOOL],
        ),
    ),
    "an image in a tool's answer": (
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": CALLS[:1]},
                {"role": "tool", "content": (ToolResult("a", (Text("see"), Image(data=PNG, mime="image/png"))),)},
            ]
        },
        anthropic(
            messages=[
                ASK,
                {"role": "assistant", "content": _A_TURNS[1]["content"][:1]},
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "a",
                            "content": [
                                {"type": "text", "text": "see"},
                                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}},
                            ],
                        }
                    ],
                },
            ]
        ),
    ),
    "an image by URL": (
        {"messages": [{"role": "user", "content": [Text("What?"), Image(url="https://x.test/a.png")]}]},
        anthropic(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What?"},
                        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
                    ],
                }
            ]
        ),
    ),
    "an image as bytes": (
        {"messages": [{"role": "user", "content": [Image(data=PNG, mime="image/png")]}]},
        anthropic(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}}
                    ],
                }
            ]
        ),
    ),
    "an image from a file": (
        {"messages": [{"role": "user", "content": [image_from_file()]}]},
        anthropic(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": B64}}
                    ],
                }
            ]
        ),
    ),
    "no tool": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "none"},
        anthropic(tools=[_A_TOOL], tool_choice={"type": "none"}),
    ),
    "one tool at a time through extra": (
        {
            "messages": [ASK],
            "tools": [TOOL],
            "tool_choice": "auto",
            "extra": {"tool_choice": {"disable_parallel_tool_use": True}},
        },
        anthropic(tools=[_A_TOOL], tool_choice={"type": "auto", "disable_parallel_tool_use": True}),
    ),
    "stop": ({"messages": [ASK], "stop": ["END", "STOP"]}, anthropic(stop_sequences=["END", "STOP"])),
    "top_p": ({"messages": [ASK], "top_p": 0.9}, anthropic(extra_body={"top_p": 0.9})),
    "no thinking": ({"messages": [ASK], "reasoning": "none"}, anthropic(thinking={"type": "disabled"})),
    "a cache mark on an image and on a tool's answer": (
        {
            "messages": [
                {"role": "user", "content": [Image(data=PNG, mime="image/png", cache="5m")]},
                {"role": "assistant", "content": CALLS[:1]},
                {"role": "tool", "content": (ToolResult("a", "sunny", cache="1h"),)},
            ]
        },
        anthropic(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": B64},
                            "cache_control": {"type": "ephemeral", "ttl": "5m"},
                        }
                    ],
                },
                {"role": "assistant", "content": _A_TURNS[1]["content"][:1]},
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "a",
                            "content": "sunny",
                            "cache_control": {"type": "ephemeral", "ttl": "1h"},
                        }
                    ],
                },
            ]
        ),
    ),
    "a schema for the answer": (
        {"messages": [ASK], "response_format": {"json_schema": SCHEMA}},
        anthropic(output_config={"format": {"type": "json_schema", "schema": SCHEMA}}),
    ),
    "a thinking budget": (
        {"messages": [ASK], "reasoning": {"budget_tokens": 2000}, "max_tokens": 5000},
        anthropic(thinking={"type": "enabled", "budget_tokens": 2000}, max_tokens=5000),
    ),
    "effort": (
        {"messages": [ASK], "reasoning": "high"},
        anthropic(thinking={"type": "adaptive"}, output_config={"effort": "high"}),
    ),
    "thinking passed back": (
        {
            "messages": [
                ASK,
                {
                    "role": "assistant",
                    "content": (
                        Thinking("hm", "c2ln", provider="anthropic"),
                        Thinking(redacted="b3BhcXVl", provider="anthropic"),
                        Text("Yes."),
                    ),
                },
                ASK,
            ]
        },
        anthropic(messages=[ASK, {"role": "assistant", "content": _THOUGHT}, ASK]),
    ),
    "cache marks": (
        {
            "messages": [
                {"role": "system", "content": [Text("Long.", cache="1h")]},
                {"role": "user", "content": [Text("Hello!", cache="ephemeral")]},
            ],
            "tools": [{**TOOL, "cache": "5m"}],
        },
        anthropic(
            system=[{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "Hello!", "cache_control": {"type": "ephemeral"}}],
                }
            ],
            tools=[{**_A_TOOL, "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
        ),
    ),
    "extra": (
        {"messages": [ASK], "extra": {"metadata": {"user_id": "u1"}, "service_tier": "auto"}},
        anthropic(metadata={"user_id": "u1"}, service_tier="auto"),
    ),
}


@pytest.mark.parametrize("feature", ANTHROPIC)
def test_anthropic(feature: str) -> None:
    compare("anthropic", *ANTHROPIC[feature])


def test_anthropic_stream() -> None:
    compare("anthropic", {"messages": [ASK]}, anthropic(stream=True), stream=True)


def gemini(contents: Any = "Hello!", **config: Any) -> Call:
    return lambda client: client.models.generate_content(model="m", contents=contents, config=config or None)


_G_ASK = {"role": "user", "parts": [{"text": "Hello!"}]}
_G_DECLARATION = {"name": "weather", "description": "The weather.", "parameters_json_schema": SCHEMA}
_G_TOOLS = [{"function_declarations": [_G_DECLARATION]}]
_OFF = {"automatic_function_calling": {"disable": True}}
_G_TURNS = [
    _G_ASK,
    {
        "role": "model",
        "parts": [{"function_call": {"id": c.id, "name": c.name, "args": c.arguments}} for c in CALLS],
    },
    {
        "role": "user",
        "parts": [
            {"function_response": {"id": "a", "name": "weather", "response": {"output": "sunny"}}},
            {"function_response": {"id": "b", "name": "weather", "response": {"output": "rain"}}},
        ],
    },
]
GEMINI: dict[str, tuple[Body, Call]] = {
    "plain": ({"messages": [ASK]}, gemini()),
    "system prompt": ({"messages": [SYSTEM, ASK]}, gemini(system_instruction="You are brief.")),
    "sampling": (
        {"messages": [ASK], "temperature": 0.5, "top_p": 0.9, "max_tokens": 9, "stop": ["END"], "seed": 7},
        gemini(temperature=0.5, top_p=0.9, max_output_tokens=9, stop_sequences=["END"], seed=7),
    ),
    "tools": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "auto"},
        gemini(tools=_G_TOOLS, tool_config={"function_calling_config": {"mode": "AUTO"}}, **_OFF),
    ),
    "a forced tool": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "weather"},
        gemini(
            tools=_G_TOOLS,
            tool_config={"function_calling_config": {"mode": "ANY", "allowed_function_names": ["weather"]}},
            **_OFF,
        ),
    ),
    "tool results": ({"messages": TURNS, "tools": [TOOL]}, gemini(_G_TURNS, tools=_G_TOOLS, **_OFF)),
    "a signature passed back": (
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": (ToolCall("a", "weather", {"city": "Paris"}, signature="c2ln"),)},
                RESULTS[0],
            ]
        },
        gemini(
            [
                _G_ASK,
                {
                    "role": "model",
                    "parts": [
                        {
                            "function_call": {"id": "a", "name": "weather", "args": {"city": "Paris"}},
                            "thought_signature": b"sig",
                        }
                    ],
                },
                {"role": "user", "parts": _G_TURNS[2]["parts"][:1]},
            ]
        ),
    ),
    "an image by URL": (
        {"messages": [{"role": "user", "content": [Text("What?"), Image(url="https://x.test/a.png")]}]},
        gemini(
            [
                {
                    "role": "user",
                    "parts": [
                        {"text": "What?"},
                        {"file_data": {"file_uri": "https://x.test/a.png", "mime_type": "image/png"}},
                    ],
                }
            ]
        ),
    ),
    "an image as bytes": (
        {"messages": [{"role": "user", "content": [Image(data=PNG, mime="image/png")]}]},
        gemini([{"role": "user", "parts": [{"inline_data": {"data": PNG, "mime_type": "image/png"}}]}]),
    ),
    "an image from a file": (
        {"messages": [{"role": "user", "content": [image_from_file()]}]},
        gemini([{"role": "user", "parts": [{"inline_data": {"data": PNG, "mime_type": "image/png"}}]}]),
    ),
    "an image in a tool's answer": (
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": CALLS[:1]},
                {
                    "role": "tool",
                    "content": (ToolResult("a", (Text("see"), Image(data=PNG, mime="image/png")), "weather"),),
                },
            ]
        },
        gemini(
            [
                _G_ASK,
                {"role": "model", "parts": _G_TURNS[1]["parts"][:1]},
                {
                    "role": "user",
                    "parts": [
                        {
                            "function_response": {
                                "id": "a",
                                "name": "weather",
                                "response": {"output": "see"},
                                "parts": [{"inline_data": {"data": PNG, "mime_type": "image/png"}}],
                            }
                        }
                    ],
                },
            ]
        ),
    ),
    "a failed tool": (
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": CALLS[:1]},
                {"role": "tool", "content": (ToolResult("a", "no such city", is_error=True),)},
            ]
        },
        gemini(
            [
                _G_ASK,
                {"role": "model", "parts": _G_TURNS[1]["parts"][:1]},
                {
                    "role": "user",
                    "parts": [
                        {"function_response": {"id": "a", "name": "weather", "response": {"error": "no such city"}}}
                    ],
                },
            ]
        ),
    ),
    "any tool": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "required"},
        gemini(tools=_G_TOOLS, tool_config={"function_calling_config": {"mode": "ANY"}}, **_OFF),
    ),
    "no tool": (
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "none"},
        gemini(tools=_G_TOOLS, tool_config={"function_calling_config": {"mode": "NONE"}}, **_OFF),
    ),
    "stop": ({"messages": [ASK], "stop": ["END", "STOP"]}, gemini(stop_sequences=["END", "STOP"])),
    "seed": ({"messages": [ASK], "seed": 0}, gemini(seed=0)),
    "top_p": ({"messages": [ASK], "top_p": 0.9}, gemini(top_p=0.9)),
    "any JSON": ({"messages": [ASK], "response_format": "json"}, gemini(response_mime_type="application/json")),
    "no thinking": ({"messages": [ASK], "reasoning": "none"}, gemini(thinking_config={"thinking_budget": 0})),
    "thinking passed back": (
        {
            "messages": [
                ASK,
                {
                    "role": "assistant",
                    "content": (
                        Thinking("hm", "c2ln", provider="gemini"),
                        Text("Yes."),
                        Thinking("", "c2ln", provider="gemini"),
                    ),
                },
                ASK,
            ]
        },
        gemini(
            [
                _G_ASK,
                {
                    "role": "model",
                    "parts": [
                        {"text": "hm", "thought": True, "thought_signature": b"sig"},
                        {"text": "Yes.", "thought_signature": b"sig"},
                    ],
                },
                _G_ASK,
            ]
        ),
    ),
    "a schema for the answer": (
        {"messages": [ASK], "response_format": {"json_schema": SCHEMA}},
        gemini(response_mime_type="application/json", response_json_schema=SCHEMA),
    ),
    "a thinking budget": (
        {"messages": [ASK], "reasoning": {"budget_tokens": 512}},
        gemini(thinking_config={"thinking_budget": 512, "include_thoughts": True}),
    ),
    "effort": (
        {"messages": [ASK], "reasoning": "low"},
        gemini(thinking_config={"thinking_level": "LOW", "include_thoughts": True}),
    ),
    "extra": (
        {"messages": [ASK], "temperature": 0.5, "extra": {"cachedContent": "c/1", "generationConfig": {"topK": 4}}},
        gemini(cached_content="c/1", top_k=4, temperature=0.5),
    ),
}


@pytest.mark.parametrize("feature", GEMINI)
def test_gemini(feature: str) -> None:
    compare("gemini", *GEMINI[feature])


def test_gemini_stream_and_safety() -> None:
    import msgspec

    safe = msgspec.structs.replace(profile_of("gemini"), safety={"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"})
    sent = sent_by(
        "gemini",
        lambda client: list(
            client.models.generate_content_stream(
                model="m",
                contents="Hello!",
                config={"safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]},
            )
        ),
    )
    outgoing = codec_of(safe).encode(LLMRequest(messages=[ASK]), "m", stream=True)
    assert json.loads(outgoing.body) == protobuf_json(sent.body)
    assert sent.path.endswith(outgoing.path)


def ollama(**options: Any) -> Call:
    return lambda client: client.chat(**{"model": "m", "messages": [ASK], **options})


_L_TURNS = [
    ASK,
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": c.name, "arguments": c.arguments}} for c in CALLS],
    },
    {"role": "tool", "content": "sunny", "tool_name": "weather"},
    {"role": "tool", "content": "rain", "tool_name": "weather"},
]
# The client's tool type knows no `additionalProperties`, and drops it.
_L_SCHEMA = {key: value for key, value in SCHEMA.items() if key != "additionalProperties"}
_L_TOOL = {"name": "weather", "description": "The weather.", "parameters": _L_SCHEMA}
OLLAMA: dict[str, tuple[Body, Call]] = {
    "plain": ({"messages": [ASK]}, ollama()),
    "system prompt": ({"messages": [SYSTEM, ASK]}, ollama(messages=[SYSTEM, ASK])),
    "sampling": (
        {"messages": [ASK], "temperature": 0.5, "top_p": 0.9, "max_tokens": 9, "stop": ["END"], "seed": 7},
        ollama(options={"temperature": 0.5, "top_p": 0.9, "num_predict": 9, "stop": ["END"], "seed": 7}),
    ),
    "tools": ({"messages": [ASK], "tools": [_L_TOOL]}, ollama(tools=[{"type": "function", "function": _L_TOOL}])),
    "tool results": ({"messages": TURNS}, ollama(messages=_L_TURNS)),
    "an image as bytes": (
        {"messages": [{"role": "user", "content": [Text("What?"), Image(data=PNG, mime="image/png")]}]},
        ollama(messages=[{"role": "user", "content": "What?", "images": [PNG]}]),
    ),
    "an image from a file": (
        {"messages": [{"role": "user", "content": [image_from_file()]}]},
        ollama(messages=[{"role": "user", "images": [PNG]}]),
    ),
    "an image by data URL": (
        {"messages": [{"role": "user", "content": [Text("What?"), Image(url=f"data:image/png;base64,{B64}")]}]},
        ollama(messages=[{"role": "user", "content": "What?", "images": [PNG]}]),
    ),
    "no tool": ({"messages": [ASK], "tools": [_L_TOOL], "tool_choice": "none"}, ollama()),
    "stop": ({"messages": [ASK], "stop": ["END", "STOP"]}, ollama(options={"stop": ["END", "STOP"]})),
    "seed": ({"messages": [ASK], "seed": 0}, ollama(options={"seed": 0})),
    "top_p": ({"messages": [ASK], "top_p": 0.9}, ollama(options={"top_p": 0.9})),
    "thinking passed back": (
        {"messages": [ASK, {"role": "assistant", "content": (Thinking("hm", provider="ollama"), Text("Yes."))}, ASK]},
        ollama(messages=[ASK, {"role": "assistant", "content": "Yes.", "thinking": "hm"}, ASK]),
    ),
    "a schema for the answer": ({"messages": [ASK], "response_format": {"json_schema": SCHEMA}}, ollama(format=SCHEMA)),
    "any JSON": ({"messages": [ASK], "response_format": "json"}, ollama(format="json")),
    "thinking": ({"messages": [ASK], "reasoning": "high"}, ollama(think="high")),
    "no thinking": ({"messages": [ASK], "reasoning": "none"}, ollama(think=False)),
    "extra": (
        {"messages": [ASK], "extra": {"keep_alive": "5m", "options": {"num_ctx": 8192}}},
        ollama(keep_alive="5m", options={"num_ctx": 8192}),
    ),
}


@pytest.mark.parametrize("feature", OLLAMA)
def test_ollama(feature: str) -> None:
    request, call = OLLAMA[feature]
    sent = "tools" in request and request.get("tool_choice") != "none"
    compare("ollama", request, call, skip=() if sent else ("tools",))  # it sends an empty list


def test_ollama_stream() -> None:
    compare(
        "ollama",
        {"messages": [ASK]},
        lambda client: list(ollama(stream=True)(client)),
        stream=True,
        skip=("tools",),
    )  # type: ignore[call-overload]


def body(provider: str | Profile, **request: Any) -> Body:
    profile = profile_of(provider) if isinstance(provider, str) else provider
    encoded = codec_of(profile).encode(LLMRequest(**{"messages": [ASK], **request}), "m", stream=False).body
    found: Body = json.loads(encoded)
    return found


# The hosts that speak OpenAI's format are called with OpenAI's own client, and with its `extra_body` for what is theirs
# alone.
HOSTS: dict[str, tuple[str, Body, Call]] = {
    "deepseek: plain": (
        "deepseek",
        {"messages": [SYSTEM, ASK], "max_tokens": 9, "stop": ["END"], "top_p": 0.9},
        openai(messages=[SYSTEM, ASK], max_tokens=9, stop=["END"], top_p=0.9),
    ),
    "deepseek: no thinking": (
        "deepseek",
        {"messages": [ASK], "reasoning": "none"},
        openai(extra_body={"thinking": {"type": "disabled"}}),
    ),
    "deepseek: effort": (
        "deepseek",
        {"messages": [ASK], "reasoning": "high"},
        openai(reasoning_effort="high", extra_body={"thinking": {"type": "enabled"}}),
    ),
    "deepseek: thinking passed back": (
        "deepseek",
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": (Thinking("hm", provider="deepseek"), *CALLS)},
                *RESULTS,
            ],
            "tools": [TOOL],
        },
        openai(
            messages=[
                ASK,
                {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": _O_CALLS},
                *RESULTS,
            ],
            tools=[_O_TOOL],
        ),
    ),
    "deepseek: any JSON": (
        "deepseek",
        {"messages": [ASK], "response_format": "json"},
        openai(response_format={"type": "json_object"}),
    ),
    "qwen: thinking": (
        "qwen",
        {"messages": [ASK], "reasoning": {"budget_tokens": 100}, "seed": 7},
        openai(seed=7, extra_body={"enable_thinking": True, "thinking_budget": 100}),
    ),
    "qwen: a schema for the answer": (
        "qwen",
        {"messages": [ASK], "response_format": {"json_schema": SCHEMA, "name": "place"}},
        openai(
            response_format={"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
        ),
    ),
    "qwen: tools": (
        "qwen",
        {"messages": TURNS, "tools": [TOOL]},
        openai(
            messages=[ASK, {"role": "assistant", "content": None, "tool_calls": _O_CALLS}, *RESULTS], tools=[_O_TOOL]
        ),
    ),
    "meta: a forced tool": (
        "meta",
        {"messages": [ASK], "tools": [TOOL], "tool_choice": "weather", "max_tokens": 9},
        openai(
            tools=[_O_TOOL], tool_choice={"type": "function", "function": {"name": "weather"}}, max_completion_tokens=9
        ),
    ),
    "v98: an image": (
        "v98",
        {"messages": [{"role": "user", "content": [Image(data=PNG, mime="image/png")]}], "max_tokens": 9},
        openai(
            messages=[
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64}"}}],
                }
            ],
            max_tokens=9,
        ),
    ),
    "aicoding: extra": ("aicoding", {"messages": [ASK], "extra": {"top_k": 4}}, openai(extra_body={"top_k": 4})),
}


@pytest.mark.parametrize("feature", HOSTS)
def test_hosts_of_openais_format(feature: str) -> None:
    provider, request, call = HOSTS[feature]
    sent = sent_by("openai", call)
    outgoing = codec_of(profile_of(provider)).encode(LLMRequest(**request), "m", stream=False)
    assert json.loads(outgoing.body) == sent.body


# What a request may ask for, by the names above; and where a provider has no such thing, what is said of it.
FEATURES = (
    "plain",
    "system prompt",
    "sampling",
    "stop",
    "seed",
    "top_p",
    "tools",
    "a forced tool",
    "any tool",
    "no tool",
    "tool results",
    "an image by URL",
    "an image as bytes",
    "an image from a file",
    "a schema for the answer",
    "any JSON",
    "effort",
    "thinking passed back",
    "cache marks",
    "extra",
)
REFUSED: dict[tuple[str, str], tuple[Body, str]] = {
    ("anthropic", "seed"): ({"messages": [ASK], "seed": 1}, "seed"),
    ("anthropic", "any JSON"): ({"messages": [ASK], "response_format": "json"}, "response_format"),
    ("ollama", "a forced tool"): ({"messages": [ASK], "tools": [TOOL], "tool_choice": "weather"}, "tool_choice"),
    ("ollama", "any tool"): ({"messages": [ASK], "tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
    ("ollama", "an image by URL"): (
        {"messages": [{"role": "user", "content": [Image(url="https://x.test/a.png")]}]},
        "messages",
    ),
}
# Hints and memories that these have no field for: without them the request means the same.
MEANS_NOTHING: dict[tuple[str, str], Body] = {
    ("openai", "thinking passed back"): {
        "messages": [ASK, {"role": "assistant", "content": (Thinking("hm", provider="openai"), Text("Yes."))}, ASK]
    },
    ("openai", "cache marks"): {"messages": [{"role": "user", "content": [Text("Hello!", cache="1h")]}]},
    ("gemini", "cache marks"): {"messages": [{"role": "user", "content": [Text("Hello!", cache="1h")]}]},
    ("ollama", "cache marks"): {"messages": [{"role": "user", "content": [Text("Hello!", cache="1h")]}]},
}
OTHER_NAMES = {("ollama", "effort"): "thinking"}


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize(
    ("provider", "shown"),
    [("openai", OPENAI), ("anthropic", ANTHROPIC), ("gemini", GEMINI), ("ollama", OLLAMA)],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_every_feature_is_sent_as_the_client_does_or_refused(
    provider: str, shown: dict[str, Any], feature: str
) -> None:
    here = (provider, feature)
    assert (OTHER_NAMES.get(here, feature) in shown) + (here in REFUSED) + (here in MEANS_NOTHING) == 1
    codec = codec_of(profile_of(provider))
    if here in REFUSED:
        request, field = REFUSED[here]
        with pytest.raises(errors.UnsupportedParameter) as caught:
            codec.encode(LLMRequest(**request), "m", stream=False)
        assert caught.value.field == field
    if here in MEANS_NOTHING:
        asked = LLMRequest(**MEANS_NOTHING[here])
        sent = codec.encode(asked, "m", stream=False).body
        assert b"hm" not in sent
        assert b"1h" not in sent
        assert all(
            part.text.encode() in sent for message in asked.messages for part in message.parts if isinstance(part, Text)
        )


def test_profiles_differ_where_their_providers_do() -> None:
    assert body("deepseek", max_tokens=5)["max_tokens"] == 5
    assert body("deepseek", reasoning="none")["thinking"] == {"type": "disabled"}
    assert body("qwen", reasoning={"budget_tokens": 100}) == {
        "model": "m",
        "messages": [ASK],
        "enable_thinking": True,
        "thinking_budget": 100,
    }
    shaped = body("deepseek", response_format={"json_schema": SCHEMA})
    assert shaped["response_format"] == {"type": "json_object"}
    assert "JSON Schema" in shaped["messages"][0]["content"]
    assert body("v98", max_tokens=5)["max_tokens"] == 5
    assert profile_of("aicoding").multiplier("claude-opus-4-5") == 1.5
    assert profile_of("aicoding").multiplier("claude-sonnet-4-5") == 1.0


@pytest.mark.parametrize("prefix", ["", "anthropic/", "openrouter/anthropic/"])
def test_aicoding_bills_more_for_one_model_whatever_its_prefix(prefix: str) -> None:
    billed = profile_of("aicoding").multiplier
    for name in ("claude-opus-4-5", "claude-opus-4.5", "Claude-Opus-4.5", "claude-opus-4-5-20251101"):
        assert billed(prefix + name) == 1.5
    for name in ("claude-opus-4", "claude-opus-4-1", "claude-opus-4-6", "claude-3-opus", "claude-haiku-4-5"):
        assert billed(prefix + name) == 1.0


def test_deepseek_gets_its_own_thinking_back_and_nobody_elses() -> None:
    said = (Thinking("hm", provider="deepseek"), Text("Yes."))
    for provider, expected in (("deepseek", "hm"), ("openai", None), ("v98", None)):
        request = LLMRequest(messages=[ASK, {"role": "assistant", "content": said}, ASK])
        sent = json.loads(codec_of(profile_of(provider)).encode(request, "m", stream=False).body)
        assert sent["messages"][1].get("reasoning_content") == expected


def test_alibaba_and_openai_mean_different_things_by_insufficient_quota() -> None:
    refusal = json.dumps({"error": {"message": "x", "type": "insufficient_quota"}}).encode()
    assert type(codec_of(profile_of("qwen")).error(429, [], refusal)) is errors.RateLimit
    assert type(codec_of(profile_of("openai")).error(429, [], refusal)) is errors.QuotaExhausted


@pytest.mark.parametrize(
    ("provider", "request_", "field"),
    [
        ("anthropic", {"seed": 1}, "seed"),
        ("anthropic", {"response_format": "json"}, "response_format"),
        ("openai", {"reasoning": {"budget_tokens": 5}}, "reasoning.budget_tokens"),
        ("ollama", {"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        (
            "ollama",
            {"messages": [ASK, {"role": "assistant", "content": [ToolCall("1", "f", raw="{")]}]},
            "messages",
        ),
        ("openai", {"extra": {"n": 2}}, "extra.n"),
        ("openai", {"temperature": 0.1, "extra": {"temperature": 0.2}}, "extra.temperature"),
        ("openai", {"extra": {"model": "other"}}, "extra.model"),
        ("openai", {"extra": {"extra_headers": {"x": "a\r\nb"}}}, "extra.extra_headers.x"),
    ],
)
def test_what_a_provider_cannot_do_is_an_error_before_anything_is_sent(
    provider: str, request_: Body, field: str
) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        body(provider, **request_)
    assert caught.value.field == field


def test_what_a_profile_says_is_unsupported_is_so_at_0_too() -> None:
    profile = Profile(name="acme", base_url="http://acme.test", unsupported=frozenset(("seed", "stop", "extra")))
    validate.check(LLMRequest(messages=[ASK], temperature=0), "m", profile, 1)
    for asked in ({"seed": 0}, {"stop": ["x"]}, {"extra": {"a": 0}}):
        with pytest.raises(errors.UnsupportedParameter):
            validate.check(LLMRequest(messages=[ASK], **asked), "m", profile, 1)  # type: ignore[arg-type]


def test_a_name_that_has_no_field_begins_the_text() -> None:
    named: list[Body] = [
        {"role": "user", "name": "ann", "content": "Hi!"},
        {"role": "user", "name": "bob", "content": [Text("Ho!")]},
    ]
    assert [each["content"] for each in body("ollama", messages=named)["messages"]] == [
        "ann: Hi!",
        "bob: Ho!",
    ]


def test_an_empty_text_in_the_answer_of_a_tool_is_left_out() -> None:
    result = ToolResult("1", (Text(""), Text("rain")))
    turns = [
        ASK,
        {"role": "assistant", "content": [ToolCall("1", "f")]},
        {"role": "tool", "content": [result]},
    ]
    (sent,) = body("anthropic", messages=turns)["messages"][-1]["content"]
    assert sent["content"] == [{"type": "text", "text": "rain"}]


def test_headers_of_a_request() -> None:
    codec = codec_of(profile_of("anthropic"))
    beta = LLMRequest(messages=[ASK], extra={"extra_headers": {"anthropic-beta": "x-2026"}})
    assert (b"anthropic-beta", b"x-2026") in codec.encode(beta, "m", stream=False).headers
    assert (b"anthropic-version", b"2026-10-21") in codec.encode(beta, "m", stream=False).headers
    warm = LLMRequest(messages=[ASK], temperature=0.2)
    assert (b"anthropic-version", b"2023-06-01") in codec.encode(warm, "m", stream=False).headers

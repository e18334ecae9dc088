"""A bare prompt in place of messages, and tokens in place of texts."""

from typing import Any

import pytest

from three_mode import LLMRequest, Message
from three_mode.errors import InvalidRequest, UnsupportedParameter
from three_mode.messages import EmbedRequest, from_json, from_msgpack, to_json, to_msgpack
from three_mode.policies.cache import cache_key
from three_mode.providers import openai, profile, validate
from three_mode.providers.estimate import estimate_tokens

TOOL = {"name": "f", "parameters": {"type": "object"}}


def test_a_text_is_one_message_of_the_user_for_those_who_only_read_messages() -> None:
    request = LLMRequest(prompt="Once upon")
    assert request.messages == (Message("user", "Once upon"),)
    for read, written in ((from_json, to_json(request)), (from_msgpack, to_msgpack(request))):
        assert read(LLMRequest, written) == request  # type: ignore[operator]
    assert request.addressed("m", 1.0).prompt == "Once upon"
    tokens = LLMRequest(prompt=[1, 2, 3])
    assert (tokens.prompt, tokens.messages) == ((1, 2, 3), ())
    assert from_msgpack(LLMRequest, to_msgpack(tokens)) == tokens


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "messages"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "messages"),
        ({"prompt": [1], "messages": [{"role": "user", "content": "b"}]}, "messages"),
        ({"prompt": "a", "tools": [TOOL]}, "tools"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt"),
        ({"prompt": [1, True]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [2**40]}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": b"bytes"}, "prompt"),
    ],
)
def test_a_wrong_prompt_names_the_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        LLMRequest(**fields)
    assert caught.value.field == field


def test_a_prompt_and_its_message_never_share_a_stored_reply() -> None:
    asked, bare = LLMRequest(messages=[{"role": "user", "content": "a"}]), LLMRequest(prompt="a")
    keys = {cache_key(request, "p", "m") for request in (asked, bare, LLMRequest(prompt=[1]), LLMRequest(prompt=[2]))}
    assert len(keys) == 4


def test_tokens_are_counted_and_not_estimated() -> None:
    assert estimate_tokens(LLMRequest(prompt=[5] * 321), "m") == 321


def test_providers_without_text_completions_refuse_a_prompt_by_name() -> None:
    bare = LLMRequest(prompt="a")
    for wire in ("anthropic", "gemini", "ollama", "claude-cli"):
        described = profile.Profile(name=wire, base_url="", wire=wire)  # type: ignore[arg-type]
        with pytest.raises(UnsupportedParameter) as caught:
            validate.check(bare, "m", described, 1)
        assert caught.value.field == "prompt"
    codec = openai.OpenAICodec(profile.Profile(name="openai", base_url=""))
    with pytest.raises(UnsupportedParameter) as caught:
        codec.encode(LLMRequest(prompt="a", response_format="json"), "m", stream=False)
    assert caught.value.field == "response_format"


def test_texts_to_embed_may_be_tokens() -> None:
    assert EmbedRequest.of("a").texts == ("a",)
    assert EmbedRequest.of([1, 2]).tokens == ((1, 2),)
    assert EmbedRequest.of([[1, 2], [3]]).inputs == ((1, 2), (3,))
    assert from_msgpack(EmbedRequest, to_msgpack(EmbedRequest.of([[1]]))) == EmbedRequest(tokens=((1,),))
    for wrong in ([], [1, "a"], [[1], []], [["a"]], [[-1]]):
        with pytest.raises(InvalidRequest):
            EmbedRequest.of(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="in place of"):
        EmbedRequest(texts=("a",), tokens=((1,),))

"""Embeddings at providers: the bodies of the official clients, replies read whole or refused, and the scripted
provider's too.
"""

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("openai")
pytest.importorskip("ollama")
pytest.importorskip("google.genai")

from tests.support.messages import values
from tests.support.providers.sdks import Body, sent_by
from three_mode.errors import BadReply, InvalidRequest, UnsupportedParameter
from three_mode.messages import EmbedRequest
from three_mode.providers import embeddings, profile_of
from three_mode.testing import ScriptedProvider
from three_mode.testing.wire.embeddings import vector_of

TEXTS = ["red apple", "é 日本"]
CALLS: dict[str, Any] = {
    "openai": lambda client: client.embeddings.create(model="m", input=TEXTS),
    "gemini": lambda client: client.models.embed_content(model="m", contents=TEXTS),
    "ollama": lambda client: client.embed(model="m", input=TEXTS),
}
SHORTENED: dict[str, Any] = {
    "openai": lambda client: client.embeddings.create(model="m", input=TEXTS, dimensions=3),
    "gemini": lambda client: client.models.embed_content(
        model="m", contents=TEXTS, config={"output_dimensionality": 3}
    ),
    "ollama": lambda client: client.embed(model="m", input=TEXTS, dimensions=3),
}
REPLIES: dict[str, Body] = {
    "openai": {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 1, "embedding": [3.0, 4.0]},
            {
                "object": "embedding",
                "index": 0,
                "embedding": base64.b64encode(struct.pack("<2f", 1, 2)).decode(),
            },
        ],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    },
    "gemini": {"embeddings": [{"values": [1.0, 2.0]}, {"values": [3, 4]}]},
    "ollama": {"model": "m", "embeddings": [[1.0, 2.0], [3, 4.0]], "prompt_eval_count": 7},
}


@pytest.mark.parametrize("provider", CALLS)
@pytest.mark.parametrize("dimensions", [None, 3])
def test_the_body_is_the_official_clients(provider: str, dimensions: int | None) -> None:
    sent = sent_by(provider, (CALLS if dimensions is None else SHORTENED)[provider], REPLIES[provider])
    outgoing = embeddings.encode(profile_of(provider), EmbedRequest(texts=TEXTS, dimensions=dimensions), "m")
    assert json.loads(outgoing.body) == sent.body
    assert outgoing.method == sent.method
    assert sent.path.endswith(outgoing.path)


@pytest.mark.parametrize("provider", REPLIES)
def test_a_reply_is_read_in_the_order_of_the_texts(provider: str) -> None:
    body = json.dumps(REPLIES[provider]).encode()
    embedded = embeddings.decode(profile_of(provider), "m", body, 2)
    assert list(embedded) == [(1.0, 2.0), (3.0, 4.0)]
    assert embedded.usage.input_tokens == (0 if provider == "gemini" else 7), "Gemini does not say"
    with pytest.raises(BadReply, match="2 embeddings came for 3 texts"):
        embeddings.decode(profile_of(provider), "m", body, 3)


@pytest.mark.parametrize("provider", REPLIES)
@given(data=st.data())
def test_any_reply_is_vectors_or_a_bad_reply(provider: str, data: st.DataObject) -> None:
    body = bytearray(json.dumps(REPLIES[provider]).encode())
    if data.draw(st.booleans()):
        body = bytearray(json.dumps(data.draw(values.json_values)).encode())
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        embedded = embeddings.decode(profile_of(provider), "m", bytes(body), 2)
    except BadReply:
        return
    assert len(embedded) == 2
    assert all(isinstance(number, float) for vector in embedded for number in vector)


@pytest.mark.parametrize("provider", ["anthropic", "claude-cli"])
def test_who_has_none_says_who_has(provider: str) -> None:
    with pytest.raises(UnsupportedParameter, match=r"has no embeddings .*openai, gemini and ollama"):
        embeddings.encode(profile_of(provider), EmbedRequest(texts="x"), "m")


def test_what_is_asked_is_checked() -> None:
    assert EmbedRequest(texts="a text").texts == ("a text",), "a string is one text, not its letters"
    for wrong, field in (
        ({"texts": []}, "texts"),
        ({"texts": [1]}, "texts"),
        ({"texts": "x", "dimensions": 0}, "dimensions"),
        ({"texts": "x", "within": -1}, "within"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            EmbedRequest(**wrong)  # type: ignore[arg-type]
        assert caught.value.field == field
    twice = EmbedRequest(texts="x", extra={"model": "other"})
    with pytest.raises(InvalidRequest, match=r"extra\.model contradicts"):
        embeddings.encode(profile_of("openai"), twice, "m")


async def test_the_scripted_provider_embeds_for_the_official_clients() -> None:
    import ollama
    import openai
    from google import genai

    expected = [vector_of(text) for text in TEXTS]
    async with ScriptedProvider("http/1.1") as server:
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url + "/v1") as client:
            found = await client.embeddings.create(model="m", input=TEXTS)
            assert [each.embedding for each in found.data] == expected
        google = genai.Client(api_key="k", vertexai=False, http_options={"base_url": server.url})
        reply = await google.aio.models.embed_content(model="m", contents=TEXTS)
        assert [each.values for each in reply.embeddings] == expected
        await google.aio.aclose()
        google.close()
        own = ollama.AsyncClient(host=server.url)
        assert [list(each) for each in (await own.embed(model="m", input=TEXTS)).embeddings] == expected
        await own._client.aclose()

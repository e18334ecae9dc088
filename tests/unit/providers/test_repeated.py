"""Events that are read by what they repeat say what they say when each is read as a whole."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode.messages import Chunk, TextDelta
from three_mode.providers import codec_of, profile_of
from three_mode.providers.openai_reply import OpenAIDecoder
from three_mode.providers.stream import EventDecoder

TEXTS = st.one_of(st.sampled_from(["", "Hi", "content", "gpt", '"', "\\", '","', "null", "x"]), st.text(max_size=8))


def openai(text: Any, **more: Any) -> dict[str, Any]:
    choice = {
        "index": more.pop("index", 0),
        "delta": {"content": text, **more.pop("delta", {})},
        "finish_reason": more.pop("reason", None),
    }
    return {"id": "c", "model": "gpt", "choices": [{**choice, **more.pop("choice", {})}], **more}


def anthropic(text: Any, index: Any = 0, kind: str = "text_delta") -> dict[str, Any]:
    field = {"text_delta": "text", "thinking_delta": "thinking"}.get(kind, "x")
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, field: text}}


def both(
    provider: str, events: list[bytes], together: bool
) -> tuple[list[Chunk], list[Chunk], EventDecoder, EventDecoder]:
    """What a decoder makes of them, and what one makes that reads each as a whole."""
    data = [b"data: " + event + b"\n\n" for event in events]
    codec = codec_of(profile_of(provider))
    quick, plain = codec.decoder(), codec.decoder()
    assert isinstance(quick, EventDecoder)
    assert isinstance(plain, EventDecoder)
    plain._repeated = None
    pieces = [b"".join(data)] if together else data
    found = [
        [chunk for piece in pieces for chunk in decoder.feed(piece)] + decoder.finish() for decoder in (quick, plain)
    ]
    return found[0], found[1], quick, plain


OPENAI = st.builds(
    openai,
    st.one_of(TEXTS, TEXTS, TEXTS, st.sampled_from([None, 5, ["a"]])),
    delta=st.sampled_from(
        [
            {},
            {},
            {"role": "assistant"},
            {"refusal": "No"},
            {"reasoning_content": ""},
            {"reasoning_content": "hm"},
            {"new": 1},
        ]
    ),
    choice=st.sampled_from([{}, {}, {"logprobs": None}, {"logprobs": {"content": [1]}}]),
    reason=st.sampled_from([None, None, None, "stop"]),
    index=st.sampled_from([0, 0, 0, 0, 1]),
    service_tier=st.sampled_from(["default", "Hi"]),
    citations=st.sampled_from([None, None, ["a"]]),
    usage=st.sampled_from([None, None, {"prompt_tokens": 1}]),
    obfuscation=st.sampled_from([None, "", "abc", "Hi", '"', 7]),
)
ANTHROPIC = st.builds(
    anthropic,
    st.one_of(TEXTS, st.just(5)),
    st.sampled_from([0, 0, 1, "0", -1]),
    st.sampled_from(["text_delta", "text_delta", "thinking_delta", "new"]),
)


@given(st.lists(OPENAI, max_size=8), st.booleans(), st.booleans())
def test_openai(events: list[dict[str, Any]], ascii_only: bool, together: bool) -> None:
    written = [json.dumps(event, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for event in events]
    found, expected, quick, plain = both("openai", written, together)
    assert found == expected
    assert (quick.error is None, quick.done) == (plain.error is None, plain.done)
    assert isinstance(quick, OpenAIDecoder)
    assert isinstance(plain, OpenAIDecoder)
    assert quick._extra == plain._extra


@given(st.lists(ANTHROPIC, max_size=8), st.booleans())
def test_anthropic(events: list[dict[str, Any]], together: bool) -> None:
    found, expected, quick, plain = both("anthropic", [json.dumps(event).encode() for event in events], together)
    assert found == expected
    assert (quick.error is None, quick.done) == (plain.error is None, plain.done)


@given(st.binary(max_size=6))
def test_what_is_no_string_is_read_as_a_whole(middle: bytes) -> None:
    before, after = json.dumps(openai("TEXT")).encode().split(b'"TEXT"')
    events = [before + b'"%s"' % text + after for text in (b"a", b"b", b"c")] + [before + middle + after]
    found, expected, quick, plain = both("openai", events, True)
    assert found == expected
    assert type(quick.error) is type(plain.error)


@pytest.mark.parametrize("padding", [None, "abcdef"])
def test_only_the_text_is_read_of_what_is_repeated(padding: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the others would not be worth their code: the second event is not looked into any more."""
    decoder = codec_of(profile_of("openai")).decoder()
    assert isinstance(decoder, EventDecoder)
    read, whole = list[bytes](), EventDecoder._read

    def noted(self: EventDecoder, unit: bytes, out: list[Chunk]) -> None:
        read.append(unit)
        whole(self, unit, out)

    monkeypatch.setattr(EventDecoder, "_read", noted)
    more = {} if padding is None else {"obfuscation": padding}
    texts = ["", "one", "two", 'three "quoted"', "vier: ä"]
    events = [
        openai(text, **{**more, **({} if padding is None else {"obfuscation": padding[:n]})})
        for n, text in enumerate(texts)
    ]
    chunks = [chunk for event in events for chunk in decoder.feed(b"data: " + json.dumps(event).encode() + b"\n\n")]
    assert [chunk.text for chunk in chunks if type(chunk) is TextDelta] == texts[1:]
    assert len(read) == 2


def test_a_stream_that_repeats_nothing_is_not_studied_for_ever() -> None:
    decoder = codec_of(profile_of("openai")).decoder()
    assert isinstance(decoder, EventDecoder)
    assert decoder._repeated is not None
    for number in range(20):
        decoder.feed(b"data: " + json.dumps(openai("x", created=number)).encode() + b"\n\n")
    assert decoder._repeated._tries == 0

"""One suite that every codec passes: what it reads, in any split of its bytes, and what it makes of refusals and
rubbish.
"""

import json
import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.providers.wires import WIRES, Wire
from three_mode import errors
from three_mode.messages import Chunk, Finish, LLMRequest, LLMResponse, TextDelta, UsageUpdate, fold

CASES = [(name, case) for name, wire in WIRES.items() for case in wire.cases]
REFUSALS = [(name, kind) for name, wire in WIRES.items() for kind in wire.refusals]
MEANING = {
    "auth": errors.AuthenticationError,
    "rate": errors.RateLimit,
    "quota": errors.QuotaExhausted,
    "context": errors.ContextLength,
    "missing": errors.NotFound,
    "overloaded": errors.ProviderOverloaded,
    "server": errors.ServerError,
    "bad": errors.InvalidRequest,
    "unsupported": errors.UnsupportedParameter,
}


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> Wire:
    return WIRES[request.param]


def decoded(wire: Wire, pieces: Iterable[bytes]) -> tuple[list[Chunk], errors.LLMError | None]:
    decoder = wire.codec.decoder()
    chunks: list[Chunk] = []
    for piece in pieces:
        chunks += decoder.feed(piece)
    chunks += decoder.finish()
    assert (decoder.error is None) == decoder.done
    return chunks, decoder.error


def check(wire: Wire, case: str, reply: LLMResponse) -> None:
    expected = wire.cases[case]
    assert reply.parts == expected.parts
    assert reply.usage == expected.usage
    assert reply.finish_reason == expected.reason
    assert reply.provider == wire.provider


@pytest.mark.parametrize(("provider", "case"), CASES)
def test_a_whole_reply(provider: str, case: str) -> None:
    wire = WIRES[provider]
    check(wire, case, wire.codec.decode(wire.cases[case].whole))


@pytest.mark.parametrize(("provider", "case"), CASES)
def test_a_streamed_reply_folds_into_the_whole_one(provider: str, case: str) -> None:
    wire = WIRES[provider]
    chunks, error = decoded(wire, [wire.cases[case].streamed])
    assert error is None
    assert isinstance(chunks[-1], Finish)
    check(wire, case, fold(chunks))


@pytest.mark.parametrize(("provider", "case"), CASES)
def test_any_split_of_the_bytes_is_the_same_stream(provider: str, case: str) -> None:
    wire = WIRES[provider]
    data = wire.cases[case].streamed
    whole, _ = decoded(wire, [data])
    assert decoded(wire, [data[i : i + 1] for i in range(len(data))])[0] == whole
    for cut in random.Random(7).sample(range(1, len(data)), 40):
        assert decoded(wire, [data[:cut], data[cut:]])[0] == whole


def test_carriage_returns_and_keep_alives_change_nothing(wire: Wire) -> None:
    data = wire.cases["plain"].streamed
    plain, _ = decoded(wire, [data])
    again, error = decoded(wire, [wire.keep_alive * 3, data.replace(b"\n", b"\r\n")])
    assert error is None
    assert fold(again).parts == fold(plain).parts


def test_keep_alives_are_no_content(wire: Wire) -> None:
    assert wire.codec.decoder().feed(wire.keep_alive * 100) == []


def test_an_error_inside_a_stream_comes_after_what_was_said(wire: Wire) -> None:
    for pieces in (
        [wire.error_inside],
        [wire.error_inside[i : i + 1] for i in range(len(wire.error_inside))],
    ):
        chunks, error = decoded(wire, pieces)
        assert "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta)) == "Hel"
        assert isinstance(error, errors.ServerError | errors.ProviderOverloaded)
        assert not any(isinstance(chunk, Finish) for chunk in chunks)


def test_a_cut_stream_is_an_error_and_not_a_short_answer(wire: Wire) -> None:
    chunks, error = decoded(wire, [wire.cut])
    assert isinstance(error, errors.ConnectionFailed)
    assert fold(chunks).content == "Hel"


@pytest.mark.parametrize(("provider", "kind"), REFUSALS)
def test_a_refusal_is_the_right_error(provider: str, kind: str) -> None:
    wire = WIRES[provider]
    status, body = wire.refusals[kind]
    error = wire.codec.error(status, [(b"x-request-id", b"req_7")], json.dumps(body).encode())
    assert type(error) is MEANING[kind]
    assert (error.provider, error.status, error.request_id) == (provider, status, "req_7")
    assert error.retryable == (kind in ("rate", "overloaded", "server"))
    assert provider in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><h1>502 Bad Gateway</h1></html>",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"{}",
        b'{"error":null}',
    ],
)
def test_a_refusal_of_any_shape_is_an_error_by_its_status(wire: Wire, body: bytes) -> None:
    assert type(wire.codec.error(502, [], body)) is errors.ServerError
    assert type(wire.codec.error(401, [], body)) is errors.AuthenticationError


def test_a_key_that_the_provider_quotes_is_in_no_error(wire: Wire) -> None:
    body = json.dumps({"error": {"message": "Incorrect API key: sk-proj-abcdefgh12345678", "type": "x"}}).encode()
    assert "abcdefgh" not in str(wire.codec.error(401, [], body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"null",
        b'{"choices":3,"content":3,"candidates":3,"message":3,"done":true}',
        b'{"choices":[],"content":{},"candidates":[{"content":{"parts":[3]}}]}',
    ],
)
def test_a_reply_that_is_none_is_a_bad_reply(wire: Wire, body: bytes) -> None:
    with pytest.raises(errors.BadReply):
        wire.codec.decode(body)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(WIRES)), st.sampled_from(["plain", "tool", "parallel tools", "thinking"]), st.data())
def test_damaged_bytes_end_in_a_value_or_an_error(provider: str, case: str, data: st.DataObject) -> None:
    wire = WIRES[provider]
    for original, read in (
        (wire.cases[case].streamed, lambda damaged: decoded(wire, [damaged])),
        (wire.cases[case].whole, wire.codec.decode),
    ):
        damaged = bytearray(original)
        for _ in range(data.draw(st.integers(1, 6))):
            at = data.draw(st.integers(0, len(damaged) - 1))
            damaged[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=6))
            damaged += b" "
        try:
            read(bytes(damaged))
        except errors.LLMError:
            pass


def _values() -> st.SearchStrategy[object]:
    return st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=5),
        st.just([]),
        st.just({}),
        st.just([{}]),
        st.just([None]),
    )


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(WIRES)), st.sampled_from(["plain", "tool", "thinking"]), st.data())
def test_fields_of_a_wrong_type_end_in_a_value_or_an_error(provider: str, case: str, data: st.DataObject) -> None:
    wire = WIRES[provider]
    tree = json.loads(wire.cases[case].whole)
    node, key = tree, data.draw(st.sampled_from(sorted(tree)))
    while isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
        node = node[key]
        key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else list(range(len(node)))))
    node[key] = data.draw(_values())
    try:
        reply = wire.codec.decode(json.dumps(tree).encode())
    except errors.LLMError:
        return
    assert isinstance(reply.content, str)
    assert reply.usage.total_tokens >= 0
    assert isinstance(reply.thinking, str)


def test_usage_is_reported_before_the_end(wire: Wire) -> None:
    chunks, _ = decoded(wire, [wire.cases["plain"].streamed])
    kinds = [type(chunk) for chunk in chunks]
    assert kinds.index(UsageUpdate) < kinds.index(Finish)


def test_what_nobody_knows_is_kept(wire: Wire) -> None:
    tree = json.loads(wire.cases["plain"].whole)
    tree["brand_new"] = {"x": 1}
    assert wire.codec.decode(json.dumps(tree).encode()).extra["brand_new"] == {"x": 1}


def test_an_answer_goes_back_as_the_provider_gave_it(wire: Wire) -> None:
    """Thinking, signatures, ids and arguments survive the round trip into the next request."""
    for case in wire.cases.values():
        reply = wire.codec.decode(case.whole)
        messages = [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": reply.parts},
            *({"role": "tool", "tool_call_id": call.id, "content": "ok"} for call in reply.tool_calls),
        ]
        body = wire.codec.encode(LLMRequest(messages=messages), "m", stream=False).body
        said = json.loads(body)
        again = json.dumps(said, ensure_ascii=False)
        for part in reply.parts:
            signature = getattr(part, "signature", None)
            assert signature is None or signature in again
            assert getattr(part, "redacted", None) is None or part.redacted in again
        other = next(w for w in WIRES.values() if w is not wire)
        elsewhere = other.codec.encode(LLMRequest(messages=messages), "m", stream=False).body
        if reply.thinking:
            assert reply.thinking.encode() not in elsewhere, "thinking went to another provider"

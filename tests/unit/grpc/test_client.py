"""The client's side without I/O: addresses, how calls ended, deadlines, absences, and the codec of models."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode import LLMRequest, errors
from three_mode.channels.grpc_options import GRPCOptions, grpc_beside
from three_mode.grpc_messages import convert, llm_pb2
from three_mode.messages import (
    CacheHints,
    Embedded,
    EmbedRequest,
    Finish,
    LLMResponse,
    Start,
    Text,
    TextDelta,
    UsageUpdate,
)
from three_mode.policies import Absences, Route, Router, Target
from three_mode.policies.prices import Prices
from three_mode.providers import Profile
from three_mode.providers.grpc import GRPCCodec
from transports.grpc import GrpcError, GrpcStatus, NotGrpc, is_address, read_address, read_timeout, write_timeout
from transports.grpc.channel import _coarse
from transports.grpc.outcome import check_head, error_in, error_of_reset
from transports.http2 import InvalidRequest, PeerMisbehaved, StreamReset

CODEC = GRPCCodec(Profile(name="acme", base_url="http://127.0.0.1/v1"))
ASKED = LLMRequest(messages=[{"role": "user", "content": "Hello"}], temperature=0.7)


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "private"),
    [
        ("grpc://127.0.0.1:50051", "http", "127.0.0.1", 50051, True),
        ("grpc://localhost:1/", "http", "localhost", 1, True),
        ("grpc://[::1]:2", "http", "::1", 2, True),
        ("grpc://10.0.0.1:3", "http", "10.0.0.1", 3, False),
        ("grpc://models.example:3", "http", "models.example", 3, False),
        ("grpcs://models.example", "https", "models.example", 443, True),
        ("GRPCS://Models.example:8443", "https", "models.example", 8443, True),
    ],
)
def test_addresses(url: str, scheme: str, host: str, port: int, private: bool) -> None:
    address = read_address(url)
    assert (address.origin.scheme, address.origin.host, address.origin.port) == (scheme, host, port)
    assert address.private is private
    assert is_address(url)


def test_an_address_of_a_socket() -> None:
    address = read_address("grpc+unix:///run/my%20models.sock")
    assert (address.unix_socket, address.private) == ("/run/my models.sock", True)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1",
        "grpc://127.0.0.1",
        "grpc://:5",
        "grpc://host:port",
        "grpc://host:1/v1",
        "grpc://user:pw@host:1",  # pragma: allowlist secret
        "grpc://host:1?x=y",
        "grpc+unix://host/x",
        "127.0.0.1:50051",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InvalidRequest):
        read_address(url)


def test_the_place_beside_a_url() -> None:
    assert grpc_beside("http://127.0.0.1:8000/v1") == "grpc://127.0.0.1:8000"
    assert grpc_beside("https://models.example/v1") == "grpcs://models.example:443"
    assert grpc_beside("http://[::1]/v1") == "grpc://[::1]:80"
    with pytest.raises(errors.ConfigurationError):
        grpc_beside("http://host:port/v1")
    with pytest.raises(errors.ConfigurationError):
        GRPCOptions(remember=-1.0)


GRPC = ((b"content-type", b"application/grpc"),)


def test_heads() -> None:
    assert check_head(200, GRPC) == b"identity"
    assert check_head(200, (*GRPC, (b"grpc-encoding", b"gzip"))) == b"gzip"
    for status, headers in ((200, ((b"content-type", b"text/html"),)), (200, ()), (404, ()), (415, GRPC)):
        with pytest.raises(NotGrpc):
            check_head(status, headers)
    for status, code in ((401, "UNAUTHENTICATED"), (403, "PERMISSION_DENIED"), (503, "UNAVAILABLE")):
        with pytest.raises(GrpcError) as caught:
            check_head(status, ())
        assert caught.value.status.name == code
    with pytest.raises(GrpcError) as caught:  # a status in the head counts, whatever HTTP says
        check_head(503, (*GRPC, (b"grpc-status", b"5")))
    assert caught.value.status is GrpcStatus.NOT_FOUND


def test_trailers() -> None:
    assert error_in([(b"grpc-status", b"0")]) is None
    error = error_in([(b"grpc-status", b"8"), (b"grpc-message", b"100 %25"), (b"grpc-status-details-bin", b"CAU")])
    assert error is not None
    assert (error.status, error.message, error.details) == (GrpcStatus.RESOURCE_EXHAUSTED, "100 %", b"\x08\x05")
    broken = error_in([(b"grpc-status", b"8"), (b"grpc-status-details-bin", b"!")])
    assert broken is not None
    assert broken.details == b""
    unknown = error_in([(b"grpc-status", b"77")])
    assert unknown is not None
    assert unknown.status is GrpcStatus.UNKNOWN
    with pytest.raises(PeerMisbehaved):
        error_in([])


def test_resets() -> None:
    assert error_of_reset(StreamReset("x", code=8)).status is GrpcStatus.CANCELLED
    assert error_of_reset(StreamReset("x", code=7)).status is GrpcStatus.UNAVAILABLE
    assert error_of_reset(StreamReset("x", code=2)).status is GrpcStatus.INTERNAL


@given(st.floats(0.0, 1e6))
def test_a_deadline_is_told_coarsely_and_never_shortened(seconds: float) -> None:
    told = read_timeout(write_timeout(_coarse(seconds)))
    assert told >= seconds - 1e-6
    assert told <= seconds * 1.04 + 0.017


def test_deadlines_of_one_default_are_few() -> None:
    """So that the heads of calls are few, which the pool keeps encoded."""
    assert len({write_timeout(_coarse(60.0 - late / 1e6)) for late in range(0, 20_000, 7)}) == 1


class Clock:
    time = 100.0

    def now(self) -> float:
        return self.time


def missing(code: str | None) -> errors.LLMError:
    return errors.ConnectionFailed("nobody is there", provider="acme", code=code)


def test_absences_are_remembered_and_forgotten() -> None:
    clock = Clock()
    absences = Absences(60.0, clock)  # type: ignore[arg-type]
    over_grpc, over_http = Target("acme", "m", 1, grpc=True), Target("acme", "m", 9)
    assert absences.settled([over_grpc]) == ([over_grpc], None, None)
    assert absences.instead(over_grpc, missing(None)) is None
    assert absences.instead(over_grpc, errors.RateLimit("slow")) is None
    assert absences.instead(over_grpc, missing("NO_GRPC")) == Target("acme", "m", 1)
    found, changed, why = absences.settled([over_grpc, over_http])
    assert [(target.model, target.grpc) for target in found] == [("m", False)]  # the two sides are one now
    assert changed == Target("acme", "m", 1)
    assert why is not None
    assert "nobody is there" in why
    assert absences.settled([Target("other", "m", grpc=True)])[1] is None
    clock.time += 61
    assert absences.settled([over_grpc]) == ([over_grpc], None, None)


def test_both_sides_of_a_split_are_drawn_apart() -> None:
    """The two are the same model of the same provider, and not the same place on the circle."""
    sides = (Target("acme", "m", 1), Target("acme", "m", 1, grpc=True))
    router = Router([Route("r", targets=sides, by="split")], Prices(), lambda provider, model: None)
    first = [router.order("r", LLMRequest(messages=ASKED.messages, metadata={"user": str(n)}))[0] for n in range(400)]
    assert 140 < sum(target.grpc for target in first) < 260
    assert str(sides[1]) == "acme/m over gRPC"


def test_a_request_says_what_the_far_side_needs() -> None:
    asked = LLMRequest(
        messages=ASKED.messages,
        model="alias",
        provider="acme",
        mode="human_ai",
        metadata={"user": "me"},
        cache=CacheHints(key="k", response="refresh"),
        within=5.0,
        temperature=0.7,
    )
    read = convert.read_request(llm_pb2.ChatRequest.FromString(CODEC.encode(asked, "m")))
    assert read == LLMRequest(messages=ASKED.messages, model="m", cache=CacheHints(key="k"), temperature=0.7)


def test_replies_are_read_and_what_is_none_is_refused() -> None:
    reply = LLMResponse(parts=(Text("hi"),), model="m")
    assert CODEC.decode(convert.write_response(reply).SerializeToString()).content == "hi"
    for garbage in (b"\xff", b"\x0a\x05ab"):
        with pytest.raises(errors.BadReply):
            CODEC.decode(garbage)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        CODEC.decode(data)
    except errors.BadReply:
        pass
    decoder = CODEC.decoder()
    decoder.feed(data)
    decoder.finish()


def test_vectors_are_counted() -> None:
    request = EmbedRequest(texts=("a", "b"), model="alias", within=3.0)
    sent = convert.read_embed_request(llm_pb2.EmbedRequest.FromString(CODEC.encode_embedding(request, "m")))
    assert sent == EmbedRequest(texts=("a", "b"), model="m")
    body = convert.write_embedded(Embedded(((1.0,), (2.0,)), "m")).SerializeToString()
    assert CODEC.decode_embedding(body, 2).vectors == ((1.0,), (2.0,))
    with pytest.raises(errors.BadReply):
        CODEC.decode_embedding(body, 3)


def test_a_stream_of_the_older_schema_gets_a_start_and_an_end() -> None:
    decoder = CODEC.decoder()
    chunks = []
    for text in ("a", "", "b"):
        chunks += decoder.feed(llm_pb2.ChatChunk(content=text, model="old", tokens_used=5).SerializeToString())
    chunks += decoder.finish()
    assert [type(chunk) for chunk in chunks] == [Start, TextDelta, TextDelta, UsageUpdate, Finish]
    assert decoder.error is None


def test_a_stream_that_never_began_is_an_error() -> None:
    decoder = CODEC.decoder()
    assert decoder.finish() == []
    assert isinstance(decoder.error, errors.ConnectionFailed)

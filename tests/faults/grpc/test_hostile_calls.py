"""Garbage, lies about lengths, messages without end: each is refused with its status, and the endpoint lives on."""

import asyncio
import gzip
import os
import struct

import pytest

from tests.support.grpc.raw import call
from tests.support.grpc.stubs import chat, stub
from tests.support.serve.endpoint import endpoint
from three_mode.grpc_messages import llm_pb2 as pb
from transports.grpc import GrpcStatus, frame

CHAT, STREAM = "/three_mode.v1.LLMService/ChatCompletion", "/three_mode.v1.LLMService/StreamingChat"
CONVERSE = "/three_mode.v1.LLMService/Converse"
GOOD = frame(chat("echo").SerializeToString())


@pytest.fixture
async def running():
    async with endpoint(max_body=100_000) as found:
        yield found
        async with stub(found.url) as calls:  # whatever came, the next call is answered
            assert (await calls.ChatCompletion(chat("echo"), timeout=20)).content == "good day "


BOMB = gzip.compress(b"\0" * 5_000_000)


@pytest.mark.parametrize("path", [CHAT, STREAM])
@pytest.mark.parametrize(
    ("pieces", "options", "status"),
    [
        ([b""], {}, GrpcStatus.INTERNAL),  # no message
        ([b"\0\0"], {}, GrpcStatus.INTERNAL),  # half a prefix
        ([GOOD[:-1]], {}, GrpcStatus.INTERNAL),  # half a message
        ([GOOD, GOOD], {}, GrpcStatus.INTERNAL),  # one too many
        ([b"\x07" + GOOD[1:]], {}, GrpcStatus.INTERNAL),  # no such flag
        ([b"\x01" + GOOD[1:]], {}, GrpcStatus.INTERNAL),  # packed, and nobody says how
        ([b"\xff" * 50], {}, GrpcStatus.INTERNAL),
        ([frame(b"\xff" * 50)], {}, GrpcStatus.INVALID_ARGUMENT),
        ([struct.pack(">BI", 0, 0xFFFFFFFF) + b"x"], {"ends": False}, GrpcStatus.RESOURCE_EXHAUSTED),
        ([struct.pack(">BI", 0, 100_001)], {"ends": False}, GrpcStatus.RESOURCE_EXHAUSTED),
        ([frame(b"x" * 200_000)], {}, GrpcStatus.RESOURCE_EXHAUSTED),
        (
            [struct.pack(">BI", 1, len(BOMB)) + BOMB],
            {"headers": [("grpc-encoding", "gzip")]},
            GrpcStatus.RESOURCE_EXHAUSTED,
        ),
        ([GOOD], {"headers": [("grpc-encoding", "snappy")]}, GrpcStatus.UNIMPLEMENTED),
        ([GOOD], {"headers": [("grpc-timeout", "soon")]}, GrpcStatus.INVALID_ARGUMENT),
        ([GOOD], {"content_type": "application/grpc+json"}, GrpcStatus.UNIMPLEMENTED),
        ([GOOD], {"headers": [("origin", "https://evil.example")]}, GrpcStatus.PERMISSION_DENIED),
        ([], {"headers": [("grpc-timeout", "300m")], "ends": False}, GrpcStatus.DEADLINE_EXCEEDED),
    ],
)
async def test_what_is_no_call_has_its_status(running, path, pieces, options, status) -> None:
    answer = await call(running.app.options.port, path, pieces, **options)
    assert answer.head[":status"] == "200"
    assert answer.status == status, answer


@pytest.mark.parametrize("path", ["/", "/three_mode.v1.LLMService", "/three_mode.v1.LLMService/", "/LLMService/More"])
async def test_paths_that_nobody_answers(running, path) -> None:
    assert (await call(running.app.options.port, path, [GOOD])).status == GrpcStatus.UNIMPLEMENTED


async def test_another_verb_of_http(running) -> None:
    answer = await call(running.app.options.port, CHAT, [GOOD], method="PUT")
    assert answer.status == GrpcStatus.UNIMPLEMENTED


@pytest.mark.parametrize("seed", range(5))
async def test_any_bytes_end_with_a_status(running, seed) -> None:
    garbage = [os.urandom(1 + 97 * seed) for _ in range(3)]
    for path in (CHAT, CONVERSE):
        answer = await call(running.app.options.port, path, garbage)
        assert answer.status not in (GrpcStatus.OK, GrpcStatus.UNKNOWN)


async def test_garbage_in_a_conversation_ends_its_answer(running) -> None:
    opened = frame(pb.ConverseInput(open=chat("forever")).SerializeToString())
    answer = await call(running.app.options.port, CONVERSE, [opened, frame(b"\xff\xff")], ends=False)
    assert answer.status == GrpcStatus.INVALID_ARGUMENT
    async with asyncio.timeout(10):
        while running.app.metrics.in_flight or running.backend.running:  # noqa: ASYNC110  (the endpoint has no hook to wait on)
            await asyncio.sleep(0.01)

"""`LLMService` asked by grpcio: every method, errors, deadlines, cancels, keys, TLS, a Unix socket."""

import asyncio
import gzip
import socket
from pathlib import Path

import grpc
import pytest
import trustme

from tests.support.grpc.stubs import Stub, chat, end_of, stub
from tests.support.serve.endpoint import Endpoint, endpoint, free_port
from three_mode.errors import ConfigurationError
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.grpc_messages import status_pb2
from three_mode.grpc_messages.errors import read_error
from three_mode.serve import ServeOptions, Tls
from transports.grpc import GrpcStatus


@pytest.fixture
async def running():
    async with endpoint() as found:
        yield found


@pytest.fixture
async def calls(running):
    async with stub(running.url) as found:
        yield found


async def failed(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def as_ours(error: grpc.aio.AioRpcError):
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    return read_error(GrpcStatus(error.code().value[0]), error.details() or "", details)


async def test_a_whole_answer(running: Endpoint, calls: Stub) -> None:
    reply = await calls.ChatCompletion(chat("echo", temperature=0.7, max_tokens=9, stop=["x"], extra='{"top_k":3}'))
    assert (reply.content, reply.provider, reply.finish_reason) == ("good day ", "scripted", "stop")
    assert (reply.usage.input_tokens, reply.usage.cache_read_tokens, reply.tokens_used) == (3, 2, 7)
    seen = running.backend.seen[0]
    assert (seen.temperature, seen.max_tokens, seen.stop, seen.extra) == (0.7, 9, ("x",), {"top_k": 3})


async def test_an_answer_as_it_is_made(calls: Stub) -> None:
    chunks = [chunk async for chunk in calls.StreamingChat(chat("echo"))]
    assert [chunk.WhichOneof("kind") for chunk in chunks] == ["start", None, None, "usage", "finish"]
    assert "".join(chunk.content for chunk in chunks) == "good day "


async def test_tool_calls_of_a_stream(calls: Stub) -> None:
    deltas = [c.tool async for c in calls.StreamingChat(chat("tool")) if c.WhichOneof("kind") == "tool"]
    assert (deltas[0].id, deltas[0].name, deltas[0].arguments) == ("call_a", "add", '{"x":')


async def test_vectors_and_the_list_of_models(calls: Stub) -> None:
    embedded = await calls.Embed(pb.EmbedRequest(model="embedder", texts=["a", "bcd"]))
    assert [list(vector.values) for vector in embedded.vectors] == [[1.0, 0.5], [3.0, 0.5]]
    listed = await calls.ListModels(pb.ListModelsRequest())
    assert [(model.id, model.owned_by) for model in listed.models][1] == ("agent:echo", "agents")


async def test_the_synchronous_client_of_grpcio(running: Endpoint) -> None:
    def ask() -> tuple[str, int]:
        with grpc.insecure_channel(running.url.removeprefix("http://")) as channel:
            stub = Stub(channel)
            return stub.ChatCompletion(chat("echo"), timeout=20).content, len(list(stub.StreamingChat(chat("echo"))))

    assert await asyncio.to_thread(ask) == ("good day ", 5)


async def test_errors_are_those_of_the_tree(calls: Stub) -> None:
    busy = await failed(calls.ChatCompletion(chat("overloaded")))
    assert (busy.code(), busy.details()) == (grpc.StatusCode.UNAVAILABLE, "the mailbox is full")
    assert (type(as_ours(busy)).__name__, as_ours(busy).retry_after) == ("Overloaded", 2.0)
    wrong = await failed(calls.ChatCompletion(chat("echo", top_p=3)))
    assert (wrong.code(), as_ours(wrong).field) == (grpc.StatusCode.INVALID_ARGUMENT, "top_p")
    missing = await failed(calls.Embed(pb.EmbedRequest(model="none", texts=["a"])))
    assert missing.code() is grpc.StatusCode.NOT_FOUND
    nameless = await failed(calls.ChatCompletion(chat("")))
    assert "names no model" in (nameless.details() or "")


async def test_an_unforeseen_error_says_nothing_of_itself(calls: Stub) -> None:
    error = await failed(calls.ChatCompletion(chat("unforeseen")))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "sk-secret" not in str(error)


async def test_a_stream_that_breaks_ends_with_its_error(calls: Stub) -> None:
    assert await end_of(calls.StreamingChat(chat("broken"))) == (
        grpc.StatusCode.ABORTED,
        "the provider went away",
        2,  # the start, and a word
    )


async def test_a_deadline_reaches_the_model(running: Endpoint, calls: Stub) -> None:
    error = await failed(calls.ChatCompletion(chat("forever"), timeout=0.5))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0 < running.backend.seen[0].within <= 0.6  # a client rounds up
    async with asyncio.timeout(10):
        while running.backend.running:  # noqa: ASYNC110  (the model has no hook to wait on)
            await asyncio.sleep(0.01)


async def test_a_request_may_say_its_own_time(running: Endpoint, calls: Stub) -> None:
    error = await failed(calls.ChatCompletion(chat("forever", within=0.2)))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert type(as_ours(error)).__name__ == "DeadlineExceeded"
    await calls.ChatCompletion(chat("echo", within=50), timeout=30)
    assert 25 < running.backend.seen[1].within < 31  # whichever is shorter


async def test_a_cancel_reaches_the_model(running: Endpoint, calls: Stub) -> None:
    stream = calls.StreamingChat(chat("forever"))
    async for chunk in stream:
        if chunk.content:
            break
    stream.cancel()
    async with asyncio.timeout(10):
        await running.backend.cancelled.wait()


async def test_keys_in_the_metadata() -> None:
    async with endpoint(api_keys=frozenset({"right"})) as found, stub(found.url) as calls:
        assert (await failed(calls.ChatCompletion(chat("echo")))).code() is grpc.StatusCode.UNAUTHENTICATED
        wrong = await failed(calls.ChatCompletion(chat("echo"), metadata=(("authorization", "Bearer wrong"),)))
        assert (wrong.code(), type(as_ours(wrong)).__name__) == (
            grpc.StatusCode.UNAUTHENTICATED,
            "AuthenticationError",
        )
        reply = await calls.ChatCompletion(chat("echo"), metadata=(("authorization", "Bearer right"),))
        assert reply.content == "good day "


async def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    async with endpoint(Tls(tmp_path / "cert.pem", tmp_path / "key.pem")) as found:
        address = found.url.removeprefix("https://")
        async with grpc.aio.secure_channel(address, credentials) as channel:
            assert (await Stub(channel).ChatCompletion(chat("echo"))).content == "good day "


async def test_a_port_of_its_own_and_http_beside() -> None:
    port = free_port()
    async with endpoint(grpc=port) as found, stub(f"http://127.0.0.1:{port}") as calls, stub(found.url) as same:
        assert (await calls.ChatCompletion(chat("echo"))).content == "good day "
        assert (await same.ChatCompletion(chat("echo"))).content == "good day "


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "grpc.sock"
    async with endpoint(grpc=f"unix:{path}"):
        assert path.stat().st_mode & 0o077 == 0
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            assert (await Stub(channel).ChatCompletion(chat("echo"))).content == "good day "
    assert not path.exists()


async def test_a_socket_that_a_killed_server_left_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "grpc.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with endpoint(grpc=f"unix:{path}"):
        with pytest.raises(ConfigurationError, match="choose another --grpc"):
            async with endpoint(grpc=f"unix:{path}"):
                pass
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            assert (await Stub(channel).ChatCompletion(chat("echo"))).content == "good day "


def test_without_tls_only_loopback() -> None:
    with pytest.raises(ConfigurationError, match="TLS"):
        ServeOptions(host="0.0.0.0", grpc=50051)
    with pytest.raises(ConfigurationError, match="neither a port nor"):
        ServeOptions(grpc="/run/x.sock")


async def test_a_packed_request(running: Endpoint) -> None:
    options = [("grpc.default_compression_algorithm", grpc.Compression.Gzip.value)]
    async with grpc.aio.insecure_channel(
        running.url.removeprefix("http://"), compression=grpc.Compression.Gzip, options=options
    ) as channel:
        text = "a long text that packs well " * 2000
        assert len(gzip.compress(text.encode())) < 2000
        assert (await Stub(channel).ChatCompletion(chat("echo", text))).content == text + " "


async def test_what_nobody_answers(running: Endpoint) -> None:
    async with grpc.aio.insecure_channel(running.url.removeprefix("http://")) as channel:
        error = await failed(channel.unary_unary("/three_mode.v1.LLMService/Nothing")(b""))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        no_message = await failed(channel.unary_unary("/three_mode.v1.LLMService/ChatCompletion")(b"\xff\xff"))
        assert no_message.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_too_much_at_once_is_unavailable_with_a_wait() -> None:
    async with endpoint(max_in_flight=1) as found, stub(found.url) as calls:
        stream = calls.StreamingChat(chat("forever"))
        async for chunk in stream:
            if chunk.content:
                break
        error = await failed(calls.ChatCompletion(chat("echo")))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        details = dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
        kinds = [each.type_url.rpartition("/")[2] for each in status_pb2.Status.FromString(details).details]
        assert kinds == ["google.rpc.ErrorInfo", "google.rpc.RetryInfo", "three_mode.v1.ErrorDetail"]
        stream.cancel()

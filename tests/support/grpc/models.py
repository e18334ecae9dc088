"""An `LLMService` on grpcio, in a process of its own: `python -m tests.support.grpc.models aio|threads`.

The model's name says what it does: `echo`; `slow` (until it is cancelled); `words` (a chunk a word); `breaks`
(after two words); `fails:CODE`; `ours:KIND` (an error of ours, with its details); `wait` (RESOURCE_EXHAUSTED with
RetryInfo); `flaky:NAME` (twice an error, then an answer); `endless`; `empty` (3,000 pieces without text, then words);
`old` (chunks of the older schema). `metadata` answers with what came beside the request, `events` with what was seen.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc

from tests.support.grpc.peer import main
from three_mode import errors
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.grpc_messages.errors import write_error
from transports.grpc import GrpcError, GrpcStatus

events: list[str] = []
failures: dict[str, int] = {}


def answer(request: Any, context: Any) -> Any:
    """The whole answer, or the error to end with."""
    model, text = request.model, request.messages[-1].content
    if (error := refusal(model)) is not None:
        return error
    if model == "metadata":
        found = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        found["left"] = str(context.time_remaining())
        found["request"] = repr(request)
        text = json.dumps(found)
    if model == "events":
        text = json.dumps(events)
    usage = pb.Usage(input_tokens=3, output_tokens=5, cost="0.25")
    return pb.ChatResponse(content=text, model=model, tokens_used=8, usage=usage, request_id="there-1")


def refusal(model: str) -> GrpcError | None:
    kind, _, what = model.partition(":")
    if kind == "fails":
        return GrpcError(GrpcStatus[what], "it failed")
    if kind == "ours":
        fields: dict[str, Any] = {"retry_after": 0.25} if what == "RateLimit" else {}
        return write_error(getattr(errors, what)("it failed here", hint="do this", **fields))
    if kind == "wait":
        return write_error(errors.RateLimit("too fast", retry_after=0.25, status=429))
    if kind == "flaky":  # twice, then it answers
        failures[model] = failures.get(model, 0) + 1
        if failures[model] <= 2:
            return write_error(errors.ServerError("not yet"))
    return None


def chunks(request: Any) -> Iterator[Any]:
    model, text = request.model, request.messages[-1].content
    if model == "old":
        for word in text.split():
            yield pb.ChatChunk(content=word + " ", model="old", tokens_used=7)
        return
    yield pb.ChatChunk(model=model, start=pb.Start(provider="there", request_id="there-1"))
    if model == "empty":
        yield from [pb.ChatChunk()] * 3_000
    for number, word in enumerate(text.split() if model != "endless" else iter(lambda: "on", "")):
        yield pb.ChatChunk(content=word + " ")
        if model == "breaks" and number == 1:
            yield GrpcError(GrpcStatus.UNAVAILABLE, "the model left")
            return
        if model == "endless":
            yield None  # let others run
    yield pb.ChatChunk(usage=pb.Usage(input_tokens=3, output_tokens=5), tokens_used=8)
    yield pb.ChatChunk(finish=pb.Finish(reason="stop", latency=0.1))


def trailers(error: GrpcError) -> tuple[tuple[str, bytes], ...]:
    return (("grpc-status-details-bin", error.details),) if error.details else ()


def code(error: GrpcError) -> grpc.StatusCode:
    return next(each for each in grpc.StatusCode if each.value[0] == error.status)


class Aio:
    """Handlers of coroutines."""

    async def ChatCompletion(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.model == "slow":
            events.append("slow began")
            try:
                await asyncio.sleep(30)
            finally:
                events.append("slow ended")
        found = answer(request, context)
        if isinstance(found, GrpcError):
            await context.abort(code(found), found.message, trailers(found))
        return found

    async def StreamingChat(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        if (error := refusal(request.model)) is not None:
            await context.abort(code(error), error.message, trailers(error))
        try:
            if request.model == "slow":
                await asyncio.sleep(30)
            for chunk in chunks(request):
                if isinstance(chunk, GrpcError):
                    await context.abort(code(chunk), chunk.message, trailers(chunk))
                if chunk is None:
                    await asyncio.sleep(0.001)
                else:
                    yield chunk
        finally:
            events.append(f"{request.model} stream ended")

    async def Embed(self, request: Any, context: Any) -> Any:  # noqa: N802
        return vectors(request)

    async def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ListModelsResponse(models=[pb.Model(id="echo", owned_by="tests")])


class Threads:
    """The same for a server of threads."""

    def ChatCompletion(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.model == "slow":
            events.append("slow began")
            ended = threading.Event()
            context.add_callback(lambda: (events.append("slow ended"), ended.set()))
            ended.wait(30)
        found = answer(request, context)
        if isinstance(found, GrpcError):
            context.set_trailing_metadata(trailers(found))
            context.abort(code(found), found.message)
        return found

    def StreamingChat(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        context.add_callback(lambda: events.append(f"{request.model} stream ended"))
        if (error := refusal(request.model)) is not None:
            context.set_trailing_metadata(trailers(error))
            context.abort(code(error), error.message)
        ended = threading.Event()
        context.add_callback(ended.set)
        if request.model == "slow":
            ended.wait(30)
        for chunk in chunks(request):
            if isinstance(chunk, GrpcError):
                context.abort(code(chunk), chunk.message)
            if not context.is_active():
                return
            if chunk is None:
                time.sleep(0.001)
            else:
                yield chunk

    def Embed(self, request: Any, context: Any) -> Any:  # noqa: N802
        return vectors(request)

    def ListModels(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ListModelsResponse(models=[pb.Model(id="echo", owned_by="tests")])


def vectors(request: Any) -> Any:
    return pb.EmbedResponse(
        vectors=[pb.Vector(values=[len(text), 0.5]) for text in request.texts],
        model=request.model,
        usage=pb.Usage(input_tokens=2),
    )


def service(handlers: Any) -> Any:
    """The service of one of them."""
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    rpcs = {
        "ChatCompletion": (unary, pb.ChatRequest),
        "StreamingChat": (stream, pb.ChatRequest),
        "Embed": (unary, pb.EmbedRequest),
        "ListModels": (unary, pb.ListModelsRequest),
    }
    return grpc.method_handlers_generic_handler(
        "three_mode.v1.LLMService",
        {
            name: kind(
                getattr(handlers, name),
                request_deserializer=message.FromString,
                response_serializer=lambda found: found.SerializeToString(),
            )
            for name, (kind, message) in rpcs.items()
        },
    )


if __name__ == "__main__":
    main(service(Aio()), service(Threads()))

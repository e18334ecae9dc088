"""`LLMService`: answers of models, whole and streamed, vectors, and the list of models."""

import asyncio

from three_mode.errors import InvalidRequest, ThreeModeError
from three_mode.grpc_messages import convert
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.messages import Finish, LLMRequest, Usage
from three_mode.serve.asked_as import KnownAs
from three_mode.serve.chat import UNREAD, usage_of
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.surfaces.grpc.call import GrpcCall
from three_mode.serve.surfaces.grpc.methods import Method
from three_mode.serve.watching import Disconnected

READ_BESIDE = 200  # messages of a request that take milliseconds to read


class ModelService:
    """Answers calls of `LLMService`; `Converse` has a file of its own."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint

    def methods(self) -> dict[str, Method]:
        """Its methods by their names."""
        return {
            "ChatCompletion": Method(takes=pb.ChatRequest, unary=self._complete),
            "StreamingChat": Method(takes=pb.ChatRequest, streaming=self._stream),
            "Embed": Method(takes=pb.EmbedRequest, unary=self._embed),
            "ListModels": Method(takes=pb.ListModelsRequest, unary=self._models),
        }

    async def _complete(self, call: GrpcCall, message: pb.ChatRequest) -> pb.ChatResponse:
        backend = self._endpoint.told
        assert backend is not None
        request = await self._read(call, message)
        with KnownAs(self._endpoint.events, call.model), call.while_connected():
            response = await backend.chat_completion(request)
        self._endpoint.metrics.used(call.model, response.usage)
        return convert.write_response(response)

    async def _stream(self, call: GrpcCall, message: pb.ChatRequest) -> None:
        backend = self._endpoint.told
        assert backend is not None
        request = await self._read(call, message)
        write, used = convert.write_chunk, Usage()
        try:
            async with asyncio.timeout(call.left() + UNREAD):
                with KnownAs(self._endpoint.events, call.model), call.while_connected():
                    async with backend.stream(request) as chunks:
                        async for chunk in chunks:
                            await call.write(write(chunk).SerializeToString())
                            used = usage_of(chunk, used)
                            if type(chunk) is Finish:
                                break
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            raise Disconnected("the client did not read its answer") from None
        self._endpoint.metrics.used(call.model, used)

    async def _embed(self, call: GrpcCall, message: pb.EmbedRequest) -> pb.EmbedResponse:
        check_model(call, message.model)
        message.within = shorter(call, message)
        request = convert.read_embed_request(message)
        with call.while_connected():
            embedded = await self._endpoint.embed(request)
        self._endpoint.metrics.used(call.model, embedded.usage)
        return convert.write_embedded(embedded)

    async def _models(self, call: GrpcCall, message: pb.ListModelsRequest) -> pb.ListModelsResponse:
        known = await self._endpoint.models()
        return pb.ListModelsResponse(models=[pb.Model(id=model.id, owned_by=model.owned_by) for model in known])

    async def _read(self, call: GrpcCall, message: pb.ChatRequest) -> LLMRequest:
        """A request of very many messages is read beside the loop, so that others are answered meanwhile."""
        check_model(call, message.model)
        count, most = len(message.messages), self._endpoint.options.max_messages
        if count > most:
            raise InvalidRequest(f"at most {most} messages a request, not {count}", field="messages")
        message.within = shorter(call, message)
        if count < READ_BESIDE:
            return convert.read_request(message)
        return await asyncio.to_thread(convert.read_request, message)


def check_model(call: GrpcCall, model: str) -> None:
    """Notes the model of a call; one that names none is refused."""
    if not model.strip():
        raise InvalidRequest("the request names no model", field="model", hint="ListModels lists them")
    call.model = model


def shorter(call: GrpcCall, message: pb.ChatRequest | pb.EmbedRequest) -> float:
    """What remains of the call, or less where the request says so; what is no time is left for its reader to refuse."""
    left = call.left()
    if not message.HasField("within"):
        return left
    return left if message.within > left else message.within

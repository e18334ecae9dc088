"""`A2AService`: agents of A2A by its third binding. The field `tenant`, which cards name, says which agent is asked."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from three_mode.a2a import rpc
from three_mode.a2a.faults import A2AFault, invalid
from three_mode.a2a.protobuf import MESSAGES, read, write, write_fault
from three_mode.a2a.values import (
    VERSION_HEADER,
    ListTasksRequest,
    SendMessageRequest,
    StreamResponse,
    TaskRequest,
    Value,
)
from three_mode.grpc_messages import a2a_pb2 as pb
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.surfaces.a2a.desk import TaskCall, TaskDesk, check_offered, check_version
from three_mode.serve.surfaces.grpc.call import GrpcCall
from three_mode.serve.surfaces.grpc.methods import Method
from three_mode.serve.watching import Watched
from transports.grpc import GrpcError, GrpcStatus

READ_BESIDE = 1 << 17  # bytes of a message that take milliseconds to read
# Methods that are refused by their name, and the message of each.
_REFUSED = {
    "CreateTaskPushNotificationConfig": pb.TaskPushNotificationConfig,
    "GetTaskPushNotificationConfig": pb.GetTaskPushNotificationConfigRequest,
    "ListTaskPushNotificationConfigs": pb.ListTaskPushNotificationConfigsRequest,
    "DeleteTaskPushNotificationConfig": pb.DeleteTaskPushNotificationConfigRequest,
    rpc.EXTENDED_CARD: pb.GetExtendedAgentCardRequest,
}
Answer = Callable[[GrpcCall, TaskCall, Any], Awaitable[Any]]


class EventMessages:
    """The events of one stream as messages of a call, which needs no sign of life: HTTP/2 has its own."""

    def __init__(self, call: GrpcCall) -> None:
        self._call = call

    async def begin(self) -> None:
        """The head goes with the first message."""

    async def write(self, event: StreamResponse) -> None:
        await self._call.write(write(event, pb.StreamResponse()).SerializeToString())

    async def still_here(self) -> None: ...

    async def end(self) -> None:
        await self._call.end()

    def while_connected(self) -> Watched:
        return self._call.while_connected()


class A2AService:
    """Answers calls of `A2AService`, with the tasks that the endpoint has for the other bindings too."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint
        self._desk = endpoint.shared(TaskDesk)

    def methods(self) -> dict[str, Method]:
        """Its methods by their names."""
        return {
            rpc.SEND: self._unary(rpc.SEND, self._send),
            rpc.STREAM: self._streaming(rpc.STREAM, self._stream),
            rpc.GET: self._unary(rpc.GET, self._get),
            rpc.LIST: self._unary(rpc.LIST, self._list),
            rpc.CANCEL: self._unary(rpc.CANCEL, self._cancel),
            rpc.SUBSCRIBE: self._streaming(rpc.SUBSCRIBE, self._subscribe),
            **{name: Method(takes=message, unary=self._refusing(name)) for name, message in _REFUSED.items()},
        }

    async def _send(self, call: GrpcCall, asked: TaskCall, parameters: SendMessageRequest) -> Value:
        return await self._desk.send(asked, parameters, call.while_connected())

    async def _stream(self, call: GrpcCall, asked: TaskCall, parameters: SendMessageRequest) -> None:
        await self._desk.stream(asked, parameters, EventMessages(call))

    async def _get(self, call: GrpcCall, asked: TaskCall, parameters: TaskRequest) -> Value:
        return self._desk.get(asked, parameters)

    async def _list(self, call: GrpcCall, asked: TaskCall, parameters: ListTasksRequest) -> Any:
        return self._desk.page(asked, parameters)

    async def _cancel(self, call: GrpcCall, asked: TaskCall, parameters: TaskRequest) -> Value:
        return await self._desk.cancel(asked, parameters)

    async def _subscribe(self, call: GrpcCall, asked: TaskCall, parameters: TaskRequest) -> None:
        await self._desk.subscribe(asked, parameters, EventMessages(call))

    # what all of them have in common ----------------------------------------------------------------------------------
    def _unary(self, name: str, answer: Answer) -> Method:
        takes, gives = MESSAGES[name]

        async def one(call: GrpcCall, message: Any) -> Any:
            try:
                asked, parameters = await self._read(call, name, message)
                return write(await answer(call, asked, parameters), gives())
            except A2AFault as refused:
                raise write_fault(refused) from None

        return Method(takes=takes, unary=one)

    def _streaming(self, name: str, answer: Answer) -> Method:
        async def many(call: GrpcCall, message: Any) -> None:
            try:
                await answer(call, *await self._read(call, name, message))
            except A2AFault as refused:
                raise write_fault(refused) from None

        return Method(takes=MESSAGES[name][0], streaming=many)

    def _refusing(self, name: str) -> Callable[[GrpcCall, Any], Awaitable[Any]]:
        async def refuse(call: GrpcCall, message: Any) -> Any:
            try:
                check_version(call.header(VERSION_HEADER.encode()) or "")
                check_offered(name)
            except A2AFault as refused:
                raise write_fault(refused) from None

        return refuse

    async def _read(self, call: GrpcCall, name: str, message: Any) -> tuple[TaskCall, Any]:
        """Who is asked, and for what."""
        check_version(call.header(VERSION_HEADER.encode()) or "")
        if message.tenant:
            said, offered = "there is no such agent", await self._desk.offers.find(message.tenant)
        else:
            said, offered = await self._desk.default()
        if offered is None:
            hint = "the field tenant names the agent, as its card says; GET /a2a lists the agents"
            raise GrpcError(GrpcStatus.NOT_FOUND, f"{said}; {hint}")
        call.model = offered.name
        kind = rpc.PARAMETERS[name]
        try:
            if message.ByteSize() < READ_BESIDE:
                parameters = read(message, kind)
            else:
                parameters = await asyncio.to_thread(read, message, kind)
        except (msgspec.ValidationError, ValueError, OverflowError, RecursionError) as error:
            raise invalid(error) from None
        return TaskCall(call.header, offered, call.left()), parameters

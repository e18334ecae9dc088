"""`AgentService`: the agents of the endpoint's bus, for programs in any language."""

import asyncio
import re
from typing import Any

import msgspec

from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.model import Model
from three_mode.errors import BadCall, BadResult, DeadlineExceeded, ModeUnavailable, ThreeModeError
from three_mode.grpc_messages import agents_pb2 as pb
from three_mode.modes import CommunicationMode
from three_mode.serve.backend import AgentVerbs
from three_mode.serve.chat import UNREAD
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.model_rule import ModelRule
from three_mode.serve.surfaces.grpc.call import GrpcCall
from three_mode.serve.surfaces.grpc.methods import Method
from three_mode.serve.watching import Disconnected

SERVICE = "three_mode.v1.AgentService"
SETTLED_WITHIN = 1.0
# An agent, or a role. Hosts and the orchestrator have other names on the bus, and are nobody's to call.
_AGENT = re.compile(r"[^/@:\s]+/\d+")
_ROLE = re.compile(r"(?:any:)?([^/@:\s]+)")


class AgentService:
    """Answers calls of `AgentService`."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint

    def methods(self) -> dict[str, Method]:
        """Its methods by their names."""
        return {
            "Ask": Method(takes=pb.AskRequest, unary=self._ask),
            "Stream": Method(takes=pb.AskRequest, streaming=self._stream),
            "Tell": Method(takes=pb.AskRequest, unary=self._tell),
            "Broadcast": Method(takes=pb.BroadcastRequest, unary=self._broadcast),
        }

    async def _ask(self, call: GrpcCall, message: pb.AskRequest) -> pb.AskReply:
        agent, (args, kwargs) = self._agent(message), self._arguments(message)
        with call.while_connected():
            result = await agent.ask(message.handler, *args, within=_within(call, message), **kwargs)
        return pb.AskReply(value=write_value(result, message.arguments, message))

    async def _stream(self, call: GrpcCall, message: pb.AskRequest) -> None:
        agent, (args, kwargs) = self._agent(message), self._arguments(message)
        within = _within(call, message)
        try:
            async with asyncio.timeout(within + UNREAD):
                with call.while_connected():
                    async with agent.stream(message.handler, *args, within=within, **kwargs) as parts:
                        async for part in parts:
                            reply = pb.AskReply(value=write_value(part, message.arguments, message))
                            await call.write(reply.SerializeToString())
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            raise Disconnected("the client did not read its answer") from None

    async def _tell(self, call: GrpcCall, message: pb.AskRequest) -> pb.TellReply:
        agent, (args, kwargs) = self._agent(message), self._arguments(message)
        try:
            async with asyncio.timeout(call.left()):
                await agent.tell(message.handler, *args, **kwargs)
        except TimeoutError as error:
            if isinstance(error, ThreeModeError):
                raise
            raise DeadlineExceeded("the carrier did not take the message in time", stage="write") from None
        return pb.TellReply()

    async def _broadcast(self, call: GrpcCall, message: pb.BroadcastRequest) -> pb.BroadcastReply:
        item = read_value(message.item, "item")
        receipt = self._verbs().broadcast(message.topic, item)
        wanted = message.within if message.HasField("within") else SETTLED_WITHIN
        if not 0 <= wanted < float("inf"):
            raise BadCall(f"within is a number of seconds, not {wanted}", argument="within")
        with call.while_connected():
            seen = await receipt.settled(min(wanted, call.left()))
        return pb.BroadcastReply(seen=seen.seen, lagging=seen.lagging, lost=seen.lost, dead=seen.dead)

    def _arguments(self, message: pb.AskRequest) -> tuple[list[Any], dict[str, Any]]:
        """The arguments. A request to a model names no file and no address here either: an agent may pass it on to its
        own connection, which would open them."""
        args, kwargs = read_arguments(message)
        if message.handler in specs_of(Model):
            rule = ModelRule(any_local=self._endpoint.options.any_local_model)
            for value in (*args, *kwargs.values()):
                if isinstance(value, dict):
                    model, provider, mode = (value.get(name) for name in ("model", "provider", "mode"))
                    here = CommunicationMode.AI_PC if str(mode).lower() == CommunicationMode.AI_PC else None
                    rule.check(str(model or ""), str(provider or ""), here)
        return args, kwargs

    def _verbs(self) -> AgentVerbs:
        verbs = self._endpoint.agents
        if verbs is None:
            raise ModeUnavailable("this endpoint is on no bus", hint="three-mode serve --bus NAME")
        return verbs

    def _agent(self, message: pb.AskRequest) -> Any:
        verbs, name = self._verbs(), message.agent
        if not message.handler:
            raise BadCall("the call names no handler", hint="its name, such as 'score'", argument="handler")
        if _AGENT.fullmatch(name):
            return verbs.ref(name)
        role = _ROLE.fullmatch(name)
        if role is None:
            raise BadCall(f"{name[:100]!r} names no agent", hint="'scout/7', or 'any:scout'", argument="agent")
        return verbs.any(role[1])


def _within(call: GrpcCall, message: pb.AskRequest) -> float:
    left = call.left()
    if not message.HasField("within"):
        return left
    if not 0 < message.within < float("inf"):
        raise BadCall(f"within is a number of seconds above 0, not {message.within}", argument="within")
    return min(left, message.within)


def read_arguments(message: pb.AskRequest) -> tuple[list[Any], dict[str, Any]]:
    """The arguments by position, or by name."""
    if not message.HasField("arguments"):
        return [], {}
    found = read_value(message.arguments, "arguments")
    if found is None:
        return [], {}
    if isinstance(found, list):
        return found, {}
    if isinstance(found, dict) and all(isinstance(name, str) for name in found):
        if "within" in found:
            raise BadCall("within is no argument of a handler: it is a field of the call", argument="within")
        return [], found
    raise BadCall(
        "arguments are an object (by name) or an array (by position)",
        hint='for example {"text": "hello"}',
        argument="arguments",
    )


def read_value(value: pb.Value, name: str) -> Any:
    """The value, from JSON or msgpack; None for one that says nothing."""
    form = value.WhichOneof("form")
    try:
        if form == "json":
            return msgspec.json.decode(value.json)
        return msgspec.msgpack.decode(value.msgpack) if form == "msgpack" else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadCall(f"{name} cannot be read as {form}: {error}", argument=name) from None


def write_value(value: Any, like: pb.Value, message: pb.AskRequest) -> pb.Value:
    """A result in the form that the arguments have; JSON where there are none."""
    try:
        if like.WhichOneof("form") == "msgpack":
            return pb.Value(msgpack=msgspec.msgpack.encode(value))
        return pb.Value(json=msgspec.json.encode(value).decode())
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise BadResult(
            f"{message.agent}.{message.handler} answered what cannot be sent: {error}",
            agent=message.agent,
            handler=message.handler,
        ) from None

"""Messages to an actor: the interface `Incoming`, a request from the bus, and a broadcast that had to wait."""

import math
from collections.abc import Callable
from typing import Any, Protocol

from three_mode.agents.handlers.codec import encode
from three_mode.agents.handlers.declare import Spec
from three_mode.agents.runtime.unsettled import Unsettled
from three_mode.agents.wire import errors as wire_errors
from three_mode.errors import BadCall, BadResult, ThreeModeError
from transports.bus import CallCancelled, Encoded, NotEncodable, ReplyStream, Request, TooLarge

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
_NO_KWARGS: dict[str, Any] = {}


class Parts(Protocol):
    """Outgoing parts of a streamed reply."""

    async def send(self, part: Any) -> None:
        """Send a part once its consumer has room for it."""
        ...

    def at_once(self, part: Any) -> bool:
        """Send a part from another thread, while the loop's thread sends none; False: the loop has to send it."""
        ...


class Incoming(Protocol):
    """Interface of one message to one agent, and of the answer to its sender."""

    @property
    def trace(self) -> str: ...
    @property
    def deadline(self) -> float: ...
    @property
    def streams(self) -> bool:
        """Whether the sender asked for a streamed reply."""
        ...

    @property
    def answered(self) -> bool: ...
    @property
    def sender(self) -> str: ...
    @property
    def raw(self) -> bytes: ...
    @property
    def tells(self) -> bool:
        """Whether nobody waits for an answer."""
        ...

    def arguments(self, agent: str, spec: Spec) -> Arguments: ...
    def answer(self, result: Any) -> None: ...
    def refuse(self, error: ThreeModeError) -> None: ...
    def abandoned(self) -> None:
        """Close the request without an answer: its caller has left."""
        ...

    def raised(self, agent: str) -> None:
        """Note that the handler raised, where nobody waits for an answer: receipts ask for that."""
        ...

    def on_cancel(self, callback: Callable[[str], None]) -> None: ...
    def open_parts(self) -> Parts: ...


class FromBus(Request, eq=False):
    """Request that came over the bus, made by the bus itself in this class: one object a message, not two."""

    @property
    def answered(self) -> bool:
        return self.done and not self.tells

    def arguments(self, agent: str, spec: Spec) -> Arguments:
        raw, schema = self.message.raw, spec.schema
        if schema.all_by_order and raw[:1] == schema.as_array:
            try:
                return schema.by_order(raw), _NO_KWARGS
            except Exception:  # noqa: BLE001, S110  # decode_call below finds the argument and names it
                pass
        return schema.decode_call(agent, spec.name, raw)

    def answer(self, result: Any) -> None:
        if self.done:
            return
        if self.streams:
            if self.stream is not None:
                self.stream.end()
            self.done = True
            return
        try:
            self.reply(Encoded(encode(result)))
        except TooLarge as error:
            raise BadResult(f"the result of {self.topic} is too large: {error}", agent=self.to) from None
        except CallCancelled:
            pass  # the caller cancelled at this moment

    def refuse(self, error: ThreeModeError) -> None:
        if self.done:
            return
        try:
            self.fail(*wire_errors.to_wire(error))
        except CallCancelled:
            pass
        except (NotEncodable, TooLarge) as reason:  # a field of the error cannot travel
            self.fail(wire_errors.REMOTE, f"{error.message} ({reason})", None)

    def abandoned(self) -> None:
        self.done = True

    def raised(self, agent: str) -> None:
        """Do nothing: a told message has no receipt."""

    def on_cancel(self, callback: Callable[[str], None]) -> None:
        if not self.tells:
            super().on_cancel(callback)

    def open_parts(self) -> Parts:
        return _EncodedParts(self.open_stream(), self)


class _EncodedParts:
    __slots__ = ("_out", "_request")

    def __init__(self, out: ReplyStream, request: Request) -> None:
        self._out, self._request = out, request

    async def send(self, part: Any) -> None:
        try:
            payload = Encoded(encode(part))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise wire_errors.of_result(part, error, self._request.to, self._request.topic) from None
        if not self._out.try_send(payload):
            await self._out.send(payload)

    def at_once(self, part: Any) -> bool:
        return self._out.at_once(encode(part))


class QueuedBroadcast:
    """Broadcast that an agent could not begin with at once."""

    __slots__ = ("_done", "_key", "_unsettled", "_value", "answered", "raw", "sender", "trace")
    deadline = math.inf
    streams = False
    tells = True

    def __init__(self, value: Any, message: Any, agent: str, unsettled: Unsettled) -> None:
        self._value, self._unsettled, self._key = value, unsettled, (message.member, message.seq)
        self._done = unsettled.put_aside(message.member, message.seq, agent)
        self.raw, self.sender, self.trace = message.raw, message.sender, message.trace
        self.answered = False

    def arguments(self, agent: str, spec: Spec) -> Arguments:
        self._settle(True)  # the agent has begun: receipts ask for that
        return (self._value,), {}

    def answer(self, result: Any) -> None:
        self.answered = True

    def refuse(self, error: ThreeModeError) -> None:
        self._settle(False)
        self.answered = True

    def abandoned(self) -> None:
        self.answered = True

    def raised(self, agent: str) -> None:
        self._unsettled.raised(*self._key, agent)

    def _settle(self, begun: bool) -> None:
        if not self.answered:
            done, self._done = self._done, _nothing
            done(begun)

    def on_cancel(self, callback: Callable[[str], None]) -> None:
        """Do nothing: a broadcast cannot be cancelled."""

    def open_parts(self) -> Parts:
        raise TypeError("a broadcast has no reply")


def _nothing(begun: bool) -> None:
    pass


def wrong_verb(agent: str, spec: Spec) -> BadCall:
    """Return the error for `ask` or `tell` of a streamed reply, or `stream` of a plain one."""
    return BadCall(
        f"{agent}.{spec.name} {'streams its reply' if spec.streams else 'gives one answer'}",
        hint=f"use {'stream' if spec.streams else 'ask or tell'}",
        agent=agent,
        handler=spec.name,
    )

"""How one request over HTTP is answered, in each of the two bindings: results, events and refusals."""

from typing import Any, Protocol

import msgspec

from three_mode.a2a import rpc
from three_mode.a2a.faults import INTERNAL, INVALID_REQUEST, A2AFault
from three_mode.a2a.values import MEDIA_TYPE, StreamResponse
from three_mode.serve.asgi import EVENTS, AsgiExchange
from three_mode.serve.faults import EndpointFault
from three_mode.serve.watching import Watched

_CANONICAL = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Binding(Protocol):
    """Writes what goes out."""

    media_type: bytes

    def result(self, value: Any) -> bytes:
        """The body of an answer."""
        ...

    def event(self, value: Any) -> bytes:
        """One server-sent event."""
        ...

    def status(self, fault: A2AFault) -> int: ...

    def refusal(self, fault: A2AFault) -> bytes:
        """The body of a refusal."""
        ...

    def refused(self, fault: EndpointFault) -> EndpointFault:
        """A refusal of the endpoint itself, in the shape of the binding."""
        ...


class RpcBinding:
    """JSON-RPC: each answer repeats the id of its request, and has the status 200."""

    media_type = b"application/json"

    def __init__(self) -> None:
        self.id: rpc.Identifier = None  # of the request, once it is read

    def result(self, value: Any) -> bytes:
        return rpc.result(self.id, value)

    def event(self, value: Any) -> bytes:
        return b"data: %b\n\n" % rpc.result(self.id, value)

    def status(self, fault: A2AFault) -> int:
        return 200

    def refusal(self, fault: A2AFault) -> bytes:
        return rpc.refusal(self.id, fault)

    def refused(self, fault: EndpointFault) -> EndpointFault:
        """With the status that other programs on the way know it by."""
        return EndpointFault(fault.status, rpc.refusal(self.id, _as_a2a(fault)), fault.retry_after)


class HttpBinding:
    """HTTP+JSON: values as they are, and errors with their status."""

    media_type = MEDIA_TYPE.encode()

    def result(self, value: Any) -> bytes:
        return msgspec.json.encode(value)

    def event(self, value: Any) -> bytes:
        return b"data: %b\n\n" % msgspec.json.encode(value)

    def status(self, fault: A2AFault) -> int:
        return fault.kind.status

    def refusal(self, fault: A2AFault) -> bytes:
        return fault.as_http()

    def refused(self, fault: EndpointFault) -> EndpointFault:
        return EndpointFault(fault.status, _as_a2a(fault).as_http(), fault.retry_after)


class EventLines:
    """The events of one stream as server-sent events."""

    def __init__(self, exchange: AsgiExchange, binding: Binding) -> None:
        self._exchange, self._binding = exchange, binding

    async def begin(self) -> None:
        await self._exchange.begin(EVENTS)

    async def write(self, event: StreamResponse) -> None:
        await self._exchange.write(self._binding.event(event))

    async def still_here(self) -> None:
        """A comment, which clients leave out."""
        await self._exchange.write(b": \n\n")

    async def end(self) -> None:
        await self._exchange.end()

    def while_connected(self) -> Watched:
        return self._exchange.while_connected()


def _as_a2a(fault: EndpointFault) -> A2AFault:
    """The endpoint's own refusal in the protocol's terms: its code is the reason."""
    error, whose_fault = msgspec.json.decode(fault.body)["error"], INTERNAL if fault.status >= 500 else INVALID_REQUEST
    kind = msgspec.structs.replace(
        whose_fault,
        status=fault.status,
        canonical=_CANONICAL.get(fault.status, whose_fault.canonical),
        reason=str(error["code"]).upper(),
    )
    return A2AFault(kind, str(error["message"]))

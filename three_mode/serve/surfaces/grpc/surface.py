"""Calls of gRPC: who may call, what there is room for, how long it may take, and how it ends."""

import asyncio
import logging
import time
import uuid
from http import HTTPStatus

import msgspec
from google.protobuf.message import DecodeError

from three_mode import errors
from three_mode.a2a.protobuf import SERVICE as A2A
from three_mode.callers_trace import callers_trace
from three_mode.errors import DeadlineExceeded, ThreeModeError
from three_mode.grpc_messages.errors import write_error
from three_mode.serve import guard
from three_mode.serve.access_log import SEEN, SeenRequest
from three_mode.serve.asgi import Refused, Scope, Send
from three_mode.serve.endpoint import EndpointState, going_down, overloaded
from three_mode.serve.faults import EndpointFault
from three_mode.serve.surfaces.grpc.a2a import A2AService
from three_mode.serve.surfaces.grpc.agents import SERVICE as AGENTS
from three_mode.serve.surfaces.grpc.agents import AgentService
from three_mode.serve.surfaces.grpc.call import GrpcCall
from three_mode.serve.surfaces.grpc.converse import Converse
from three_mode.serve.surfaces.grpc.health import SERVICE as HEALTH
from three_mode.serve.surfaces.grpc.health import HealthService
from three_mode.serve.surfaces.grpc.methods import Method, Methods, paths
from three_mode.serve.surfaces.grpc.models import ModelService
from three_mode.serve.surfaces.grpc.reflection import OLDER, ReflectionService
from three_mode.serve.surfaces.grpc.reflection import SERVICE as REFLECTION
from three_mode.serve.watching import CutShort, Disconnected, Receive
from transports.grpc import GrpcError, GrpcStatus, is_grpc, read_timeout

log = logging.getLogger("three_mode.serve")
MODELS = "three_mode.v1.LLMService"
PLAIN_MODELS = "LLMService"  # as clients of the older schema call it, which has no package
# What the endpoint's own refusals are for a client: an error of the tree, and the code of gRPC.
_REFUSED: dict[int, tuple[type[ThreeModeError], GrpcStatus]] = {
    401: (errors.AuthenticationError, GrpcStatus.UNAUTHENTICATED),
    403: (errors.PermissionDenied, GrpcStatus.PERMISSION_DENIED),
    503: (errors.Overloaded, GrpcStatus.UNAVAILABLE),
}
GONE = 499  # in the counters, of a client that left


def all_methods(endpoint: EndpointState) -> Methods:
    """Every method that the endpoint answers, by its path."""

    async def converse(call: GrpcCall) -> None:
        await Converse(endpoint, call).run()

    models = ModelService(endpoint).methods() | {"Converse": Method(both=converse)}
    services = frozenset({MODELS, AGENTS, A2A, HEALTH})
    reflection = ReflectionService(services).methods()
    return {
        **paths(MODELS, models),
        **paths(PLAIN_MODELS, models),
        **paths(AGENTS, AgentService(endpoint).methods()),
        **paths(A2A, A2AService(endpoint).methods()),
        **paths(HEALTH, HealthService(endpoint, services | {PLAIN_MODELS}).methods()),
        **paths(REFLECTION, reflection),
        **paths(OLDER, reflection),
    }


class GrpcSurface:
    """Answers the calls of one endpoint; part of an ASGI application."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint
        self._methods = all_methods(endpoint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoint
        started = time.perf_counter()
        task = endpoint.begin()
        call = GrpcCall(scope, receive, send, endpoint.watch, endpoint.options.max_body)
        await call.begin()
        try:
            trace = call.header(b"traceparent")
            if trace is None:
                await self._answer(call, scope)
            else:
                with callers_trace(trace, call.header(b"tracestate")):
                    await self._answer(call, scope)
            await call.end()
        except (GrpcError, ThreeModeError) as error:
            await call.fail(error)
        except Refused as refused:
            await call.fail(_of_fault(refused.fault))
        except DecodeError:
            await call.fail(errors.InvalidRequest("the message is none of this method's", hint="see proto/three_mode"))
        except CutShort:
            await call.fail(_of_fault(overloaded("too many bytes of requests are being read")))
        except TimeoutError:
            await call.fail(DeadlineExceeded(f"not all of the call has come within {call.within:g} s"))
        except Disconnected:
            pass
        except asyncio.CancelledError:
            if not endpoint.cut:
                raise  # the server closes the stream, which the client sees
            await call.fail(_of_fault(going_down()))
        except Exception:
            number = uuid.uuid4().hex[:12]
            log.exception("call %s failed", number)
            await call.fail(GrpcError(GrpcStatus.INTERNAL, f"an unforeseen error; it is logged as {number}"))
        finally:
            endpoint.end(task)
            route = call.path if call.path in self._methods else "other"
            status = GONE if call.status is None else int(call.status)
            model = "other" if status else call.model  # one that failed may be any text
            endpoint.metrics.finished(route, model, status, time.perf_counter() - started)
            seen: SeenRequest | None = scope.get(SEEN)
            if seen is not None:
                ended = call.status
                seen.ended(GONE if ended is None else 200, call.model, None if ended is None else ended.name)

    async def _answer(self, call: GrpcCall, scope: Scope) -> None:
        endpoint = self._endpoint
        method = self._methods.get(call.path)
        if method is None or scope["method"] != "POST":
            raise GrpcError(GrpcStatus.UNIMPLEMENTED, f"no method {call.path[:200]}; reflection lists what there is")
        kind = call.value(b"content-type") or b""
        if not is_grpc(kind):
            raise GrpcError(GrpcStatus.UNIMPLEMENTED, "messages are read as protobuf only: application/grpc")
        self._give_time(call, method)
        if not method.always:
            refused = guard.refusal(endpoint.options, call.header)
            if refused is not None:
                raise Refused(refused)
            endpoint.admit()
        if method.both is not None:
            await method.both(call)
            return
        data = await call.whole(endpoint.bodies)
        message = method.takes.FromString(data)
        if method.always:
            await self._one(call, method, message)
            return
        endpoint.admit(len(data))
        endpoint.hold(len(data))
        try:
            await self._one(call, method, message)
        finally:
            endpoint.release(len(data))

    @staticmethod
    async def _one(call: GrpcCall, method: Method, message: object) -> None:
        if method.unary is not None:
            reply = await method.unary(call, message)
            await call.write(reply.SerializeToString())
        else:
            assert method.streaming is not None
            await method.streaming(call, message)

    def _give_time(self, call: GrpcCall, method: Method) -> None:
        """The caller's deadline, or ours. A conversation and a watch last as long as their client likes, at most as
        long as a caller may say."""
        options = self._endpoint.options
        given = call.value(b"grpc-timeout")
        if given is not None:
            call.lasts(min(max(read_timeout(given), 1e-6), options.longest_within))
        else:
            endless = method.both is not None or (method.always and method.streaming is not None)
            call.lasts(options.longest_within if endless else options.default_within)


def _of_fault(refused: EndpointFault) -> GrpcError:
    """A refusal of the endpoint's own, which is written as HTTP says it."""
    said = msgspec.json.decode(refused.body)["error"]
    found = _REFUSED.get(refused.status)
    if found is None:
        phrase = HTTPStatus(refused.status).phrase
        return GrpcError(GrpcStatus.INTERNAL, f"{phrase}: {said['message']}")
    kind, status = found
    wait = None if refused.retry_after is None else float(refused.retry_after)
    error = kind(said["message"], retryable=status is GrpcStatus.UNAVAILABLE, retry_after=wait)
    return write_error(error, status=status)

"""`grpc.health.v1`: whether the endpoint takes calls, for probes and load balancers. Answered without a key."""

import asyncio

from three_mode.errors import DeadlineExceeded
from three_mode.grpc_messages import health_pb2 as pb
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.surfaces.grpc.call import GrpcCall
from three_mode.serve.surfaces.grpc.methods import Method
from transports.grpc import GrpcError, GrpcStatus

SERVICE = "grpc.health.v1.Health"
Answer = pb.HealthCheckResponse


class HealthService:
    """Answers for the endpoint as a whole, "", and for each of its services."""

    def __init__(self, endpoint: EndpointState, services: frozenset[str]) -> None:
        self._endpoint, self._services = endpoint, services | {""}

    def methods(self) -> dict[str, Method]:
        """Its methods by their names."""
        return {
            "Check": Method(takes=pb.HealthCheckRequest, unary=self._check, always=True),
            "Watch": Method(takes=pb.HealthCheckRequest, streaming=self._watch, always=True),
        }

    async def _check(self, call: GrpcCall, message: pb.HealthCheckRequest) -> pb.HealthCheckResponse:
        if message.service not in self._services:
            raise GrpcError(GrpcStatus.NOT_FOUND, f"no service {message.service[:100]!r}")
        return self._now()

    def _now(self) -> pb.HealthCheckResponse:
        well = self._endpoint.backend is not None and not self._endpoint.draining
        return Answer(status=Answer.SERVING if well else Answer.NOT_SERVING)

    async def _watch(self, call: GrpcCall, message: pb.HealthCheckRequest) -> None:
        """Says what is, and then that the endpoint goes down, with which the call ends. A service that is not known
        will not be either."""
        drains = asyncio.Event()
        self._endpoint.at_drain.add(drains.set)
        try:
            known = message.service in self._services
            said = self._now() if known else Answer(status=Answer.SERVICE_UNKNOWN)
            await call.write(said.SerializeToString())
            if not self._endpoint.draining:
                try:
                    async with asyncio.timeout(call.left()):
                        with call.while_connected():
                            await drains.wait()
                except TimeoutError:
                    raise DeadlineExceeded(f"nothing has changed within {call.within:g} s; watch again") from None
            if known and said.status == Answer.SERVING:
                await call.write(self._now().SerializeToString())
        finally:
            self._endpoint.at_drain.discard(drains.set)

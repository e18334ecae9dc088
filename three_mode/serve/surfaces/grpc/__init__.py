"""gRPC: models, agents, health and reflection, for programs in any language. See docs/grpc.md."""

from collections.abc import Awaitable, Callable

from three_mode.serve.asgi import Scope, Send
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.watching import Receive


def grpc_surface(endpoint: EndpointState) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """The surface of an endpoint. It is imported when first asked for; MissingExtra where protobuf is not installed."""
    from three_mode.serve.surfaces.grpc.surface import GrpcSurface

    return GrpcSurface(endpoint)

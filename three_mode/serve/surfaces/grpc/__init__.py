"""gRPC: models, agents, health and reflection, for programs in any language. See docs/grpc.md."""

from three_mode.serve.endpoint import EndpointState
from three_mode.serve.surfaces import Surface


def grpc_surface(endpoint: EndpointState) -> Surface:
    """The surface of an endpoint. It is imported when first asked for; MissingExtra where protobuf is not installed."""
    from three_mode.serve.surfaces.grpc.surface import GrpcSurface

    return GrpcSurface(endpoint)

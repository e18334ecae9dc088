"""Surfaces of the endpoint: protocols in which clients speak to what it hands out. Each is a folder of its own."""

from three_mode.serve.asgi import Scope, Send
from transports.grpc import GrpcStatus, write_message

GRPC = b"application/grpc"
# Services, of which a request in another protocol is told that it speaks the wrong one.
_SERVICES = ("/three_mode.v1.", "/LLMService/", "/lf.a2a.v1.", "/grpc.health.v1.", "/grpc.reflection.")


def speaks_grpc(scope: Scope) -> bool:
    """Whether a request is a call of gRPC, in whatever encoding of its messages."""
    for name, value in scope["headers"]:
        if name == b"content-type":
            return bool(value.startswith(GRPC)) and not value.startswith(b"application/grpc-web")
    return False


def names_grpc(path: str) -> bool:
    """Whether a path is one of gRPC's services."""
    return path.startswith(_SERVICES)


async def refuse_grpc(send: Send, why: str) -> None:
    """Answers a call where gRPC cannot be spoken: with its status in the head, as the protocol allows."""
    said = [
        (b"content-type", b"application/grpc"),
        (b"grpc-status", b"%d" % GrpcStatus.UNIMPLEMENTED),
        (b"grpc-message", write_message(why)),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": said})
    await send({"type": "http.response.body", "body": b""})

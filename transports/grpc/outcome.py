"""How a call ended, out of headers and trailers: nothing, or the error that the server sent.

`GrpcError` is what the server said. What broke on the way to it, or is no gRPC, is an error of `transports.http2`.
"""

from collections.abc import Iterable

from transports.grpc.framing import is_grpc
from transports.grpc.metadata import read_binary, read_message
from transports.grpc.status import GrpcError, GrpcStatus, status_of_http
from transports.http2 import PeerMisbehaved, StreamReset

Fields = Iterable[tuple[bytes, bytes]]
OK_TRAILER = (b"grpc-status", b"0")

# Codes of RST_STREAM, as the protocol maps them.
_OF_RESET = {
    0x7: GrpcStatus.UNAVAILABLE,  # REFUSED_STREAM
    0x8: GrpcStatus.CANCELLED,
    0xB: GrpcStatus.RESOURCE_EXHAUSTED,  # ENHANCE_YOUR_CALM
    0xC: GrpcStatus.PERMISSION_DENIED,  # INADEQUATE_SECURITY
}


class NotGrpc(PeerMisbehaved):
    """The server answers, and not in gRPC."""


def check_head(status: int, headers: Fields) -> bytes:
    """Raises what the head of an answer says; returns the encoding of its messages."""
    kind, encoding = b"", b"identity"
    for name, value in headers:
        if name == b"content-type":
            kind = value
        elif name == b"grpc-encoding":
            encoding = value
    if status != 200 or not is_grpc(kind):
        raise _no_grpc(status, kind, headers)
    return encoding


def _no_grpc(status: int, kind: bytes, headers: Fields) -> Exception:
    if is_grpc(kind) and any(name == b"grpc-status" for name, _ in headers):
        return error_in(headers) or PeerMisbehaved(f"the answer is HTTP {status}, and says that all is well")
    code = status_of_http(status)
    if code in (GrpcStatus.UNAUTHENTICATED, GrpcStatus.PERMISSION_DENIED, GrpcStatus.UNAVAILABLE):
        return GrpcError(code, f"the answer is HTTP {status}, of something before the server")
    said = kind[:60].decode("latin-1") or "no type"
    return NotGrpc(f"the answer is HTTP {status} with {said}: no gRPC is spoken at this address")


def error_in(fields: Fields) -> GrpcError | None:
    """The error in trailers, or in a head that ends the call; None where all is well. No status: PeerMisbehaved."""
    status, message, details = None, b"", b""
    for name, value in fields:
        if name == b"grpc-status":
            status = value
        elif name == b"grpc-message":
            message = value
        elif name == b"grpc-status-details-bin":
            details = value
    if status is None:
        raise PeerMisbehaved("the answer ended without a status: it was cut, or is no gRPC")
    if status == b"0":
        return None
    return GrpcError(GrpcStatus.read(status), read_message(message), _bytes_of(details))


def _bytes_of(value: bytes) -> bytes:
    try:
        return read_binary(value)
    except ValueError:
        return b""  # the status and its message stand without them


def error_of_reset(error: StreamReset) -> GrpcError:
    """What a stream that the server reset means."""
    return GrpcError(_OF_RESET.get(error.code, GrpcStatus.INTERNAL), str(error))

"""gRPC over HTTP/2 without I/O, for both sides: frames, deadlines, status codes, metadata. It knows no schemas.

- `GrpcStatus`, `status_of_http`: how a call ended.
- `frame`, `Unframer`: messages in a stream of bytes, each with a prefix of five.
- `read_timeout`, `write_timeout`: the deadline, as the header `grpc-timeout` says it.
- `read_message`, `write_message`: the text of a status, as the trailer `grpc-message` says it.
- `read_binary`, `write_binary`: metadata whose name ends with `-bin`.
"""

from transports.grpc.addresses import GrpcAddress, is_address, read_address
from transports.grpc.calls import GrpcStream, SentCall
from transports.grpc.channel import GrpcChannel
from transports.grpc.framing import ENCODINGS, MOST_BYTES, Unframer, frame, is_grpc
from transports.grpc.metadata import read_binary, read_message, write_binary, write_message
from transports.grpc.options import ChannelOptions
from transports.grpc.outcome import NotGrpc
from transports.grpc.status import GrpcError, GrpcStatus, status_of_http
from transports.grpc.timeouts import read_timeout, write_timeout

__all__ = [
    "ENCODINGS",
    "MOST_BYTES",
    "ChannelOptions",
    "GrpcAddress",
    "GrpcChannel",
    "GrpcError",
    "GrpcStatus",
    "GrpcStream",
    "NotGrpc",
    "SentCall",
    "Unframer",
    "frame",
    "is_address",
    "is_grpc",
    "read_address",
    "read_binary",
    "read_message",
    "read_timeout",
    "status_of_http",
    "write_binary",
    "write_message",
    "write_timeout",
]

"""How a call ended: the codes of gRPC, the error that carries one, and what an answer of plain HTTP means."""

from enum import IntEnum


class GrpcStatus(IntEnum):
    """The status codes of gRPC, in the trailer `grpc-status`."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @classmethod
    def read(cls, value: bytes | str) -> "GrpcStatus":
        """The code in a trailer; UNKNOWN for what is none."""
        try:
            return cls(int(value))
        except ValueError:
            return cls.UNKNOWN


class GrpcError(Exception):
    """A call that ends with a status other than OK. `details` is a serialized `google.rpc.Status`, or empty."""

    def __init__(self, status: GrpcStatus, message: str, details: bytes = b"") -> None:
        super().__init__(f"{status.name}: {message}")
        self.status, self.message, self.details = status, message, details


# What a proxy or a server that knows no gRPC says, as the protocol maps it.
_OF_HTTP = {
    400: GrpcStatus.INTERNAL,
    401: GrpcStatus.UNAUTHENTICATED,
    403: GrpcStatus.PERMISSION_DENIED,
    404: GrpcStatus.UNIMPLEMENTED,
    429: GrpcStatus.UNAVAILABLE,
    502: GrpcStatus.UNAVAILABLE,
    503: GrpcStatus.UNAVAILABLE,
    504: GrpcStatus.UNAVAILABLE,
}


def status_of_http(status: int) -> GrpcStatus:
    """The code that stands for an answer without `grpc-status`, by its HTTP status."""
    return _OF_HTTP.get(status, GrpcStatus.UNKNOWN)

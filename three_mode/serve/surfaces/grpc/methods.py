"""The methods that the endpoint answers: name, message that comes, and how many go each way."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from three_mode.serve.surfaces.grpc.call import GrpcCall

Unary = Callable[[GrpcCall, Any], Awaitable[Any]]
Streaming = Callable[[GrpcCall, Any], Awaitable[None]]
Both = Callable[[GrpcCall], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method: exactly one of the three ways to answer it."""

    takes: Any = None
    """Class of its message, where it takes one."""
    unary: Unary | None = None
    """One message there, one back."""
    streaming: Streaming | None = None
    """One message there, many back."""
    both: Both | None = None
    """Many messages both ways."""
    always: bool = False
    """Answered without a key, and while the endpoint is going down."""


Methods = Mapping[str, Method]


def paths(service: str, methods: Mapping[str, Method]) -> dict[str, Method]:
    """The methods of a service by their paths."""
    return {f"/{service}/{name}": method for name, method in methods.items()}

"""Messages between a program and its worker process: MessagePack values, each behind its length in four bytes.

to the worker:    LoadModel | StartCall | CancelCall | RunMethod | ClaimResult
from the worker:  WorkerReady | StepItems | MethodResult | ClaimCache

Both ends run the same installation, so the format has no version.
"""

import struct
from typing import Any

import msgspec

from local_models import errors
from local_models.backend import GenerationRequest, LoadedModel
from local_models.options import LoadOptions
from local_models.replies import Piece

LENGTH = struct.Struct("<I")
LONGEST = 1 << 30


class LoadModel(msgspec.Struct, frozen=True, tag=True):
    """Loads the model; the first message, answered by `WorkerReady`."""

    path: str
    options: LoadOptions


class StartCall(msgspec.Struct, frozen=True, tag=True):
    """Starts a call; `number` is its id on this connection."""

    number: int
    request: GenerationRequest


class CancelCall(msgspec.Struct, frozen=True, tag=True):
    """Ends a call; unknown numbers are ignored."""

    number: int


class RunMethod(msgspec.Struct, frozen=True, tag=True):
    """Runs another method of the backend, by name; answered by `MethodResult`."""

    number: int
    method: str
    arguments: tuple[Any, ...]


class ClaimResult(msgspec.Struct, frozen=True, tag=True):
    """Whether the memory of a `ClaimCache` was granted."""

    number: int
    granted: bool


class WireError(msgspec.Struct, frozen=True, tag=True):
    """An error of local_models: its class, its arguments, and its fields."""

    kind: str
    args: tuple[Any, ...]
    fields: dict[str, Any]

    @classmethod
    def of(cls, error: errors.LocalModelError) -> "WireError":
        """Returns the message of an error."""
        plain = {k: v for k, v in vars(error).items() if isinstance(v, (str, int, float))}
        return cls(type(error).__name__, tuple(str(a) for a in error.args), plain)

    def error(self) -> errors.LocalModelError:
        """Returns the error of a message; an unknown class becomes `EngineFailed`."""
        kind = getattr(errors, self.kind, errors.EngineFailed)
        if not (isinstance(kind, type) and issubclass(kind, errors.LocalModelError)):
            kind = errors.EngineFailed
        made: errors.LocalModelError = kind.__new__(kind)
        Exception.__init__(made, *self.args)
        vars(made).update({"message": "", "hint": "", **self.fields})
        return made


class WorkerReady(msgspec.Struct, frozen=True, tag=True):
    """Result of the load: the facts of the model, or the error."""

    loaded: LoadedModel | None
    problem: WireError | None


class StepItems(msgspec.Struct, frozen=True, tag=True):
    """Pieces and errors of one step, each with the number of its call."""

    items: list[tuple[int, Piece | WireError]]


class MethodResult(msgspec.Struct, frozen=True, tag=True):
    """Result of a `RunMethod`: a value, or an error."""

    number: int
    value: Any
    problem: WireError | None


class ClaimCache(msgspec.Struct, frozen=True, tag=True):
    """Claims so many bytes for the KV cache of the model; answered by `ClaimResult`."""

    number: int
    cache_bytes: int


ToWorker = LoadModel | StartCall | CancelCall | RunMethod | ClaimResult
FromWorker = WorkerReady | StepItems | MethodResult | ClaimCache
_encoder = msgspec.msgpack.Encoder()
to_worker = msgspec.msgpack.Decoder(ToWorker)
from_worker = msgspec.msgpack.Decoder(FromWorker)


def frame(message: ToWorker | FromWorker) -> bytes:
    """Returns a message with its length before it."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body

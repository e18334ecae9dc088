"""What goes between a program and its worker: MessagePack values behind a length of four bytes. Pure but for the streams.

to the worker:  Load | Start | Cancel | Do      from it:  Ready | News | Done
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
    path: str
    options: LoadOptions


class StartCall(msgspec.Struct, frozen=True, tag=True):
    number: int
    ask: GenerationRequest


class CancelCall(msgspec.Struct, frozen=True, tag=True):
    number: int


class RunMethod(msgspec.Struct, frozen=True, tag=True):
    """Another method of the backend, by name, with its arguments."""

    number: int
    method: str
    arguments: tuple[Any, ...]


class WireError(msgspec.Struct, frozen=True, tag=True):
    """An error, as the class and what its instance holds."""

    kind: str
    args: tuple[Any, ...]
    fields: dict[str, Any]

    @classmethod
    def of(cls, error: errors.LocalModelError) -> "WireError":
        plain = {k: v for k, v in vars(error).items() if isinstance(v, (str, int, float))}
        return cls(type(error).__name__, tuple(str(a) for a in error.args), plain)

    def error(self) -> errors.LocalModelError:
        kind = getattr(errors, self.kind, errors.EngineFailed)
        if not (isinstance(kind, type) and issubclass(kind, errors.LocalModelError)):
            kind = errors.EngineFailed
        made: errors.LocalModelError = kind.__new__(kind)
        Exception.__init__(made, *self.args)
        vars(made).update({"message": "", "hint": "", **self.fields})
        return made


class WorkerReady(msgspec.Struct, frozen=True, tag=True):
    loaded: LoadedModel | None
    problem: WireError | None


class StepItems(msgspec.Struct, frozen=True, tag=True):
    """What one step brought, for all calls."""

    items: list[tuple[int, Piece | WireError]]


class MethodResult(msgspec.Struct, frozen=True, tag=True):
    number: int
    value: Any
    problem: WireError | None


ToWorker = LoadModel | StartCall | CancelCall | RunMethod
FromWorker = WorkerReady | StepItems | MethodResult
_encoder = msgspec.msgpack.Encoder()
to_worker = msgspec.msgpack.Decoder(ToWorker)
from_worker = msgspec.msgpack.Decoder(FromWorker)


def frame(message: ToWorker | FromWorker) -> bytes:
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body

"""What goes between a program and its worker: MessagePack values behind a length of four bytes. Pure but for the streams.

to the worker:  Load | Start | Cancel | Do      from it:  Ready | News | Done
"""

import struct
from typing import Any

import msgspec

from local_models import errors
from local_models.backend import Ask, Loaded
from local_models.options import LoadOptions
from local_models.replies import Piece

LENGTH = struct.Struct("<I")
LONGEST = 1 << 30


class Load(msgspec.Struct, frozen=True, tag=True):
    path: str
    options: LoadOptions


class Start(msgspec.Struct, frozen=True, tag=True):
    number: int
    ask: Ask


class Cancel(msgspec.Struct, frozen=True, tag=True):
    number: int


class Do(msgspec.Struct, frozen=True, tag=True):
    """Another method of the backend, by name, with its arguments."""

    number: int
    method: str
    arguments: tuple[Any, ...]


class Problem(msgspec.Struct, frozen=True, tag=True):
    """An error, as the class and what its instance holds."""

    kind: str
    args: tuple[Any, ...]
    fields: dict[str, Any]

    @classmethod
    def of(cls, error: errors.LocalModelError) -> "Problem":
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


class Ready(msgspec.Struct, frozen=True, tag=True):
    loaded: Loaded | None
    problem: Problem | None


class News(msgspec.Struct, frozen=True, tag=True):
    """What one step brought, for all calls."""

    items: list[tuple[int, Piece | Problem]]


class Done(msgspec.Struct, frozen=True, tag=True):
    number: int
    value: Any
    problem: Problem | None


ToWorker = Load | Start | Cancel | Do
FromWorker = Ready | News | Done
_encoder = msgspec.msgpack.Encoder()
to_worker = msgspec.msgpack.Decoder(ToWorker)
from_worker = msgspec.msgpack.Decoder(FromWorker)


def frame(message: ToWorker | FromWorker) -> bytes:
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body

"""What runs a model, as seen by `LocalModel`: the engine in this process, or a worker process that has one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from local_models.errors import LocalModelError
from local_models.gguf import Summary
from local_models.options import Generate, Lora
from local_models.replies import Piece, Statistics

Deliver = Callable[[Piece | LocalModelError], None]  # called on the caller's loop
Take = Callable[[Sequence[Piece]], bool]  # called on the engine's thread


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt in parts that are tokenized one by one, and how it is to be answered."""

    parts: tuple[str, ...]
    special: bool  # control tokens in the parts are themselves
    options: Generate
    grammar: str = ""
    pieces: bool = True  # False: only the whole answer is wanted


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the layer above needs to know of the model."""

    summary: Summary
    context: int
    bos: str
    eos: str
    control: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunningCall:
    """A call that was begun. `cancel` may be called from any thread, and more than once."""

    cancel: Callable[[], None]


class ModelBackend(Protocol):
    @property
    def loaded(self) -> LoadedModel: ...
    async def start(self, ask: GenerationRequest, deliver: Deliver) -> RunningCall: ...
    def start_at_once(self, ask: GenerationRequest, deliver: Deliver, take: Take) -> RunningCall | None:
        """The same, if nothing has to be waited for. `take` is offered the pieces first; where it says False, they and all after
        them are delivered. The last piece is delivered in any case."""
        ...

    async def tokenize(self, parts: Sequence[str], *, start: bool, special: bool) -> list[int]: ...
    async def detokenize(self, tokens: Sequence[int]) -> str: ...
    async def embed(self, texts: Sequence[str]) -> list[list[float]]: ...
    async def save(self, tokens: list[int]) -> tuple[tuple[int, ...], bytes]: ...
    async def restore(self, tokens: list[int], state: bytes) -> bool: ...
    async def set_lora(self, adapters: Sequence[Lora]) -> None: ...
    async def statistics(self) -> Statistics: ...
    async def close(self) -> None: ...
    def abandon(self) -> None: ...

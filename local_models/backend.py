"""Backend: the part that runs a loaded model for `LocalModel`, in this process or in a worker process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from local_models.errors import LocalModelError
from local_models.gguf import Summary
from local_models.openings import Opening
from local_models.options import Generate, LoadOptions, Lora
from local_models.replies import Piece, Statistics

Deliver = Callable[[Piece | LocalModelError], None]
"""Receives each piece of a call, or the error that ends the call; called on the caller's event loop."""
Take = Callable[[Sequence[Piece]], bool]
"""Receives pieces of a step on the engine's thread, where it must not wait; False: the loop delivers them instead."""
Claim = Callable[[int], bool]
"""Claims that the KV caches of a model take so many bytes from now on; False: there is no room for more, and nothing
changes. Less than before is always granted, at once. Called on threads of the model, which may wait for the answer."""


def granted(_cache_bytes: int) -> bool:
    """Claim of a model that has no budget."""
    return True


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call: a prompt in parts that are tokenized one by one, and the options of its answer."""

    parts: tuple[str, ...]
    tokens: tuple[int, ...] = ()  # the prompt itself, in place of the parts
    special: bool  # True: the text of a control token becomes that token
    options: Generate
    grammar: str = ""  # GBNF of the answer; empty: none
    opens: Opening | None = None  # where the grammar begins; None: it holds from the start
    pictures: tuple[bytes, ...] = ()  # PNG or JPEG, in place of the parts that are marks of pictures
    shows: tuple[str, ...] = ()  # control tokens that the text of the answer has, by their own texts
    pieces: bool = True  # False: the caller wants the whole answer at once
    within: float = 0.0  # seconds that are left of the call's deadline; 0: all of `options.within`


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a loaded model that `LocalModel` needs: its header, its context, and its marks and control tokens."""

    summary: Summary
    context: int  # tokens of one call, prompt and answer together
    context_chosen: str = ""  # why so many, in words
    bos: str  # text of the mark that begins a prompt; empty where the tokenizer adds none
    eos: str  # text of the mark that ends an answer
    control: tuple[str, ...]  # texts of all control tokens
    sees: bool = False  # it reads pictures
    adds_bos: bool = True  # the tokenizer adds `bos` to a prompt of messages, so that of a template is left out


def how_to_have_more(context: int, trained: int, options: LoadOptions) -> str:
    """Returns how a model could take longer prompts than its context holds; "" where it was trained for no longer."""
    if context >= trained:
        return ""
    if options.pool:
        return f"load the model with a larger `pool`: it was trained for {trained} tokens"
    if options.context:
        return f"load the model with a larger `context`: it was trained for {trained} tokens"
    return f"load the model with a `context` that takes more of the memory: it was trained for {trained} tokens"


@dataclass(frozen=True, slots=True)
class RunningCall:
    """Handle of a call in progress. `cancel` may be called from any thread, and more than once."""

    cancel: Callable[[], None]


class ModelBackend(Protocol):
    """Runs calls and commands of one loaded model. All methods are called on an event loop."""

    @property
    def loaded(self) -> LoadedModel:
        """Facts about the model."""
        ...

    async def start(self, request: GenerationRequest, deliver: Deliver) -> RunningCall:
        """Starts a call; `deliver` receives its pieces and its end."""
        ...

    def start_at_once(self, request: GenerationRequest, deliver: Deliver, take: Take) -> RunningCall | None:
        """Starts a call if that needs no waiting, and returns None otherwise.

        `take` is offered the pieces first. After its first False those pieces and all later ones go to `deliver`. The
        last piece goes to `deliver` in any case.
        """
        ...

    async def tokenize(
        self, parts: Sequence[str], *, start: bool, special: bool, pictures: Sequence[bytes] = ()
    ) -> list[int]:
        """Returns the tokens of the parts; `start` adds the mark that begins a prompt. A row of a picture is a number
        that no token has."""
        ...

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Returns the text of tokens."""
        ...

    async def embed(self, texts: Sequence[str | Sequence[int]]) -> list[list[float]]:
        """Returns one vector of length 1 for each text, or its tokens."""
        ...

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """Returns a score for each document, and the tokens of all pairs."""
        ...

    async def save(self, tokens: list[int]) -> tuple[tuple[int, ...], bytes]:
        """Returns the longest kept text that begins like `tokens`, and its KV state; `((), b"")` where none is kept."""
        ...

    async def restore(self, tokens: list[int], state: bytes) -> bool:
        """Puts a KV state back into the cache; False: there is no room for it."""
        ...

    async def set_lora(self, adapters: Sequence[Lora]) -> None:
        """Replaces the adapters of all calls, running ones included."""
        ...

    async def statistics(self) -> Statistics:
        """Returns the counts of the engine so far."""
        ...

    async def close(self) -> None:
        """Ends the calls with `ModelClosed` and frees the memory."""
        ...

    def abandon(self) -> None:
        """Frees the memory without waiting, for the finalizer of a model that was never closed."""
        ...

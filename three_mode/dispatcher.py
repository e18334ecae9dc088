"""Dispatcher: sends each call down the channel of its target's mode. A mode that is not here says what to do.

A target's provider says the mode: `agent` is the bus, `local` this process, any other name a remote provider. So a
fallback across modes is a list of targets like any other: `Fallback(targets=(Target("local", "tiny"),))` answers when
the network does not.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from three_mode.channels.channel import Begin, Channel, OpenReply, Send, SendingChannel
from three_mode.errors import InvalidRequest
from three_mode.messages import Embedded, EmbedRequest, LLMRequest, LLMResponse, Reranked, RerankRequest
from three_mode.modes import Address, CommunicationMode
from three_mode.policies import Target

AGENT, LOCAL = "agent", "local"
HERE = frozenset({AGENT, LOCAL})  # targets that are no provider: they have no key and no address
_MODES = {AGENT: CommunicationMode.AI_AI, LOCAL: CommunicationMode.AI_PC}
_PROVIDERS = {mode: provider for provider, mode in _MODES.items()}


def mode_of(target: Target) -> CommunicationMode:
    """The mode that carries calls to a target."""
    return _MODES.get(target.provider, CommunicationMode.HUMAN_AI)


def target_of(address: Address) -> Target | None:
    """The target of an address that names a mode of its own; None for a remote model, whose provider is still to be
    found."""
    provider = _PROVIDERS.get(address.mode)
    return None if provider is None else Target(provider, address.name)


def unnamed(mode: CommunicationMode) -> InvalidRequest:
    """The error of a request in this mode that names no model."""
    example = "agent:brain" if mode is CommunicationMode.AI_AI else "gguf:path/to/model.gguf, or tiny"
    return InvalidRequest(f"{mode.name} needs a model", field="model", hint=f"for example {example}")


class OwnChannel(Channel, Protocol):
    """A channel that holds something of its own."""

    async def close(self) -> None: ...


class Dispatcher:
    """The channels of a connection; the agents' and the local one are made when first used."""

    def __init__(
        self, remote: SendingChannel, agents: Callable[[], OwnChannel], local: Callable[[], OwnChannel]
    ) -> None:
        self._remote = remote
        self._make = {CommunicationMode.AI_AI: agents, CommunicationMode.AI_PC: local}
        self._made: dict[CommunicationMode, OwnChannel] = {}

    def fetch(
        self, target: Target, request: LLMRequest, due: float, deadline: float
    ) -> Coroutine[Any, Any, LLMResponse]:
        return self.channel(mode_of(target)).fetch(target, request, due, deadline)

    def open(self, target: Target, request: LLMRequest, due: float, deadline: float) -> Coroutine[Any, Any, OpenReply]:
        return self.channel(mode_of(target)).open(target, request, due, deadline)

    def sender(self, target: Target) -> Send | None:
        return None if target.provider in HERE else self._remote.sender(target)

    def beginner(self, target: Target) -> Begin | None:
        return None if target.provider in HERE else self._remote.beginner(target)

    async def embed(self, target: Target, request: EmbedRequest, deadline: float) -> Embedded:
        return await self.channel(mode_of(target)).embed(target, request, deadline)

    async def rerank(self, target: Target, request: RerankRequest, deadline: float) -> Reranked:
        return await self.channel(mode_of(target)).rerank(target, request, deadline)

    def channel(self, mode: CommunicationMode) -> Channel:
        make = self._make.get(mode)
        if make is None:
            return self._remote
        found = self._made.get(mode)
        if found is None:
            found = self._made[mode] = make()
        return found

    def made(self, mode: CommunicationMode) -> OwnChannel | None:
        """A channel of this process, where a call has needed it."""
        return self._made.get(mode)

    async def close(self) -> None:
        """Closes the channels that were made here; the remote one is closed by its owner."""
        for channel in self._made.values():
            await channel.close()

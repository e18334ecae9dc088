"""Modes of communication, and the pure rule that turns an address into a mode."""

from collections.abc import Container
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from three_mode.errors import InvalidRequest, ModeConflict


class CommunicationMode(StrEnum):
    """Who talks to whom; decides what carries the call."""

    HUMAN_AI = "human_ai"
    """People and services to remote models, over pooled HTTP/2."""
    AI_AI = "ai_ai"
    """Agents to agents on this machine, over shared-memory rings and ZeroMQ."""
    AI_PC = "ai_pc"
    """Any caller to a model in this process, through llama.cpp."""
    AUTO = "auto"
    """The mode that the address implies."""


class Address(NamedTuple):
    """Destination of a request: the mode that carries it, and the name within that mode."""

    mode: CommunicationMode
    name: str


_SCHEMES = {"agent": CommunicationMode.AI_AI, "gguf": CommunicationMode.AI_PC}
_EXAMPLES = {"agent": "agent:brain", "gguf": "gguf:path/to/model.gguf"}


def resolve(
    model: str,
    mode: CommunicationMode = CommunicationMode.AUTO,
    local_names: Container[str] = (),
) -> Address:
    """Turns the model and mode of a request into an address; `local_names` are the names in the local catalogue.

    `agent:NAME` is an agent, `gguf:PATH` and `*.gguf` a model file, a URL a remote model. A bare name is a local model
    if the catalogue has it and a remote one otherwise. An explicit mode decides for a bare name; AI_AI is then the
    agent that serves the model. A mode that contradicts the address is a `ModeConflict`.
    """
    if not model:
        raise InvalidRequest(
            "the request names no model",
            field="model",
            hint="set model=, or a default model on the connection",
        )
    address = _explicit(model)
    if address is None:
        if mode is not CommunicationMode.AUTO:
            return Address(mode, model)
        known_here = model in local_names
        return Address(CommunicationMode.AI_PC if known_here else CommunicationMode.HUMAN_AI, model)
    if mode not in (CommunicationMode.AUTO, address.mode):
        raise ModeConflict(
            f"{model!r} is reached by {address.mode.name}, but the request says {mode.name}",
            field="mode",
            hint="leave mode out, or use CommunicationMode.AUTO",
        )
    return address


@lru_cache(maxsize=1024)  # a program calls few models, and each of them often
def _explicit(model: str) -> Address | None:
    """Address of a model whose name implies its mode; None for a bare name."""
    scheme, colon, name = model.partition(":")
    if colon and scheme in _SCHEMES:
        if not name:
            raise InvalidRequest(f"{model!r} names nothing", field="model", hint=f"for example {_EXAMPLES[scheme]}")
        return Address(_SCHEMES[scheme], name)
    if model.startswith(("https://", "http://")):
        return Address(CommunicationMode.HUMAN_AI, model)
    if model.lower().endswith(".gguf"):
        return Address(CommunicationMode.AI_PC, model)
    return None

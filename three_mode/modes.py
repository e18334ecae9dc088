"""Modes of communication, and the pure rule that turns an address into a mode."""

from collections.abc import Container
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from three_mode.errors import InvalidRequest, ModeConflict


class CommunicationMode(StrEnum):
    """Who talks to whom; decides what carries the call."""

    HUMAN_AI = "human_ai"
    """People and services to remote models, over pooled HTTP/2."""
    AI_AI = "ai_ai"
    """Agents to agents on this machine, over shared-memory rings and ZeroMQ."""
    AI_PC = "ai_pc"
    """Any caller to a model of this computer: through llama.cpp, or through transformers in a worker process."""
    AUTO = "auto"
    """The mode that the address implies."""


class Address(NamedTuple):
    """Destination of a request: the mode that carries it, and the name within that mode."""

    mode: CommunicationMode
    name: str


_SCHEMES = {"agent": CommunicationMode.AI_AI, "gguf": CommunicationMode.AI_PC, "hf": CommunicationMode.AI_PC}
_EXAMPLES = {"agent": "agent:brain", "gguf": "gguf:path/to/model.gguf", "hf": "hf:path/to/folder, or hf:OWNER/NAME"}
_GGUF, HUGGING_FACE = "gguf:", "hf:"


def resolve(
    model: str,
    mode: CommunicationMode = CommunicationMode.AUTO,
    local_names: Container[str] = (),
) -> Address:
    """Turns the model and mode of a request into an address; `local_names` are the names in the local catalogue.

    `agent:NAME` is an agent, `gguf:PATH` and `*.gguf` a model file, `hf:PATH` and `hf:OWNER/NAME` a model of Hugging
    Face (its name keeps the scheme, which tells it from a file), a URL a remote model. A bare name is a local model if
    the catalogue has it and a remote one otherwise. An explicit mode decides for a bare name; AI_AI is then the agent
    that serves the model. A mode that contradicts the address is a `ModeConflict`.
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
        return Address(_SCHEMES[scheme], model if scheme == "hf" else name)
    if model.startswith(("https://", "http://")):
        return Address(CommunicationMode.HUMAN_AI, model)
    if model.lower().endswith(".gguf"):
        return Address(CommunicationMode.AI_PC, model)
    return None


def names_files(model: str) -> bool:
    """Whether an address says which files of this computer to open."""
    return model.startswith((_GGUF, HUGGING_FACE)) or model.lower().endswith(".gguf")


def anchored(address: str, folder: Path) -> str:
    """The address of model files that a relative one means in a folder; `~` is the home.

    `hf:OWNER/NAME` may be a name of the hub, and stays: a path below the folder is `hf:./PATH`.
    """
    scheme = HUGGING_FACE if address.startswith(HUGGING_FACE) else ""
    text = address.removeprefix(scheme or _GGUF)
    if scheme and not text.startswith(("/", ".", "~")):
        return address
    return f"{scheme}{folder / Path(text).expanduser()}"

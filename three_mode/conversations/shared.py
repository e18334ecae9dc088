"""What all conversations of one file share."""

from typing import NamedTuple

from msgspec import Struct

from three_mode.connection import LLMConnection
from three_mode.conversations.hooks import TalkMemory, TalkPersona
from three_mode.conversations.options import ConversationOptions
from three_mode.conversations.store import ConversationStore
from three_mode.conversations.turn_locks import TurnLocks
from three_mode.errors import ConfigurationError


class Shared(NamedTuple):
    """The file and who answers."""

    store: ConversationStore
    locks: TurnLocks
    llm: LLMConnection | None

    @property
    def model(self) -> LLMConnection:
        """The connection. Raises ConfigurationError where there is none."""
        if self.llm is None:
            raise ConfigurationError(
                "these conversations have no connection to a model", hint="Conversations(path, llm)"
            )
        return self.llm


class TalkSetup(Struct, frozen=True, kw_only=True):
    """How one conversation is held; the file does not keep it."""

    options: ConversationOptions
    model: str | None = None
    tools: object = None  # a ToolRunner, or what the connection's own `run` takes
    persona: TalkPersona | None = None
    memory: TalkMemory | None = None

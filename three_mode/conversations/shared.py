"""What all conversations of one file share."""

import time
from typing import NamedTuple

from msgspec import Struct

from three_mode.connection import LLMConnection
from three_mode.conversations.entries import SpanSummary
from three_mode.conversations.hooks import TalkMemory, TalkPersona
from three_mode.conversations.options import ConversationOptions
from three_mode.conversations.store import ConversationStore
from three_mode.conversations.turn_locks import TurnLocks
from three_mode.errors import ConfigurationError
from three_mode.events.hub import ConnectionHub
from three_mode.events.kinds import COMPACTED, CONVERSATION_CREATED
from three_mode.handling import current


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

    def tell_created(self, name: str, fork_of: str | None = None) -> None:
        """Tell who listens on the connection that there is a new conversation."""
        hub = self._hub
        if hub is not None and CONVERSATION_CREATED in hub.wanted:
            from three_mode.events.values import ConversationCreated

            agent = current.get().agent or None
            hub.publish(ConversationCreated(time=time.time(), conversation=name, agent=agent, fork_of=fork_of))

    def tell_compacted(self, name: str, summary: SpanSummary) -> None:
        """Tell who listens on the connection that older turns of a conversation were summarised."""
        hub = self._hub
        if hub is not None and COMPACTED in hub.wanted:
            from three_mode.events.values import ConversationCompacted

            hub.publish(
                ConversationCompacted(
                    time=time.time(),
                    conversation=name,
                    agent=current.get().agent or None,
                    first=summary.first,
                    last=summary.last,
                    model=summary.model,
                    usage=summary.usage,
                )
            )

    @property
    def _hub(self) -> ConnectionHub | None:
        return self.llm.event_hub if self.llm is not None else None


class TalkSetup(Struct, frozen=True, kw_only=True):
    """How one conversation is held; the file does not keep it."""

    options: ConversationOptions
    model: str | None = None
    tools: object = None  # a ToolRunner, or what the connection's own `run` takes
    persona: TalkPersona | None = None
    memory: TalkMemory | None = None

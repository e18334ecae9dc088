"""`ConversationManager`: conversations that `three_mode.conversations` keeps, by their names."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from three_mode.compat.coda.config import ConversationConfig
from three_mode.compat.coda.dispatch import Dispatch
from three_mode.compat.coda.values import ConversationSnapshot, LLMMessage, MessageRole
from three_mode.connection import LLMConnection
from three_mode.conversations import Compaction, ConversationOptions, Conversations, Talk, TalkTurn, Window
from three_mode.conversations.window import WindowItem, settle
from three_mode.errors import InvalidRequest
from three_mode.messages import LLMRequest, Message
from three_mode.providers import estimate_tokens

_PAGE = 1000  # names that are listed at once
_TALKS = 256  # talks that stay open


class ConversationManager:
    """Conversations in one file, or in memory. Opened when first used."""

    def __init__(
        self,
        config: ConversationConfig | None = None,
        *,
        path: str | Path = ":memory:",
        dispatch: Dispatch | None = None,
    ) -> None:
        self.config = config or ConversationConfig()
        self._dispatch = dispatch
        self._file = Conversations(path, cast("LLMConnection | None", dispatch))
        self._opening: asyncio.Task[Any] | None = None
        # Those that are open, and how: the window of a talk goes on where it was.
        self._talks: OrderedDict[str, tuple[tuple[Any, ...], Talk]] = OrderedDict()

    async def create_conversation(self, conversation_id: str | None = None) -> ConversationSnapshot:
        """A new conversation; None: with a name of its own. One of that name is returned as it is."""
        name = conversation_id or f"conv-{uuid4().hex[:12]}"
        talk = await self.open(name)
        return ConversationSnapshot(conversation_id=name, messages=_messages(await talk.messages()))

    async def add_message(self, conversation_id: str, message: LLMMessage) -> None:
        """Adds a message that was said elsewhere. A message of the assistant or of a tool belongs to the turn of the
        user before it."""
        talk = await self.open(conversation_id, create=False)
        if message.role == MessageRole.SYSTEM:
            await talk.set_system(message.content)
        elif message.role == MessageRole.USER:
            await talk.add(message.message(), ())
        else:
            turn = await talk.undo()
            if turn is None:
                raise InvalidRequest("a conversation begins with what the user says", field="role")
            await talk.add(turn.said, (*turn.answered, message.message()), model=turn.model)

    async def get_conversation_context(self, conversation_id: str, max_tokens: int | None = None) -> list[LLMMessage]:
        """The system message and as many of the newest messages as so many tokens hold."""
        talk = await self.open(conversation_id, create=False)
        messages = await talk.messages()
        window = Window(tokens=max_tokens or self.config.max_tokens_per_conversation, messages=self.config.max_messages)
        items = [_item(message) for message in messages]
        system = [item for item in items if item.message.role == "system"]
        said = [item for item in items if item.message.role != "system"]
        if not said:
            return list(_messages(item.message for item in system))
        return list(_messages(settle(system, said, window.tokens, window).messages))

    async def get_conversation(self, conversation_id: str) -> ConversationSnapshot:
        """A conversation with all its messages. `NoSuchConversation` where there is none."""
        talk = await self.open(conversation_id, create=False)
        return ConversationSnapshot(conversation_id=conversation_id, messages=_messages(await talk.messages()))

    async def list_conversations(self) -> list[str]:
        """The names, those with the latest turns first."""
        await self._opened()
        found: list[str] = []
        while page := await self._file.list(most=_PAGE, offset=len(found)):
            found += [each.name for each in page]
        return found

    async def delete_conversation(self, conversation_id: str) -> None:
        """Deletes a conversation."""
        await self._opened()
        self._talks.pop(conversation_id, None)
        await self._file.delete(conversation_id)

    async def turns(self, conversation_id: str) -> tuple[TalkTurn, ...]:
        """The turns of a conversation."""
        return await (await self.open(conversation_id, create=False)).turns()

    async def open(self, conversation_id: str, *, create: bool = True, **setup: Any) -> Talk:
        """The `Talk` of a name; `setup` as `Conversations.open` takes it. Without any it may be one that is open."""
        await self._opened()
        anyhow, options = not setup, self._options(setup)
        how = (options, *(setup.get(name) for name in ("tools", "persona", "memory")))
        known = self._talks.pop(conversation_id, None)
        if known is None or not (anyhow or known[0] == how):
            known = (how, await self._file.open(conversation_id, create=create, options=options, **setup))
        self._talks[conversation_id] = known
        if len(self._talks) > _TALKS:
            self._talks.popitem(last=False)
        return known[1]

    async def close(self) -> None:
        """Closes the file; the conversations in it stay."""
        await self._file.close()

    async def _opened(self) -> None:
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._file.__aenter__())
        await asyncio.shield(self._opening)

    def _options(self, setup: dict[str, Any]) -> ConversationOptions:
        config = self.config
        model = self._dispatch.summariser if self._dispatch is not None and config.auto_summarize else None
        share = config.summarize_threshold / config.max_messages if config.max_messages else 0.8
        return ConversationOptions(
            window=Window(
                tokens=config.max_tokens_per_conversation,
                messages=config.max_messages,
                compact_at=min(1.0, max(0.01, share)),
            ),
            compaction=None if model is None else Compaction(model=model),
            most_rounds=setup.pop("most_rounds", 5),
            tools_at_once=setup.pop("tools_at_once", None),
        )


def _item(message: Message) -> WindowItem:
    return WindowItem(message, estimate_tokens(LLMRequest(messages=(message,)), ""))


def _messages(messages: Iterable[Message]) -> tuple[LLMMessage, ...]:
    return tuple(LLMMessage.of(message) for message in messages)

"""`PromptEnhancer`: prompts with personality, memories, history, time and tools. `three_mode.prompts` builds them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from three_mode.compat.coda.conversations import ConversationManager
from three_mode.compat.coda.memory import MemoryManager
from three_mode.compat.coda.personality import PersonalityManager
from three_mode.compat.coda.tools import ToolManager
from three_mode.prompts import Context, ContextPiece, enhance, enhance_user

HISTORY = "The conversation so far. It is data."
_LINES = 20  # newest messages of a conversation that are told


class PromptEnhancer:
    """Enhances prompts with what the managers that it is given know; without any, with the context of a call alone.

    A context may have `user_preferences`, `memories`, `conversation_id` and `time`.
    """

    def __init__(
        self,
        *,
        personality_manager: PersonalityManager | None = None,
        memory_manager: MemoryManager | None = None,
        conversation_manager: ConversationManager | None = None,
        tool_manager: ToolManager | None = None,
    ) -> None:
        self.personality_manager, self.memory_manager = personality_manager, memory_manager
        self.conversation_manager, self.tool_manager = conversation_manager, tool_manager

    async def enhance_system_prompt(self, prompt: str, context: Mapping[str, Any] | None = None) -> str:
        """A system prompt with what stays the same from turn to turn: personality, tools, preferences."""
        return enhance(prompt, await self._context(context or {}, "")).text

    async def enhance_user_prompt(self, prompt: str, context: Mapping[str, Any] | None = None) -> str:
        """A user's turn with what changes: history, memories, the time."""
        return enhance_user(prompt, await self._context(context or {}, prompt)).text

    async def _context(self, given: Mapping[str, Any], prompt: str) -> Context:
        memories: Sequence[Any] = given.get("memories", ())
        if prompt and self.memory_manager is not None:
            memories = [*memories, *await self.memory_manager.search(prompt)]
        return Context(
            persona=self.personality_manager.persona if self.personality_manager else None,
            tools=self.tool_manager.specs if self.tool_manager else (),
            preferences=given.get("user_preferences", ()),
            memories=memories,
            time=given.get("time", datetime.now(UTC)),
            pieces=await self._history(given.get("conversation_id")) if prompt else (),
        )

    async def _history(self, conversation_id: str | None) -> tuple[ContextPiece, ...]:
        if conversation_id is None or self.conversation_manager is None:
            return ()
        messages = await self.conversation_manager.get_conversation_context(conversation_id)
        lines = [{"role": str(each.role), "text": each.content} for each in messages[-_LINES:]]
        return (
            ContextPiece(
                name="conversation", heading=HISTORY, lines=lines, order=60, tokens=1500, stable=False, data=True
            ),
        )

"""Names of Coda's `coda.components.llm` and its neighbours.

    openai = ProviderConfig(provider=LLMProvider.OPENAI, model="gpt-4")
    llm_manager = LLMManager(LLMConfig(providers={"openai": openai}, default_provider="openai"))
    response = await llm_manager.generate_response("Hello, how can you help me?")
    response2 = await llm_manager.continue_conversation(response.conversation_id, "Tell me more")

Conversations, tools, memory, persona, events and connections are those of `three_mode`.
"""

from three_mode.compat.coda.base_provider import BaseLLMProvider
from three_mode.compat.coda.config import (
    ConversationConfig,
    FunctionCallingConfig,
    LLMConfig,
    LLMProvider,
    ProviderConfig,
)
from three_mode.compat.coda.conversations import ConversationManager
from three_mode.compat.coda.errors import LLMAuthenticationError, LLMError, LLMRateLimitError, LLMTimeoutError
from three_mode.compat.coda.manager import LLMManager
from three_mode.compat.coda.memory import MemoryManager
from three_mode.compat.coda.personality import PersonalityManager
from three_mode.compat.coda.prompts import PromptEnhancer
from three_mode.compat.coda.tools import ToolManager, calculator, get_time
from three_mode.compat.coda.values import ConversationSnapshot, LLMMessage, LLMResponse, LLMStreamChunk, MessageRole
from three_mode.compat.coda.websocket import CodaWebSocketIntegration, CodaWebSocketServer, WebSocketLLMManager

__all__ = [
    "BaseLLMProvider",
    "CodaWebSocketIntegration",
    "CodaWebSocketServer",
    "ConversationConfig",
    "ConversationManager",
    "ConversationSnapshot",
    "FunctionCallingConfig",
    "LLMAuthenticationError",
    "LLMConfig",
    "LLMError",
    "LLMManager",
    "LLMMessage",
    "LLMProvider",
    "LLMRateLimitError",
    "LLMResponse",
    "LLMStreamChunk",
    "LLMTimeoutError",
    "MemoryManager",
    "MessageRole",
    "PersonalityManager",
    "PromptEnhancer",
    "ProviderConfig",
    "ToolManager",
    "WebSocketLLMManager",
    "calculator",
    "get_time",
]

"""Names of Dive's `core.llm_connection`: those of `three_mode` itself, which the document is the origin of."""

from typing import Any

from three_mode.connection import ConnectionOptions, LLMConnection
from three_mode.messages import Chunk, LLMRequest, LLMResponse, Message, Usage
from three_mode.modes import CommunicationMode

__all__ = [
    "LLM_CONFIG",
    "Chunk",
    "CommunicationMode",
    "ConnectionOptions",
    "LLMConnection",
    "LLMRequest",
    "LLMResponse",
    "Message",
    "Usage",
]

#: The document's settings: `LLMConnection(options=ConnectionOptions(config=LLM_CONFIG))`. A file that holds such a dict
#: is named by the environment variable `LLM_CONFIG`.
LLM_CONFIG: dict[str, Any] = {
    "default_provider": "v98",
    "default_model": "claude-sonnet-4.5",
    "default_mode": CommunicationMode.HUMAN_AI,
    "timeout": 30,
    "max_retries": 3,
}

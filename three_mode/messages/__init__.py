"""Requests, messages, answers, chunks and usage: the values that every mode carries."""

from three_mode.messages.chunks import Chunk, Finish, Start, TextDelta, ThinkingDelta, ToolDelta, UsageUpdate
from three_mode.messages.embedding import Embedded, EmbedRequest
from three_mode.messages.folding import Folding, chunks_of, fold
from three_mode.messages.message import Message, Role
from three_mode.messages.options import CacheHints, Reasoning, ResponseFormat, Tool
from three_mode.messages.parts import Image, Part, Text, Thinking, ToolCall, ToolResult
from three_mode.messages.reply import FinishReason, LLMResponse, Step
from three_mode.messages.request import LLMRequest
from three_mode.messages.request_defaults import RequestDefaults
from three_mode.messages.reranking import Ranked, Reranked, RerankRequest
from three_mode.messages.usage import Usage
from three_mode.messages.wire import decode_error, encode_error, from_json, from_msgpack, to_json, to_msgpack

__all__ = [
    "CacheHints",
    "Chunk",
    "EmbedRequest",
    "Embedded",
    "Finish",
    "FinishReason",
    "Folding",
    "Image",
    "LLMRequest",
    "LLMResponse",
    "Message",
    "Part",
    "Ranked",
    "Reasoning",
    "RequestDefaults",
    "RerankRequest",
    "Reranked",
    "ResponseFormat",
    "Role",
    "Start",
    "Step",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "Tool",
    "ToolCall",
    "ToolDelta",
    "ToolResult",
    "Usage",
    "UsageUpdate",
    "chunks_of",
    "decode_error",
    "encode_error",
    "fold",
    "from_json",
    "from_msgpack",
    "to_json",
    "to_msgpack",
]

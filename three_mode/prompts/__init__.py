"""Persona and context: who the model is to be, and what it is told beside the conversation. Pure, without I/O."""

from three_mode.prompts.context import Context, ContextBudgets, ContextPiece, Recalled
from three_mode.prompts.enhance import (
    Enhanced,
    EnhancedMessages,
    LeftOut,
    enhance,
    enhance_messages,
    enhance_user,
)
from three_mode.prompts.persona import Persona

__all__ = [
    "Context",
    "ContextBudgets",
    "ContextPiece",
    "Enhanced",
    "EnhancedMessages",
    "LeftOut",
    "Persona",
    "Recalled",
    "enhance",
    "enhance_messages",
    "enhance_user",
]

"""Chat in the terminal: the conversation, its commands, and how answers are shown."""

from three_mode.chat.commands import COMMANDS, Command, parse
from three_mode.chat.conversation import Conversation
from three_mode.chat.session import ChatSession, LineReader

__all__ = ["COMMANDS", "ChatSession", "Command", "Conversation", "LineReader", "parse"]

"""A conversation in the terminal: what was said, what was typed, and how it is shown."""

from three_mode.chat.commands import COMMANDS, Command, parse
from three_mode.chat.conversation import Conversation
from three_mode.chat.session import ChatSession, LineReader

__all__ = ["COMMANDS", "ChatSession", "Command", "Conversation", "LineReader", "parse"]

"""Chat in the terminal: the conversation, its commands, and how answers are shown."""

from three_mode.chat.commands import COMMANDS, Command, parse
from three_mode.chat.conversation import Conversation
from three_mode.chat.kept import KeptConversation
from three_mode.chat.session import ChatSession, LineReader, Streamer

__all__ = ["COMMANDS", "ChatSession", "Command", "Conversation", "KeptConversation", "LineReader", "Streamer", "parse"]

"""Conversations that are kept: a log in SQLite, a window on it for each request, summaries of what is older.

async with Conversations("talk.db", llm) as talks:
    talk = await talks.open("alice/1", system="You are brief.", window=Window(tokens=8000))
    reply = await talk.say("Hello")
"""

from three_mode.conversations.conversations import ConversationInfo, Conversations, FoundMessage
from three_mode.conversations.hooks import TalkMemory, TalkPersona, ToolRun, ToolRunner
from three_mode.conversations.log import TalkTurn
from three_mode.conversations.options import Compaction, ConversationOptions
from three_mode.conversations.said import Sayable
from three_mode.conversations.talk import Talk
from three_mode.conversations.talk_stream import TalkStream
from three_mode.conversations.window import Window

__all__ = [
    "Compaction",
    "ConversationInfo",
    "ConversationOptions",
    "Conversations",
    "FoundMessage",
    "Sayable",
    "Talk",
    "TalkMemory",
    "TalkPersona",
    "TalkStream",
    "TalkTurn",
    "ToolRun",
    "ToolRunner",
    "Window",
]

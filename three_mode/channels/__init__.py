"""One file a mode: a request in, its transport, a reply out."""

from three_mode.channels.channel import Channel, OpenReply
from three_mode.channels.human_ai import HumanAI

__all__ = ["Channel", "HumanAI", "OpenReply"]

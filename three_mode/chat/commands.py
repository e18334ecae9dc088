"""Parsing of a typed line: a message to the model, or a command. Pure."""

from typing import NamedTuple

COMMANDS = {
    "help": "these commands",
    "model": "show the model, or talk to another: /model agent:brain",
    "system": "show the system prompt, or set it: /system You are brief.",
    "edit": "take the last turn back and edit its message",
    "retry": "ask for the last answer again",
    "undo": "take the last turn back",
    "reset": "forget everything that was said",
    "history": "what was said so far",
    "talks": "the talks that are kept",
    "talk": "show the name of this talk, or go on in another: /talk NAME",
    "fork": "go on in a copy of this talk: /fork, or /fork NAME",
    "quit": "leave (or Ctrl-D)",
}


class Command(NamedTuple):
    """Command and its argument; `name` is None for a message to the model."""

    name: str | None
    text: str


def parse(line: str) -> Command:
    """Parses one line. `//x` is a message that begins with a slash."""
    line = line.strip()
    if not line.startswith("/"):
        return Command(None, line)
    if line.startswith("//"):
        return Command(None, line[1:])
    name, _, text = line[1:].partition(" ")
    return Command(name.lower(), text.strip())

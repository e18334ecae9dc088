"""What a line is: something said, or a command. Pure."""

from typing import NamedTuple

COMMANDS = {
    "help": "these commands",
    "model": "show the model, or talk to another: /model agent:brain",
    "system": "show the system prompt, or set it: /system You are brief.",
    "edit": "take the last turn back and edit what was said",
    "retry": "ask for the last answer again",
    "undo": "take the last turn back",
    "reset": "forget everything that was said",
    "history": "what was said so far",
    "quit": "leave (or Ctrl-D)",
}


class Command(NamedTuple):
    """A command and what stands behind it; `name` is None for a line that is just said."""

    name: str | None
    text: str


def parse(line: str) -> Command:
    """`//x` says a line that begins with a slash."""
    line = line.strip()
    if not line.startswith("/"):
        return Command(None, line)
    if line.startswith("//"):
        return Command(None, line[1:])
    name, _, text = line[1:].partition(" ")
    return Command(name.lower(), text.strip())

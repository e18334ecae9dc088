"""Program that replays a recording in a process of its own.

    python -m three_mode.page.recordings.replaying FILE IMPORT...

A recording names the classes of its agents, and a replay imports them and runs their code: so only classes below the
given import paths are made. What is found goes to stdout as JSON; what the classes print goes to stderr.
"""

import os
import sys
from pathlib import Path

import msgspec

from three_mode.agents.recording.events import Made
from three_mode.agents.recording.replay import load, replay
from three_mode.agents.wire.importing import MAIN, ClassPath
from three_mode.errors import ConfigurationError, ThreeModeError


class ReplayOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a replay found."""

    messages: int = 0
    agent: str = ""
    """The agent that did otherwise; "" where none did."""
    turn: int = 0
    handler: str = ""
    recorded: str = ""
    replayed: str = ""
    cut_off: str = ""
    """When and why the recording ended before its run did."""
    failed: str = ""
    """Why there was no replay."""


def allowed(target: ClassPath, imports: list[str]) -> bool:
    """Whether a class is below one of these import paths, or in one of these files."""
    if target.module == MAIN:
        return any(path.endswith(".py") and Path(path).resolve() == Path(target.file) for path in imports)
    return any(target.module == path or target.module.startswith(f"{path}.") for path in imports)


def outcome(path: str, imports: list[str]) -> ReplayOutcome:
    """Replay a recording, where all of its classes are allowed."""
    try:
        for event in load(path):
            if isinstance(event, Made) and not allowed(event.target, imports):
                place = event.target.file if event.target.module == MAIN else event.target.module
                raise ConfigurationError(
                    f"{event.agent} is a {event.target}, which this replay may not import",
                    hint=f"three-mode watch {path} --import {place}",
                )
        found = replay(path)
    except (ThreeModeError, OSError) as error:
        return ReplayOutcome(failed=str(error))
    except Exception as error:  # noqa: BLE001 - code of the recorded program
        return ReplayOutcome(failed=f"{type(error).__name__}: {error}")
    cut_off = found.cut_off or ""
    if (other := found.divergence) is None:
        return ReplayOutcome(found.messages, cut_off=cut_off)
    return ReplayOutcome(
        found.messages, other.agent, other.turn, other.handler, other.recorded, other.replayed, cut_off
    )


def main(arguments: list[str]) -> int:
    """Replay, and write what was found."""
    answers = os.dup(1)
    os.dup2(2, 1)
    os.write(answers, msgspec.json.encode(outcome(arguments[0], arguments[1:])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

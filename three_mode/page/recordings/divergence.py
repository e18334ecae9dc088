"""The first divergence of a recording: a replay in a child process, which runs the program's own code."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Literal

import msgspec

from three_mode.page.recordings.cells import MADE
from three_mode.page.recordings.index import RecordingIndex
from three_mode.page.recordings.replaying import ReplayOutcome

WITHIN = 600.0  #: seconds that a replay may take
_SHOWN = 2000  # bytes of what a child that failed said last
_LONGEST = 1 << 20  # bytes of an answer


class FoundDivergence(msgspec.Struct, frozen=True):
    """What is known of the first divergence."""

    state: Literal["none", "running", "same", "diverged", "failed"]
    """none: nobody asked for it."""
    outcome: ReplayOutcome | None = None
    place: int | None = None
    """Where it is in the recording."""


class DivergenceSearch:
    """Replays a recording once, when it is asked for."""

    def __init__(self, index: RecordingIndex, imports: Sequence[str]) -> None:
        self._index, self._imports = index, list(imports)
        self._running: asyncio.Task[None] | None = None
        self.found = FoundDivergence("none")

    def begin(self) -> None:
        """Replay, unless that runs or was done."""
        if self.found.state in ("none", "failed"):
            self.found = FoundDivergence("running")
            self._running = asyncio.create_task(self._search())

    async def close(self) -> None:
        """End a replay that runs."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _search(self) -> None:
        try:
            async with asyncio.timeout(WITHIN):
                outcome = await self._replayed()
        except TimeoutError:
            outcome = ReplayOutcome(failed=f"it was not over within {WITHIN:g} s")
        except (OSError, msgspec.MsgspecError) as error:
            outcome = ReplayOutcome(failed=str(error))
        if outcome.failed:
            self.found = FoundDivergence("failed", outcome)
        elif not outcome.agent:
            self.found = FoundDivergence("same", outcome)
        else:
            place = await asyncio.to_thread(self._place, outcome)
            self.found = FoundDivergence("diverged", outcome, place)

    def _place(self, outcome: ReplayOutcome) -> int | None:
        if outcome.turn:
            return self._index.place_of_turn(outcome.agent, outcome.turn)
        return self._index.following(outcome.agent, -1, MADE)

    async def _replayed(self) -> ReplayOutcome:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "three_mode.page.recordings.replaying",
            self._index.file.path,
            *self._imports,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert child.stdout is not None
            assert child.stderr is not None
            answer, said = await asyncio.gather(_last(child.stdout, _LONGEST), _last(child.stderr, _SHOWN))
            await child.wait()
        except asyncio.CancelledError:
            if child.returncode is None:
                child.kill()
                await child.wait()
            raise
        if not answer:
            last = said.decode(errors="replace").strip()
            return ReplayOutcome(failed=f"the replay ended with {child.returncode}: {last or 'it said nothing'}")
        return msgspec.json.decode(answer, type=ReplayOutcome)


async def _last(stream: asyncio.StreamReader, most: int) -> bytes:
    """Read to the end; return the last bytes."""
    last = b""
    while data := await stream.read(1 << 16):
        last = (last + data)[-most:]
    return last

"""Journal of a submission: a file that says after a crash how far it came. Each step is a line of JSON, on disk before
the next step begins. It holds no text of a conversation, and no key.

    {"job": ..., "target": ..., "digest": ..., "parts": [50000, 12]}
    {"uploaded": 0, "id": "file-1"}      {"sending": 0, "at": 1790000000}      {"created": 0, "id": "batch_1"}

A last line without its end was never done. One process at a time has the file: the lock ends with it.
"""

import asyncio
import fcntl
import os
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.errors import ConfigurationError


class PartState(Struct):
    """How far one batch of a job is."""

    uploaded: str | None = None
    """Id of its uploaded requests."""
    sent_at: float | None = None
    """When its request went out, in Unix time: from then on it may be at the provider."""
    created: str | None = None
    """Id of the batch."""


class SubmissionJournal:
    """Steps of one submission. Without a path it keeps them in memory."""

    def __init__(self, path: str | Path | None) -> None:
        self._path = None if path is None else Path(path)
        self._descriptor = -1
        self.job: str | None = None
        """Name of the job that a file tells of; None: a new one."""
        self.digest = self.target = ""
        self.counts: list[int] = []
        self.parts: dict[int, PartState] = {}

    async def open(self) -> None:
        """Read the file, or make it."""
        if self._path is not None:
            await asyncio.to_thread(self._open, self._path)

    async def begin(self, job: str, target: str, digest: str, counts: list[int]) -> None:
        """Begin a job; of one that the file tells of, check that it is the same."""
        if self.job is None:
            self.job = job
            await self._append({"job": job, "target": target, "digest": digest, "parts": counts})
        elif (self.target, self.digest, self.counts) != (target, digest, counts):
            raise ConfigurationError(
                f"{self._name} tells of another batch: not of these requests to {target}",
                hint="give another file=, or remove this one once you need its batch no more",
            )

    def part(self, number: int) -> PartState:
        """How far one batch is."""
        return self.parts.setdefault(number, PartState())

    async def uploaded(self, number: int, upload: str) -> None:
        """Note that the requests of a batch are at the provider."""
        self.part(number).uploaded = upload
        await self._append({"uploaded": number, "id": upload})

    async def sending(self, number: int) -> None:
        """Note that a batch is about to be made."""
        at = self.part(number).sent_at = time.time()
        await self._append({"sending": number, "at": at})

    async def not_sent(self, number: int) -> None:
        """Note that it certainly was not made."""
        self.part(number).sent_at = None
        await self._append({"sending": number, "at": None})

    async def created(self, number: int, batch: str) -> None:
        """Note that a batch was made."""
        self.part(number).created = batch
        await self._append({"created": number, "id": batch})

    def close(self) -> None:
        """Let go of the file, which stays."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def _name(self) -> str:
        return "the journal" if self._path is None else self._path.name

    def _open(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            whole = Path(path).read_bytes()
        except BlockingIOError:
            self.close()
            raise ConfigurationError(
                f"another process submits the batch of {self._name} now", hint="wait until it has, or give another file"
            ) from None
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"{self._name} cannot be kept: {error.strerror}", hint="give file= a path"
            ) from None
        kept = whole[: whole.rfind(b"\n") + 1]
        try:
            for line in kept.splitlines():
                self._replay(msgspec.json.decode(line))
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            self.close()
            raise ConfigurationError(
                f"{self._name} is not the journal of a batch", hint="give file= the path of a file of its own"
            ) from None
        if len(kept) < len(whole):
            os.truncate(self._descriptor, len(kept))

    def _replay(self, line: dict[str, Any]) -> None:
        if "job" in line:
            self.job, self.target = str(line["job"]), str(line["target"])
            self.digest, self.counts = str(line["digest"]), list(line["parts"])
        elif "uploaded" in line:
            self.part(line["uploaded"]).uploaded = str(line["id"])
        elif "sending" in line:
            self.part(line["sending"]).sent_at = line["at"]
        else:
            self.part(line["created"]).created = str(line["id"])

    async def _append(self, line: dict[str, Any]) -> None:
        if self._descriptor >= 0:
            await asyncio.to_thread(_write, self._descriptor, msgspec.json.encode(line) + b"\n")


def _write(descriptor: int, line: bytes) -> None:
    try:
        while line:
            line = line[os.write(descriptor, line) :]
        os.fsync(descriptor)
    except OSError as error:
        raise ConfigurationError(
            f"the journal of a batch cannot be written: {error.strerror}", hint="make room, and submit it again"
        ) from None

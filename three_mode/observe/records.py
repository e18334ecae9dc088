"""Records of calls: each request with its reply or error, its figures and its cost, as a line of JSON. Off by default.

A record holds the text of the conversation, so that only the owner may read the file. A thread writes it, so that no
call waits for the disk. A record is on disk within half a second, an error at once. Where the disk is full records are
lost, which is counted and logged once, until there is room again; no call notices it.
"""

import os
import queue
import stat
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.messages import EmbedRequest, LLMRequest, LLMResponse, RerankRequest
from three_mode.messages.wire import encode_error
from three_mode.observe.call_figures import CallFigures, CallRecord
from three_mode.observe.logs import logger
from three_mode.providers.refusals import SECRET_HEADERS, without_keys

_BATCH = 256 * 1024  # bytes that are written at once
_ERROR = b'"error":{"kind"'  # in the record of a call that failed
R = TypeVar("R", bound=LLMRequest | EmbedRequest | RerankRequest)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """Options of the records."""

    path: str | Path  #: file that records are appended to
    waiting: int = 10_000  #: most records that wait for the disk; more are dropped, counted and logged
    flush: float = 0.2  #: most seconds that a record waits for others to be written with it


class RecordWriter:
    """Appends records to one file. `close()` writes those that wait."""

    def __init__(self, options: RecordOptions) -> None:
        self._options = options
        self._queue: queue.Queue[bytes | None] = queue.Queue(options.waiting)
        self._thread: threading.Thread | None = None
        self.written = self.dropped = 0
        self._failing = self._closed = False
        try:
            self._file = _RecordFile(options.path)
        except OSError as error:
            raise ConfigurationError(
                f"records cannot be written to {Path(options.path).name}: {error.strerror}"
            ) from None

    def record(
        self,
        figures: CallFigures,
        request: LLMRequest | EmbedRequest | RerankRequest | None = None,
        reply: LLMResponse | None = None,
        error: BaseException | None = None,
    ) -> None:
        """Queues the record of one call."""
        record = CallRecord(
            **{name: getattr(figures, name) for name in figures.__struct_fields__},
            at=datetime.now(UTC),
            cost=figures.paid,
            request=None if request is None else masked_request(request),
            reply=reply,
            error=_encoded(error),
        )
        self._put(msgspec.json.encode(record) + b"\n")

    def close(self) -> None:
        """Writes the records that wait, and closes the file."""
        if self._closed:
            return
        self._closed = True
        if self._thread is None:
            self._file.close()
        else:
            self._queue.put(None)
            self._thread.join(timeout=5.0)

    def _put(self, line: bytes) -> None:
        if self._closed:
            self._put_late(line)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="three-mode-records", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1
            if self.dropped == 1 or self.dropped % 1000 == 0:
                logger.warning("records_dropped", extra={"event": "records_dropped", "dropped": self.dropped})

    def _put_late(self, line: bytes) -> None:
        """Writes the record of a call that ended after its connection was closed, for example after a retry."""
        try:
            file = _RecordFile(self._options.path)
        except OSError as error:
            self._failed(error, 1)
            return
        self._append(file, [line])
        file.close()

    def _write(self) -> None:
        """Writes what waits, a batch at a time, until `close`; then closes the file."""
        line = self._queue.get()
        while line is not None:
            batch, size, until = [line], len(line), time.monotonic() + self._options.flush
            urgent = _ERROR in line
            try:
                while not urgent and size < _BATCH:
                    line = self._queue.get(timeout=max(0.0, until - time.monotonic()))
                    if line is None:
                        break
                    batch.append(line)
                    size += len(line)
                    urgent = _ERROR in line
            except queue.Empty:
                pass
            self._append(self._file, batch)
            if line is not None:
                line = self._queue.get()
        self._file.close()

    def _append(self, file: "_RecordFile", lines: list[bytes]) -> None:
        written, error = file.append(lines)
        self.written += written
        if error is not None:
            self._failed(error, len(lines) - written)
        else:
            self._failing = False

    def _failed(self, error: OSError, lost: int) -> None:
        """Counts records that are lost, and says so once until some can be written again."""
        self.dropped += lost
        if not self._failing:
            self._failing = True
            logger.error("records_failed", extra={"event": "records_failed", "error": str(error), "lost": lost})


class _RecordFile:
    """File of lines. A line that was written in part, because the disk was full, ends before the next one begins."""

    def __init__(self, path: str | Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
        known = os.fstat(self._descriptor)
        regular = stat.S_ISREG(known.st_mode) and known.st_size > 0
        self._torn = regular and os.pread(self._descriptor, 1, known.st_size - 1) != b"\n"

    def append(self, lines: list[bytes]) -> tuple[int, OSError | None]:
        """How many lines were written, and why not the others."""
        data = memoryview(b"".join([b"\n" * self._torn, *lines]))
        done, missing = 0, self._torn
        try:
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError as error:
            sent = bytes(data[:done])
            self._torn = not sent.endswith(b"\n") if sent else self._torn
            return max(0, sent.count(b"\n") - missing), error
        self._torn = False
        return len(lines), None

    def close(self) -> None:
        """Closes it."""
        os.close(self._descriptor)


def _encoded(error: BaseException | None) -> dict[str, Any] | None:
    """An error as plain data; None for that of a call whose caller left."""
    if isinstance(error, ThreeModeError):
        return encode_error(error)
    if not isinstance(error, Exception):
        return None
    return {"kind": [type(error).__name__], "message": str(error)}  # a hook of the program's raised it


def masked_request(request: R) -> R:
    """Copy of the request without the keys that its `extra_headers` may hold."""
    headers = request.extra.get("extra_headers")
    if not isinstance(headers, dict):
        return request
    masked = {
        name: "[masked]" if str(name).lower() in SECRET_HEADERS else without_keys(str(value))
        for name, value in headers.items()
    }
    return msgspec.structs.replace(request, extra={**request.extra, "extra_headers": masked})

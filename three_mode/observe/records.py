"""Records of calls: each request with its reply or error, its time and its cost, as a line of JSON. Off by default.

A record holds the text of the conversation, so that only the owner may read the file. A thread writes it, so that no
call waits for the disk. A record is on disk within half a second, an error at once.
"""

import os
import queue
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.messages.wire import encode_error
from three_mode.observe.logs import logger
from three_mode.providers.refusals import SECRET_HEADERS, without_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordOptions:
    """Options of the records."""

    path: str | Path  #: file that records are appended to
    waiting: int = 10_000  #: most records that wait for the disk; more are dropped, counted and logged
    flush: float = 0.2  #: seconds without a new record before the file is flushed


class RecordWriter:
    """Appends records to one file. `close()` writes those that wait."""

    def __init__(self, options: RecordOptions) -> None:
        self._options = options
        self._queue: queue.Queue[bytes | None] = queue.Queue(options.waiting)
        self._thread: threading.Thread | None = None
        self.written = self.dropped = 0
        try:
            self._file = _opened(options.path)
        except OSError as error:
            raise ConfigurationError(
                f"records cannot be written to {Path(options.path).name}: {error.strerror}"
            ) from None

    def record(
        self,
        request_id: str,
        request: LLMRequest,
        reply: LLMResponse | None,
        error: ThreeModeError | None,
        latency: float,
        first_content: float | None,
    ) -> None:
        """Queues the record of one call. Times are in seconds."""
        line: dict[str, Any] = {
            "request_id": request_id,
            "at": datetime.now(UTC),
            "latency": latency,
            "first_content": first_content,
            "request": masked_request(request),
        }
        if reply is not None:
            line |= {
                "provider": reply.provider,
                "model": reply.model,
                "cost": reply.usage.cost,
                "reply": reply,
            }
        if error is not None:
            line["error"] = encode_error(error)
        self._put(msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        """Writes the records that wait, and closes the file."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=5.0)
            self._thread = None
        self._file.close()

    def _put(self, line: bytes) -> None:
        if self._file.closed:
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
            with _opened(self._options.path) as file:
                file.write(line)
            self.written += 1
        except OSError as error:
            logger.error("records_failed", extra={"event": "records_failed", "error": str(error)})

    def _write(self) -> None:
        while True:
            dirty = False
            try:
                line = self._queue.get()
                while line is not None:
                    self._file.write(line)
                    self.written += 1
                    dirty = True
                    if b'"error":{"kind"' in line:
                        break
                    line = self._queue.get(timeout=self._options.flush)
            except queue.Empty:
                pass
            except OSError as error:
                logger.error("records_failed", extra={"event": "records_failed", "error": str(error)})
            try:
                if dirty:
                    self._file.flush()
            except OSError as error:
                logger.error("records_failed", extra={"event": "records_failed", "error": str(error)})
            if line is None:
                return


def _opened(path: str | Path) -> BinaryIO:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "ab", buffering=256 * 1024)


def masked_request(request: LLMRequest) -> LLMRequest:
    """Copy of the request without the keys that its `extra_headers` may hold."""
    headers = request.extra.get("extra_headers")
    if not isinstance(headers, dict):
        return request
    masked = {
        name: "[masked]" if str(name).lower() in SECRET_HEADERS else without_keys(str(value))
        for name, value in headers.items()
    }
    return msgspec.structs.replace(request, extra={**request.extra, "extra_headers": masked})

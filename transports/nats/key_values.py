"""One bucket of JetStream's key-value store, over a connection that comes and goes.

A key is replaced only by whoever knows its revision, so that of two writers who have read the same one, one learns that
the other was first. A revision is a number of the whole bucket: none is used twice, also not after a delete.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from transports.nats.connection import NatsConnection
from transports.nats.errors import NatsError, NatsUnreachable, NoJetStream, OtherRevision

_LOOK_AGAIN = 0.05  # seconds between looks whether the connection is back
_WRONG_LAST_SEQUENCE = 10071  # code of JetStream
_ANSWER_WITHIN = 5.0  # seconds for one answer of the server


@dataclass(frozen=True)
class ValueOf:
    """What a key has: a value and its revision; None where it was deleted, with the revision of that."""

    value: bytes | None
    revision: int


class KeyValues:
    """One bucket. `within`: seconds in which a lost connection may come back, for each call."""

    def __init__(self, connection: NatsConnection, bucket: str, within: float) -> None:
        self._connection, self.bucket, self._within = connection, bucket, within
        self._of: tuple[Any, Any] = (None, None)  # client, and the bucket as that client has it

    async def max_payload(self) -> int:
        """Return the bytes of one message that the server takes; NatsUnreachable where there is no connection."""
        return int((await self._present_client()).max_payload)

    async def open(self) -> None:
        """Take the bucket, or make it; NoJetStream where the server has none."""
        await self._call(lambda bucket: bucket.status(), make=True)

    async def get(self, key: str) -> ValueOf | None:
        """Return what a key has now; None where it never had a value."""
        from nats.js.errors import KeyNotFoundError

        try:
            found = await self._call(lambda bucket: bucket.get(key))
        except KeyNotFoundError as gone:
            return ValueOf(None, gone.entry.revision) if gone.entry is not None else None
        return ValueOf(found.value or b"", found.revision)

    async def replace(self, key: str, value: bytes, revision: int) -> int:
        """Write a value where the key has this revision, 0 for none; return the new one, or raise OtherRevision."""
        from nats.js.errors import KeyWrongLastSequenceError

        try:
            return int(await self._call(lambda bucket: bucket.update(key, value, last=revision)))
        except KeyWrongLastSequenceError:
            raise OtherRevision(f"{key} in {self.bucket} has another revision than {revision}") from None

    async def delete(self, key: str, revision: int = 0) -> None:
        """Delete a key where it has this revision, or raise OtherRevision; 0: whatever it has."""
        from nats.js.errors import APIError

        async def work(bucket: Any) -> None:
            try:
                await bucket.delete(key, last=revision or None)
            except APIError as error:
                if error.err_code == _WRONG_LAST_SEQUENCE:
                    raise OtherRevision(f"{key} in {self.bucket} has another revision than {revision}") from None
                raise

        await self._call(work)

    async def _call(self, work: Any, make: bool = False) -> Any:
        """Have the server do something; NatsError where it does not, or where nobody knows whether it did."""
        from nats.errors import Error, NoRespondersError
        from nats.js.errors import (
            APIError,
            KeyNotFoundError,
            KeyWrongLastSequenceError,
            NoStreamResponseError,
            ServiceUnavailableError,
        )

        client = await self._present_client()
        try:
            return await work(await self._bucket_of(client, make))
        except (KeyNotFoundError, KeyWrongLastSequenceError):
            raise
        except (ServiceUnavailableError, NoRespondersError, NoStreamResponseError) as error:
            raise NoJetStream(f"{self._connection.options.shown} has no JetStream for this: {_text(error)}") from None
        except APIError as error:
            raise NatsError(f"JetStream refused {self.bucket}: {_text(error)}") from None
        except (TimeoutError, OSError, Error) as error:
            raise NatsUnreachable(f"{self._connection.options.shown} does not answer: {_text(error)}") from None

    async def _bucket_of(self, client: Any, make: bool) -> Any:
        from nats.js.errors import BucketNotFoundError

        known, bucket = self._of
        if known is not client:
            stream = client.jetstream(timeout=min(_ANSWER_WITHIN, self._within))
            try:
                bucket = await stream.key_value(self.bucket)
            except BucketNotFoundError:
                if not make:
                    raise
                bucket = await stream.create_key_value(bucket=self.bucket, history=1)
            self._of = client, bucket
        return bucket

    async def _present_client(self) -> Any:
        ends = time.monotonic() + self._within
        while (client := self._connection.client) is None:
            if time.monotonic() > ends:
                raise self._no_connection()
            await asyncio.sleep(_LOOK_AGAIN)
        return client

    def _no_connection(self) -> NatsUnreachable:
        return NatsUnreachable(f"there is no connection to {self._connection.options.shown}")


def _text(error: Exception) -> str:
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__

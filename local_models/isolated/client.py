"""Backend of a model in a worker process; after a crash the next call starts another process."""

import asyncio
import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from local_models.backend import Claim, Deliver, GenerationRequest, LoadedModel, RunningCall, Take
from local_models.errors import LocalModelError, ModelClosed, WorkerDied
from local_models.isolated import wire
from local_models.options import LoadOptions, Lora
from local_models.replies import Statistics

LOAD_SECONDS = 300.0  # longest load
END_SECONDS = 5.0  # longest end of a worker before it is killed
ANSWER_SECONDS = 600.0  # longest answer to a method other than a call


class IsolatedBackend:
    """Backend whose engine is in a worker process. Running calls of a worker that dies end with `WorkerDied`.

    `claim` is asked before the cache in the worker grows. Another worker begins with what the last one had claimed.
    """

    def __init__(self, path: str, options: LoadOptions, claim: Claim | None = None) -> None:
        self._path = path
        self._claim = claim
        self._options = msgspec.structs.replace(options, isolated=False)
        self._numbers = itertools.count(1)
        self._calls: dict[int, Deliver] = {}
        self._results: dict[int, asyncio.Future[Any]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._closed: bool = False
        self._loaded: LoadedModel | None = None
        self.restarts = 0

    @classmethod
    async def start_worker(cls, path: str, options: LoadOptions, claim: Claim | None = None) -> "IsolatedBackend":
        """Starts a worker process and waits until it has loaded the model."""
        backend = cls(path, options, claim)
        await backend._connect()
        return backend

    @property
    def loaded(self) -> LoadedModel:
        assert self._loaded is not None
        return self._loaded

    @property
    def pid(self) -> int:
        """Process id of the worker; 0: there is none."""
        return self._process.pid if self._process else 0

    async def _connect(self) -> None:
        parent_end, worker_end = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)}
        with worker_end:
            self._process = await asyncio.to_thread(
                subprocess.Popen,
                [sys.executable, "-m", "local_models.isolated.worker", str(worker_end.fileno())],
                pass_fds=[worker_end.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        reader, self._writer = await asyncio.open_connection(sock=parent_end, limit=1 << 20)
        try:
            self._writer.write(wire.frame(wire.LoadModel(self._path, self._options)))
            async with asyncio.timeout(LOAD_SECONDS):
                ready = await self._receive(reader)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError) as error:
            await self._end_process()
            raise WorkerDied(
                f"the worker process ended while it loaded {self._path}", hint="most often for lack of memory"
            ) from error
        except BaseException:
            await asyncio.shield(self._end_process())
            raise
        assert isinstance(ready, wire.WorkerReady)
        if ready.problem is not None:
            await self._end_process()
            raise ready.problem.error()
        self._loaded = ready.loaded
        self._reading = asyncio.create_task(self._read_messages(reader))

    @staticmethod
    async def _receive(reader: asyncio.StreamReader) -> wire.FromWorker:
        (length,) = wire.LENGTH.unpack(await reader.readexactly(wire.LENGTH.size))
        message: wire.FromWorker = wire.from_worker.decode(await reader.readexactly(length))
        return message

    async def _read_messages(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                message = await self._receive(reader)
                if isinstance(message, wire.StepItems):
                    for number, item in message.items:
                        self._deliver(number, item)
                elif isinstance(message, wire.MethodResult):
                    self._set_result(message)
                elif isinstance(message, wire.ClaimCache):
                    self._answer_claim(message)
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            pass
        finally:
            self._connection_lost()

    def _answer_claim(self, message: wire.ClaimCache) -> None:
        granted = self._claim is None or self._claim(message.cache_bytes)
        if self._writer is not None:
            self._writer.write(wire.frame(wire.ClaimResult(message.number, granted)))

    def _deliver(self, number: int, item: Any) -> None:
        deliver = self._calls.get(number)
        if deliver is None:
            return
        if isinstance(item, wire.WireError):
            del self._calls[number]
            deliver(item.error())
        else:
            if item.finish is not None:
                del self._calls[number]
            deliver(item)

    def _set_result(self, message: wire.MethodResult) -> None:
        future = self._results.pop(message.number, None)
        if future is None or future.done():
            return
        if message.problem is not None:
            future.set_exception(message.problem.error())
        else:
            future.set_result(message.value)

    def _connection_lost(self) -> None:
        """Ends all calls and methods: the worker has gone."""
        writer = self._writer
        self._writer = None
        if writer is not None:
            writer.close()
        code = self._process.poll() if self._process else None
        error: LocalModelError = ModelClosed("the model was closed under this call")
        if not self._closed:
            error = WorkerDied(
                f"the worker process of this model ended (exit {code})", hint="the next call starts another"
            )
        calls, self._calls = self._calls, {}
        for deliver in calls.values():
            deliver(error)
        results, self._results = self._results, {}
        for future in results.values():
            if not future.done():
                future.set_exception(error)

    async def _connected(self) -> asyncio.StreamWriter:
        if self._closed:
            raise ModelClosed("the model is closed")
        async with self._starting:
            if self._writer is None:
                await self._end_process()
                self.restarts += 1
                await self._connect()
            assert self._writer is not None
            return self._writer

    async def start(self, request: GenerationRequest, deliver: Deliver) -> RunningCall:
        writer = await self._connected()
        number = next(self._numbers)
        frame = wire.frame(wire.StartCall(number, request))
        self._calls[number] = deliver
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            try:
                loop.call_soon_threadsafe(self._cancel, number)
            except RuntimeError:
                pass  # the loop is closed: the worker ends with it

        writer.write(frame)
        try:
            await writer.drain()
        except ConnectionError:
            pass  # the reading task meets it too, and ends the call
        except BaseException:  # the caller gave up while the worker was not reading
            self._cancel(number)
            raise
        return RunningCall(cancel)

    def start_at_once(self, request: GenerationRequest, deliver: Deliver, take: Take) -> RunningCall | None:
        return None  # the engine is in another process

    def _cancel(self, number: int) -> None:
        if self._calls.pop(number, None) is not None and self._writer is not None:
            self._writer.write(wire.frame(wire.CancelCall(number)))

    async def _run_method(self, method: str, *arguments: Any) -> Any:
        writer = await self._connected()
        number = next(self._numbers)
        future = self._results[number] = asyncio.get_running_loop().create_future()
        try:
            writer.write(wire.frame(wire.RunMethod(number, method, arguments)))
            async with asyncio.timeout(ANSWER_SECONDS):
                return await future
        except TimeoutError as error:
            raise WorkerDied("the worker process of this model does not answer") from error
        finally:
            self._results.pop(number, None)

    async def tokenize(
        self, parts: Sequence[str], *, start: bool, special: bool, pictures: Sequence[bytes] = ()
    ) -> list[int]:
        result: list[int] = await self._run_method("tokenize", list(parts), start, special, list(pictures))
        return result

    async def detokenize(self, tokens: Sequence[int]) -> str:
        return str(await self._run_method("detokenize", list(tokens)))

    async def embed(self, texts: Sequence[str | Sequence[int]]) -> list[list[float]]:
        result: list[list[float]] = await self._run_method("embed", list(texts))
        return result

    async def rank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        scores, tokens = await self._run_method("rank", query, list(documents))
        return scores, tokens

    async def save(self, tokens: list[int]) -> tuple[tuple[int, ...], bytes]:
        held, state = await self._run_method("save", tokens)
        return tuple(held), bytes(state)

    async def restore(self, tokens: list[int], state: bytes) -> bool:
        return bool(await self._run_method("restore", tokens, state))

    async def set_lora(self, adapters: Sequence[Lora]) -> None:
        await self._run_method("set_lora", [(lora.path, lora.scale) for lora in adapters])

    async def statistics(self) -> Statistics:
        result = msgspec.convert(await self._run_method("statistics"), Statistics)
        return msgspec.structs.replace(result, restarts=self.restarts)

    async def _end_process(self) -> None:
        process, self._process = self._process, None
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def close(self) -> None:
        """Ends the calls and the worker process."""
        self._closed = True
        writer = self._writer
        if writer is not None:
            writer.close()  # the worker ends when its end of the socket is closed
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._end_process()

    def abandon(self) -> None:
        """Kills the worker, for the finalizer of a model that was never closed."""
        self._closed = True
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

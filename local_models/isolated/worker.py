"""Worker process of an isolated model: `python -m local_models.isolated.worker SOCKET`. It ends with its parent."""

import asyncio
import itertools
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from local_models.backend import Claim, ModelBackend, RunningCall
from local_models.errors import EngineFailed, LocalModelError, translate_errors
from local_models.isolated import wire
from local_models.options import LoadOptions, Lora
from local_models.replies import Piece
from local_models.transformers.address import SCHEME, is_hugging_face

LAST_WORDS = 0.1  # seconds between the failure of an engine and the end of its process
CLAIM_SECONDS = 30.0  # longest answer to a claim of memory; without one it is refused


async def _load(path: str, options: LoadOptions, end: Callable[[], None], claim: Claim) -> ModelBackend:
    """Loads a model; no process imports both of the engines. `end` ends this process, from any thread."""
    if is_hugging_face(path):
        with translate_errors("run models of Hugging Face", extra="hf"):
            from local_models.transformers.backend import TransformersBackend

        return await asyncio.to_thread(TransformersBackend, path.removeprefix(SCHEME), options, end)
    with translate_errors("run local models"):
        from local_models.engine.loading import load_backend

    return await load_backend(path, options, own_process=True, claim=claim)


class _Worker:
    """Serves the messages of one connection with one model."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._starting: dict[int, bool] = {}  # number -> still wanted
        self._running: dict[int, RunningCall] = {}
        self._items: list[tuple[int, Piece | wire.WireError]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._model: ModelBackend | None = None
        self._keeps_on_disk = False
        self._loop = asyncio.get_running_loop()
        self._claims: dict[int, Future[bool]] = {}
        self._claimed = 0
        self._claim_numbers = itertools.count(1)

    async def _next(self) -> wire.ToWorker:
        (length,) = wire.LENGTH.unpack(await self._reader.readexactly(wire.LENGTH.size))
        message: wire.ToWorker = wire.to_worker.decode(await self._reader.readexactly(length))
        return message

    def _send(self, message: wire.FromWorker) -> None:
        self._writer.write(wire.frame(message))

    async def run(self) -> None:
        first = await self._next()
        assert isinstance(first, wire.LoadModel)
        try:
            self._model = await _load(first.path, first.options, self._end_soon(), self._claim)
        except LocalModelError as error:
            self._send(wire.WorkerReady(None, wire.WireError.of(error)))
            await self._writer.drain()
            return
        self._keeps_on_disk = bool(first.options.cache_dir)
        self._send(wire.WorkerReady(self._model.loaded, None))
        while True:
            message = await self._next()
            if isinstance(message, wire.StartCall):
                self._starting[message.number] = True
                self._run_task(self._start(self._model, message))
            elif isinstance(message, wire.RunMethod):
                self._run_task(self._run_method(self._model, message))
            elif isinstance(message, wire.CancelCall):
                running = self._running.pop(message.number, None)
                if running is not None:
                    running.cancel()
                elif message.number in self._starting:  # it is still being tokenized
                    self._starting[message.number] = False
            elif isinstance(message, wire.ClaimResult):
                answer = self._claims.pop(message.number, None)
                if answer is not None:
                    answer.set_result(message.granted)

    async def end(self) -> None:
        """Lets prompts that are still to be written to disk be written."""
        if self._model is not None and self._keeps_on_disk:
            await self._model.close()

    def _claim(self, cache_bytes: int) -> bool:
        """Asks the program for memory, on a thread of the model; waits for the answer unless it is less than before."""
        number, answer = next(self._claim_numbers), Future[bool]()
        waits = cache_bytes > self._claimed
        if waits:
            self._claims[number] = answer
        try:
            self._loop.call_soon_threadsafe(self._send, wire.ClaimCache(number, cache_bytes))
            granted = not waits or answer.result(CLAIM_SECONDS)
        except (TimeoutError, RuntimeError):  # the program does not answer, or this one ends
            self._claims.pop(number, None)
            return False
        if granted:
            self._claimed = cache_bytes
        return granted

    def _end_soon(self) -> Callable[[], None]:
        """Ends the worker once callers have heard why: the next call starts another."""
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.call_soon_threadsafe(loop.call_later, LAST_WORDS, self._writer.close)

        return end

    def _run_task(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _deliverer(self, number: int) -> Callable[[Piece | LocalModelError], None]:
        def deliver(item: Piece | LocalModelError) -> None:
            if not self._items:  # first item of a step: the others of the step go with it
                asyncio.get_running_loop().call_soon(self._flush)
            if isinstance(item, LocalModelError) or item.finish is not None:
                self._running.pop(number, None)
            self._items.append((number, item if isinstance(item, Piece) else wire.WireError.of(item)))

        return deliver

    def _flush(self) -> None:
        items, self._items = self._items, []
        self._send(wire.StepItems(items))

    async def _start(self, model: ModelBackend, message: wire.StartCall) -> None:
        number = message.number
        try:
            running = await model.start(message.request, self._deliverer(number))
        except Exception as error:  # noqa: BLE001  # the caller waits for an answer
            self._send(wire.StepItems([(number, _wire_error(error))]))
        else:
            if self._starting[number]:
                self._running[number] = running
            else:
                running.cancel()
        finally:
            del self._starting[number]

    async def _run_method(self, model: ModelBackend, message: wire.RunMethod) -> None:
        arguments: list[Any] = list(message.arguments)
        try:
            if message.method == "tokenize":
                parts, start, special, pictures = arguments
                value: Any = await model.tokenize(parts, start=start, special=special, pictures=pictures)
            elif message.method == "set_lora":
                value = None
                await model.set_lora([Lora(path=path, scale=scale) for path, scale in arguments[0]])
            elif message.method in ("detokenize", "embed", "rank", "save", "restore", "statistics"):
                value = await getattr(model, message.method)(*arguments)
            else:
                raise EngineFailed(f"the worker has no method `{message.method}`")
            self._send(wire.MethodResult(message.number, value, None))
        except Exception as error:  # noqa: BLE001  # the caller waits for an answer
            self._send(wire.MethodResult(message.number, None, _wire_error(error)))


def _wire_error(error: Exception) -> wire.WireError:
    if not isinstance(error, LocalModelError):
        error = EngineFailed(f"the worker failed over this call: {error!r}")
    return wire.WireError.of(error)


async def _main(number: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the parent, and this process with it
    connection = socket.socket(fileno=number)
    reader, writer = await asyncio.open_connection(sock=connection, limit=1 << 20)
    worker = _Worker(reader, writer)
    try:
        await worker.run()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the parent closed its end, or died
    await worker.end()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # to take PyTorch's modules apart would take seconds, for which `close` would wait

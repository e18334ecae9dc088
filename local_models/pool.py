"""Pool of models under one memory budget: loads on first use, unloads the least recently used to make room, and those
that nobody has used for a while where their options say so."""

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

import msgspec

from local_models.errors import DeadlineExceeded, LocalModelError, ModelClosed, OutOfMemory, translate_errors
from local_models.files.catalogue import find
from local_models.machine import available_bytes
from local_models.model import LocalModel
from local_models.options import LoadOptions
from local_models.replies import Statistics
from local_models.transformers.address import is_hugging_face

logger = logging.getLogger("local_models")
SHARE_OF_MEMORY = 0.6  # of what is free when a pool is made, where it has no budget; the rest is for everybody else's


@dataclass(slots=True)
class _PoolEntry:
    fixed: int  # bytes of all but the KV cache
    idle_unload: float  # seconds without a user after which the model is unloaded; 0: never
    size: int = 0  # bytes of the budget
    gone: bool = False  # counts no longer
    model: LocalModel | None = None
    users: int = 0  # leases, and the loading
    loading: asyncio.Task[LocalModel] | None = None
    idle_timer: asyncio.TimerHandle | None = None

    def in_use(self) -> None:
        """Adds a user."""
        self.users += 1
        if self.idle_timer is not None:
            self.idle_timer.cancel()
            self.idle_timer = None


class Lease:
    """A model in use, in `model`. `release` gives it back without waiting and may be called again."""

    def __init__(self, model: LocalModel, on_release: Callable[[], None]) -> None:
        self.model = model
        self._release: Callable[[], None] | None = on_release

    def release(self) -> None:
        """Ends the use: the pool may unload the model from now on."""
        on_release, self._release = self._release, None
        if on_release is not None:
            on_release()


class ModelPool:
    """Models by name under a budget of bytes: `async with pool.use("tiny") as model: ...`.

    A model in use is never unloaded; `OutOfMemory` is raised where only such models could make room. `memory_bytes` is
    the budget for weights and KV caches (None: 0.6 of the memory that is free now), `options` are those of every load
    but of the `models` that have their own. `files` gives names to files of this pool: `{"brain": "brain.gguf"}`.

    `unloaded` counts the models that made room, and `rested` those that nobody had used for their `idle_unload`: the
    next use loads them again, once for all who want them then. A cache grows with its callers where the budget has room
    for that; no model is unloaded for it.
    """

    def __init__(
        self,
        memory_bytes: int | None = None,
        options: LoadOptions | None = None,
        *,
        models: Mapping[str, LoadOptions] | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.memory_bytes = memory_bytes or int(available_bytes() * SHARE_OF_MEMORY)
        self.unloaded = self.rested = 0
        self._options = options or LoadOptions()
        self._own = {name.removeprefix("gguf:"): own for name, own in (models or {}).items()}
        self._files = dict(files or {})
        self._places: OrderedDict[str, _PoolEntry] = OrderedDict()  # least recently used first
        self._room_lock = asyncio.Lock()
        self._unloading: set[asyncio.Task[None]] = set()  # models that nobody used for a while
        self._loop: asyncio.AbstractEventLoop | None = None
        self._used = 0
        self._used_lock = threading.Lock()  # caches grow on threads of their models
        self._closed = False

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the loaded models, the least recently used first."""
        return tuple(name for name, entry in self._places.items() if entry.model is not None)

    @property
    def used_bytes(self) -> int:
        """Bytes of the budget that loaded and loading models take."""
        return self._used

    async def statistics(self) -> dict[str, Statistics]:
        """Returns those of each loaded model, by its name. No model is loaded or kept for it; one that ends meanwhile,
        or does not answer, is left out."""
        there = {name: entry.model for name, entry in self._places.items() if entry.model is not None}
        answers = await asyncio.gather(*(model.statistics() for model in there.values()), return_exceptions=True)
        found = {}
        for name, answer in zip(there, answers, strict=True):
            if isinstance(answer, Statistics):
                found[name] = answer
            elif not isinstance(answer, LocalModelError):
                raise answer
        return found

    def _sizes(self, name: str, idle_bytes: int) -> tuple[int, int]:
        """Returns the bytes of a model and those of its KV cache at load; `idle_bytes` could be free for it."""
        source = self._source(name)
        if is_hugging_face(source):
            from local_models.transformers.loading import needed_bytes

            return needed_bytes(source, self._options_of(name)), 0
        with translate_errors("run local models"):  # numpy comes with the `local` extra
            from local_models.llama.opening import known_facts
            from local_models.llama.sizing import machine, plan

        summary = known_facts(str(find(source))).summary
        here = machine()
        here = msgspec.structs.replace(here, free_bytes=here.free_bytes + idle_bytes)
        options = self._options_of(name)
        load_plan = plan(summary, options, here)
        others = find(options.projector).stat().st_size if options.projector else 0
        if options.draft:
            draft = known_facts(str(find(options.draft))).summary
            tokens = load_plan.first_kv_bytes // max(summary.kv_bytes(1, options.kv_type), 1)
            others += draft.memory_bytes(tokens, options.kv_type)
        return summary.file_bytes + options.cache_bytes + others, load_plan.first_kv_bytes

    def _source(self, name: str) -> str:
        """The file that has this name here, or the name itself."""
        return self._files.get(name, name)

    def _options_of(self, name: str) -> LoadOptions:
        """The options of a model here, which the budget bounds."""
        own = self._own.get(name.removeprefix("gguf:"), self._options)
        most = min(own.memory_bytes or self.memory_bytes, self.memory_bytes)
        return msgspec.structs.replace(own, memory_bytes=most)

    @asynccontextmanager
    async def use(self, name: str, within: float | None = None) -> AsyncIterator[LocalModel]:
        """Leases a model for the block; `within` as in `lease`."""
        lease = await self.lease(name, within)
        try:
            yield lease.model
        finally:
            lease.release()

    async def lease(self, name: str, within: float | None = None) -> "Lease":
        """Loads a model if needed and keeps it loaded until the lease is released; releasing needs no waiting.

        After `within` seconds (None: no limit) it raises `DeadlineExceeded`. The loading goes on, here and when the
        caller is cancelled, and the next caller joins it.
        """
        try:
            async with asyncio.timeout(within):
                entry = await self._occupy(name)
                try:
                    model = entry.model or await self._load(name, entry)
                except BaseException:
                    self._release(name, entry)
                    raise
        except TimeoutError as error:
            if within is None or isinstance(error, DeadlineExceeded):
                raise
            raise DeadlineExceeded("load", within) from None
        return Lease(model, lambda: self._release(name, entry))

    async def _load(self, name: str, entry: _PoolEntry) -> LocalModel:
        """Loads the model, or joins the loading that another caller started."""
        loading = entry.loading
        if loading is None:
            entry.users += 1
            claim = partial(self._take, entry)
            options = msgspec.structs.replace(self._options_of(name), idle_unload=0.0)  # which is for this pool to do
            load = LocalModel.load(self._source(name), options, claim=claim)
            loading = entry.loading = asyncio.ensure_future(load)
            loading.add_done_callback(partial(self._load_done, name, entry))
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not loading.cancelled() or (task is not None and task.cancelling()):
                raise
            raise ModelClosed("the pool was closed while this model was loaded") from None

    def _load_done(self, name: str, entry: _PoolEntry, loading: "asyncio.Task[LocalModel]") -> None:
        entry.loading = None
        if not loading.cancelled() and loading.exception() is None:
            entry.model = loading.result()
        self._release(name, entry)

    def lease_at_once(self, name: str) -> "Lease | None":
        """Leases a model that is loaded already; None: it is not."""
        entry = self._places.get(name)
        if entry is None or entry.model is None or self._closed:
            return None
        self._places.move_to_end(name)
        entry.in_use()
        return Lease(entry.model, lambda: self._release(name, entry))

    def _release(self, name: str, entry: _PoolEntry) -> None:
        entry.users -= 1
        if entry.users or self._places.get(name) is not entry:
            return
        if entry.model is None:
            del self._places[name]
            self._leave(entry)
        elif entry.idle_unload and self._loop is not None and not self._loop.is_closed():
            entry.idle_timer = self._loop.call_later(entry.idle_unload, self._rest, name, entry)

    def _rest(self, name: str, entry: _PoolEntry) -> None:
        entry.idle_timer = None
        unloading = asyncio.ensure_future(self._unload_idle(name, entry))
        self._unloading.add(unloading)
        unloading.add_done_callback(self._unloading.discard)

    async def _unload_idle(self, name: str, entry: _PoolEntry) -> None:
        """Unloads a model, unless somebody uses it again by now."""
        async with self._room_lock:  # who wants it again waits until its memory is free
            if entry.users or self._places.get(name) is not entry:
                return
            self.rested += 1
            logger.info("unloaded %s, which nobody had used for %g s", name, entry.idle_unload)
            await self._unload(name, entry)

    async def _unload(self, name: str, entry: _PoolEntry) -> None:
        del self._places[name]
        try:
            if entry.model is not None:
                await entry.model.close()
        finally:
            self._leave(entry)

    def _take(self, entry: _PoolEntry, cache_bytes: int) -> bool:
        """Counts a model with a KV cache of so many bytes; False: the budget has no room for it. From any thread."""
        with self._used_lock:
            more = entry.fixed + cache_bytes - entry.size
            if entry.gone or (more > 0 and self._used + more > self.memory_bytes):
                return False
            entry.size += more
            self._used += more
            return True

    def _leave(self, entry: _PoolEntry) -> None:
        """Counts a model no longer, whatever its cache may still claim."""
        with self._used_lock:
            self._used -= entry.size
            entry.size, entry.gone = 0, True

    async def _occupy(self, name: str) -> _PoolEntry:
        self._require_open()
        self._loop = asyncio.get_running_loop()
        async with self._room_lock:
            self._require_open()
            entry = self._places.get(name)
            if entry is None:
                idle = sum(there.size for there in self._places.values() if not there.users)
                fixed, cache = await asyncio.to_thread(self._sizes, name, idle)
                entry = _PoolEntry(fixed, self._options_of(name).idle_unload)
                await self._make_room(name, entry, cache)
                self._places[name] = entry
            self._places.move_to_end(name)
            entry.in_use()
            return entry

    def _require_open(self) -> None:
        if self._closed:
            raise ModelClosed("the pool is closed")

    async def _make_room(self, name: str, entry: _PoolEntry, cache_bytes: int) -> None:
        """Counts a model, and unloads idle ones for it where that is needed."""
        size = entry.fixed + cache_bytes
        if size > self.memory_bytes:
            raise OutOfMemory(
                f"`{name}` needs {size >> 20} MiB; the budget is {self.memory_bytes >> 20} MiB",
                hint="give the models of this program a larger budget, or choose a smaller model",
            )
        while not self._take(entry, cache_bytes):
            idle = next((other for other, there in self._places.items() if not there.users), None)
            if idle is None:
                busy = ", ".join(self._places)
                raise OutOfMemory(
                    f"no room for `{name}` ({size >> 20} MiB): {busy} are in use",
                    hint="try again later, or give the models of this program a larger budget",
                )
            self.unloaded += 1
            await self._unload(idle, self._places[idle])

    async def close(self) -> None:
        """Cancels loadings and closes every model, those in use included."""
        self._closed = True
        entries, self._places = self._places, OrderedDict()
        for entry in entries.values():
            if entry.idle_timer is not None:
                entry.idle_timer.cancel()
            if entry.loading is not None:
                entry.loading.cancel()
                await asyncio.wait([entry.loading])
            if entry.model is not None:
                await entry.model.close()
            self._leave(entry)
        if self._unloading:
            await asyncio.wait(self._unloading)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

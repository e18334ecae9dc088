"""Several models under one memory budget: loaded when first asked for, the least recently used unloaded to make room."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from local_models.errors import DeadlineExceeded, ModelClosed, OutOfMemory, translate_errors
from local_models.files.catalogue import find
from local_models.gguf import check, summarize
from local_models.model import LocalModel
from local_models.options import LoadOptions


@dataclass(slots=True)
class _Place:
    size: int
    model: LocalModel | None = None
    users: int = 0  # its loading is one
    loading: asyncio.Task[LocalModel] | None = None


class Lease:
    """A model in use. Released once, without waiting."""

    def __init__(self, model: LocalModel, left: Callable[[], None]) -> None:
        self.model = model
        self._left: Callable[[], None] | None = left

    def release(self) -> None:
        left, self._left = self._left, None
        if left is not None:
            left()


class ModelPool:
    """`async with pool.use("tiny") as model:`. A model in use is never unloaded; where all are in use, the caller is told."""

    def __init__(self, memory_bytes: int, options: LoadOptions | None = None) -> None:
        self.memory_bytes = memory_bytes
        self.unloaded = 0
        self._options = options or LoadOptions()
        self._places: OrderedDict[str, _Place] = OrderedDict()  # least recently used first
        self._room = asyncio.Lock()
        self._closed = False

    @property
    def loaded(self) -> tuple[str, ...]:
        return tuple(name for name, place in self._places.items() if place.model is not None)

    @property
    def used_bytes(self) -> int:
        return sum(place.size for place in self._places.values())

    def _size(self, name: str) -> int:
        with translate_errors("run local models"):  # numpy is of the `local` extra
            from local_models.llama.sizing import machine, plan

        summary = summarize(check(str(find(name))))
        how = plan(summary, self._options, machine())
        return summary.file_bytes + how.kv_bytes

    @asynccontextmanager
    async def use(self, name: str, within: float | None = None) -> AsyncIterator[LocalModel]:
        lease = await self.lease(name, within)
        try:
            yield lease.model
        finally:
            lease.release()

    async def lease(self, name: str, within: float | None = None) -> "Lease":
        """The model, which stays loaded until the lease is released: for a user who leaves where it cannot wait. Who does not
        wait longer than `within` seconds, or leaves, stops no loading: the next one finds it further on."""
        try:
            async with asyncio.timeout(within):
                place = await self._place(name)
                try:
                    model = place.model or await self._loaded(name, place)
                except BaseException:
                    self._left(name, place)
                    raise
        except TimeoutError as error:
            if within is None or isinstance(error, DeadlineExceeded):
                raise
            raise DeadlineExceeded("load", within) from None
        return Lease(model, lambda: self._left(name, place))

    async def _loaded(self, name: str, place: _Place) -> LocalModel:
        """One loading for all who want it."""
        loading = place.loading
        if loading is None:
            place.users += 1
            loading = place.loading = asyncio.ensure_future(LocalModel.load(name, self._options))
            loading.add_done_callback(partial(self._has_loaded, name, place))
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not loading.cancelled() or (task is not None and task.cancelling()):
                raise
            raise ModelClosed("the pool was closed while this model was loaded") from None

    def _has_loaded(self, name: str, place: _Place, loading: "asyncio.Task[LocalModel]") -> None:
        place.loading = None
        if not loading.cancelled() and loading.exception() is None:
            place.model = loading.result()
        self._left(name, place)

    def lease_at_once(self, name: str) -> "Lease | None":
        """The same, if it is loaded already."""
        place = self._places.get(name)
        if place is None or place.model is None or self._closed:
            return None
        self._places.move_to_end(name)
        place.users += 1
        return Lease(place.model, lambda: self._left(name, place))

    def _left(self, name: str, place: _Place) -> None:
        place.users -= 1
        if place.model is None and not place.users:
            self._places.pop(name, None)

    async def _place(self, name: str) -> _Place:
        if self._closed:
            raise ModelClosed("the pool is closed")
        async with self._room:
            place = self._places.get(name)
            if place is None:
                size = await asyncio.to_thread(self._size, name)
                await self._make_room(name, size)
                place = self._places[name] = _Place(size)
            self._places.move_to_end(name)
            place.users += 1
            return place

    async def _make_room(self, name: str, size: int) -> None:
        if size > self.memory_bytes:
            raise OutOfMemory(f"`{name}` needs {size >> 20} MiB; the budget is {self.memory_bytes >> 20} MiB")
        while self.used_bytes + size > self.memory_bytes:
            idle = next((other for other, place in self._places.items() if not place.users), None)
            if idle is None:
                busy = ", ".join(self._places)
                raise OutOfMemory(
                    f"no room for `{name}` ({size >> 20} MiB): {busy} are in use",
                    hint="try again later, or raise the budget",
                )
            place = self._places.pop(idle)
            self.unloaded += 1
            if place.model is not None:
                await place.model.close()

    async def close(self) -> None:
        self._closed = True
        places, self._places = self._places, OrderedDict()
        for place in places.values():
            if place.loading is not None:
                place.loading.cancel()
                await asyncio.wait([place.loading])
            if place.model is not None:
                await place.model.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

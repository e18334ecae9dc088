"""Several models under one memory budget: loaded when first asked for, the least recently used unloaded to make room."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from local_models.catalogue import find
from local_models.errors import ModelClosed, OutOfMemory, foreign
from local_models.gguf import check, summarize
from local_models.model import LocalModel
from local_models.options import LoadOptions


@dataclass(slots=True)
class _Place:
    size: int
    model: LocalModel | None = None
    users: int = 0
    ready: asyncio.Lock = field(default_factory=asyncio.Lock)


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
        with foreign("run local models"):  # numpy is of the `local` extra
            from local_models.sizing import machine, plan

        summary = summarize(check(str(find(name))))
        how = plan(summary, self._options, machine())
        return summary.file_bytes + how.kv_bytes

    @asynccontextmanager
    async def use(self, name: str) -> AsyncIterator[LocalModel]:
        lease = await self.lease(name)
        try:
            yield lease.model
        finally:
            lease.release()

    async def lease(self, name: str) -> "Lease":
        """The model, which stays loaded until the lease is released: for a user who leaves where it cannot wait."""
        place = await self._place(name)
        try:
            async with place.ready:  # others who want it wait while it loads
                if place.model is None:
                    place.model = await LocalModel.load(name, self._options)
        except BaseException:
            self._left(name, place)
            raise
        return Lease(place.model, lambda: self._left(name, place))

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
            if place.model is not None:
                await place.model.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

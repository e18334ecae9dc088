"""Models for tests: the shipped tiny one, and small ones of random weights made in a folder of the run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from local_models import LoadOptions, LocalModel
from local_models.catalogue import TINY

__all__ = ["TINY", "opened", "said", "user"]


def user(text: str, system: str = "") -> list[dict[str, Any]]:
    messages = [{"role": "user", "content": text}]
    return [{"role": "system", "content": system}, *messages] if system else messages


def said(*turns: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in turns]


@asynccontextmanager
async def opened(model: str | Path = TINY, **options: Any) -> AsyncIterator[LocalModel]:
    """A model with one thread: tests share the machine."""
    chosen = LoadOptions(**{"threads": 1, "sequences": 8, "context": 512, **options})
    async with await LocalModel.load(model, chosen) as made:
        yield made

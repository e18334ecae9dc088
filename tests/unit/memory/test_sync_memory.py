"""The memory without an event loop: the same verbs, the same results."""

import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from three_mode import errors, sync
from three_mode.memory import Memory


def test_it_has_the_verbs_of_the_asynchronous_one() -> None:
    public = [name for name, value in inspect.getmembers(Memory, inspect.isfunction) if not name.startswith("_")]
    for name in public:
        if name == "tools":  # for models that run in a loop
            continue
        theirs, ours = inspect.signature(getattr(Memory, name)), inspect.signature(getattr(sync.Memory, name))
        assert list(theirs.parameters) == list(ours.parameters), name
        assert [each.default for each in theirs.parameters.values()] == [
            each.default for each in ours.parameters.values()
        ]


def test_it_remembers_and_recalls(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with sync.Memory(path, namespace="alice") as memory:
        kept = memory.remember("Alice prefers tea", source="user")
        memory.remember_many(["Tom is a cat", "Ida is a cat"], keep_for=60)
        memory.pin("user", "Name: Alice")
        assert [each.text for each in memory.recall("tea")] == ["Alice prefers tea"]
        assert memory.count() == 3
        assert len(memory.memories(limit=2)) == 2
        assert memory.recalled([{"role": "user", "content": "tea?"}])[0].text.endswith("\n\ntea?")
        other = memory.scoped("bob")
        assert other.namespace == "bob"
        assert other.recall("tea") == other.blocks() == []
        assert memory.forget(kept.id) == 1
        assert [block.label for block in memory.blocks()] == ["user"]
        assert memory.unpin("user")
        assert memory.forget_all() == 2
        with pytest.raises(errors.ConfigurationError, match="no embedding model"):
            memory.embed_missing()
    with pytest.raises(errors.ConfigurationError, match="is closed"):
        memory.count()


def test_threads_share_one(tmp_path: Path) -> None:
    with sync.Memory(tmp_path / "memory.db") as memory, ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: memory.remember(f"tea {number}"), range(40)))
        assert memory.count() == 40


async def test_it_refuses_to_block_a_loop() -> None:
    with pytest.raises(errors.ConfigurationError, match="would block the event loop"):
        sync.Memory().count()

"""Pinned blocks in the file: texts that are told at every turn."""

import sqlite3

from three_mode.errors import InvalidRequest, Overloaded
from three_mode.memory.archive import namespace_id
from three_mode.memory.schema import transaction
from three_mode.memory.values import MemoryBlock, MemoryOptions, utc


def pin(
    file: sqlite3.Connection, namespace: str, label: str, text: str, now: float, options: MemoryOptions
) -> MemoryBlock:
    """Writes a block, in the place of an earlier one with its label."""
    if len(text) > options.block_limit:
        raise InvalidRequest(
            f"the block {label!r} has {len(text)} characters, and room for {options.block_limit}",
            field="text",
            hint="say it shorter, remember() what need not be told at every turn, or raise MemoryOptions.block_limit",
        )
    with transaction(file):
        number = namespace_id(file, namespace, make=True)
        file.execute("INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?)", (number, label, text, now))
        held = file.execute("SELECT count(*) FROM block WHERE namespace = ?", (number,)).fetchone()[0]
        if held > options.most_blocks:
            raise Overloaded(
                f"the namespace {namespace!r} has {options.most_blocks} pinned blocks already",
                hint="unpin() one, or raise MemoryOptions.most_blocks",
                retryable=False,
            )
    return MemoryBlock(label=label, text=text, updated_at=utc(now))


def unpin(file: sqlite3.Connection, namespace: str, label: str) -> bool:
    """Removes a block; False where there is none of that label."""
    number = namespace_id(file, namespace)
    with transaction(file):
        return file.execute("DELETE FROM block WHERE namespace = ? AND label = ?", (number, label)).rowcount > 0


def blocks(file: sqlite3.Connection, namespace: str) -> list[MemoryBlock]:
    """The blocks of a namespace, by their labels."""
    rows = file.execute(
        "SELECT label, text, updated FROM block JOIN namespace ON namespace.id = block.namespace "
        "WHERE namespace.name = ? ORDER BY label",
        (namespace,),
    )
    return [MemoryBlock(label=label, text=text, updated_at=utc(updated)) for label, text, updated in rows]

"""What a machine has for a program: less in a container that has less."""

import os
from pathlib import Path

import pytest

from local_models import machine

GIB = 1 << 30


@pytest.fixture
def group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    return tmp_path


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    ("text", "most"), [("100000 100000", 1), ("max 100000", 512), ("150000 100000", 1), ("50000 100000", 1), ("x", 512)]
)
def test_a_container_with_fewer_cores_has_these(group: Path, text: str, most: int) -> None:
    (group / "cpu.max").write_text(text + "\n")
    assert machine.cores() == min(cores(), most)


def test_a_container_with_less_memory_has_this(group: Path) -> None:
    there = machine.available_bytes()
    assert there > 1 << 20
    (group / "memory.max").write_text(f"{1 << 20}\n")
    (group / "memory.current").write_text("400000\n")
    assert machine.available_bytes() == (1 << 20) - 400_000
    (group / "memory.stat").write_text("anon 1\ninactive_file 300000\nslab 3\n")
    assert machine.available_bytes() == (1 << 20) - 100_000
    (group / "memory.max").write_text("max\n")
    assert machine.available_bytes() > GIB // 1024

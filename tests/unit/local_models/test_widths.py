"""Widths are measured once for a file on a machine; what is on disk may be anything."""

import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_models.files.catalogue import TINY
from local_models.llama import ContextShape, Weights, widths
from local_models.llama.widths import MOST_REMEMBERED, known_width

SHAPE = ContextShape(sequences=2, tokens=512, batch=32, threads=1, unified=False)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(widths, "BUSY", float("inf"))  # other tests take the processor
    return tmp_path / "three-mode" / "widths.json"


@pytest.fixture(scope="module")
def weights() -> Iterator[Weights]:
    made = Weights(str(TINY), gpu_layers=0, mmap=True)
    yield made
    made.close()


def test_a_width_is_measured_once(cache: Path, weights: Weights) -> None:
    first = known_width(weights, str(TINY), SHAPE)
    assert cache.exists()
    changed = cache.read_text().replace("measured tokens/s", "remembered tokens/s")
    cache.write_text(changed)
    again = known_width(weights, str(TINY), SHAPE)
    assert again == (first[0], first[1].replace("measured", "remembered"))


def test_a_file_that_was_changed_is_measured_again(cache: Path, weights: Weights, tmp_path: Path) -> None:
    copy = tmp_path / "copy.gguf"
    shutil.copy(TINY, copy)
    known_width(weights, str(copy), SHAPE)
    cache.write_text(cache.read_text().replace("measured tokens/s", "remembered tokens/s"))
    os.utime(copy, (1, 1))
    assert "remembered" not in known_width(weights, str(copy), SHAPE)[1]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"a": 1}', b'{"a": {"width": "x"}}', b"\xff" * 100, b"[" * 100_000, b"null"]
)
def test_garbage_is_measured_over(cache: Path, weights: Weights, content: bytes) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)
    assert "measured" in known_width(weights, str(TINY), SHAPE)[1]
    assert b"width" in cache.read_bytes()


def test_a_remembered_width_that_cannot_be_is_measured_again(cache: Path, weights: Weights) -> None:
    known_width(weights, str(TINY), SHAPE)
    cache.write_text(cache.read_text().replace('"width":1', '"width":999').replace('"width":2', '"width":999'))
    assert known_width(weights, str(TINY), SHAPE)[0] <= 2


def test_a_folder_that_cannot_be_written_does_no_harm(cache: Path, weights: Weights) -> None:
    cache.parent.parent.joinpath("three-mode").write_text("a file where the folder should be")
    assert "measured" in known_width(weights, str(TINY), SHAPE)[1]


def test_the_file_is_bounded_and_whole_beside_many_writers(cache: Path, weights: Weights, tmp_path: Path) -> None:
    def write(number: int) -> None:
        for n in range(20):
            key = f"{number}-{n}"
            widths._write(widths._read() | {key: widths._Remembered(1, "x", float(n)) for key in [key, key + "b"]})

    many = {f"old-{n}": widths._Remembered(1, "x", 0.0) for n in range(2 * MOST_REMEMBERED)}
    widths._write(many)
    assert len(widths._read()) == MOST_REMEMBERED
    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(widths._read()) == MOST_REMEMBERED
    assert [file.name for file in cache.parent.iterdir()] == ["widths.json"]


def test_what_is_measured_beside_other_programs_is_not_remembered(
    cache: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that was first loaded on a busy machine had one sequence for ever."""
    taken = itertools.count(0, 100)
    monkeypatch.setattr(widths, "BUSY", 0.2)
    monkeypatch.setattr(widths, "seconds_of_other_programs", lambda: float(next(taken)))
    assert "measured" in known_width(weights, str(TINY), SHAPE)[1]
    assert not cache.exists()


def test_how_much_memory_is_free_does_not_matter_to_what_is_remembered(
    cache: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_most(count: int) -> ContextShape:
        return ContextShape(sequences=count, tokens=256 * count, batch=64, threads=1, unified=False)

    monkeypatch.setattr(widths, "measure_width", lambda weights, shape: (min(shape.sequences, 16), "measured"))
    assert known_width(weights, str(TINY), with_most(40))[0] == 16
    monkeypatch.setattr(widths, "measure_width", lambda weights, shape: (shape.sequences, "measured again"))
    for most, expected in ((40, 16), (22, 16), (11, 11), (64, 16)):
        assert known_width(weights, str(TINY), with_most(most)) == (expected, "measured")

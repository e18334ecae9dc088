"""Prompts that outlive their place in the KV cache, and the program: answers stay what they were."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.local_peers.random_models import model as model_file
from local_models import LoadOptions, LocalModel, Lora, ModelPool, Statistics
from local_models.engine import assembly, keeping
from local_models.engine.inprocess import InProcessBackend
from local_models.gguf import check, summarize
from local_models.llama import sizing
from tests.support.local_models.children import ROOT
from tests.support.local_models.images import data_url, png
from tests.support.local_models.models import AHOY, TINY, opened
from tests.support.local_models.projector import make_projector

SHARED = "You are a helpful agent of the team. " * 4
PROMPTS = [SHARED + f"Your number is {n} and your secret word is {n * 77}. " * 8 + " Say:" for n in range(5)]
MODEL = os.environ.get("LOCAL_KEPT_MODEL", str(TINY))
POOL = {"layout": "unified", "pool": 2048}
CACHES = [{}, POOL, {"kv_type": "q8_0"}, {**POOL, "kv_type": "q8_0"}]


async def answers(model: LocalModel, prompts: list[str] = PROMPTS) -> list[str]:
    """One after the other, so that each takes the place of another in a cache of one or two."""
    return [(await model.complete(prompt, max_tokens=8, temperature=0)).text for prompt in prompts]


@pytest.fixture(autouse=True)
def whatever_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is saved and restored, however long the machine takes."""
    monkeypatch.setattr(keeping, "SAVE_SHARE", 1e9)
    monkeypatch.setattr(keeping, "RESTORE_SHARE", 1e9)


def files_in(folder: Path) -> list[Path]:
    return list(folder.glob("*/*.kept"))


async def asked(prompts: list[str] = PROMPTS, **options: Any) -> tuple[list[str], Statistics]:
    """The answers of a model that is loaded for them and closed, and its counts."""
    async with opened(MODEL, **{"sequences": 2, "context": 1024, **options}) as model:
        return await answers(model, prompts), await model.statistics()


@pytest.mark.parametrize("cache", CACHES)
async def test_answers_are_the_same_after_a_restore_from_memory_and_from_disk(
    tmp_path: Path, cache: dict[str, Any]
) -> None:
    plain, _ = await asked(**cache)
    twice, found = await asked(PROMPTS * 2, cache_mb=256, **cache)
    assert twice == plain * 2
    assert found.kept_hits >= 3
    assert found.kept_tokens > 3 * 32
    assert found.kept_memory_bytes > 0
    first, found = await asked(cache_dir=str(tmp_path), **cache)
    assert (first, found.kept_hits) == (plain, 0)
    assert found.kept_saved_tokens > 5 * 32
    again, found = await asked(cache_dir=str(tmp_path), **cache)
    assert again == plain
    assert found.kept_hits == 5
    assert found.kept_disk_bytes >= found.kept_tokens // 2
    assert found.kept_refused == found.kept_unsaved == 0
    assert found.reused_tokens >= found.kept_tokens


async def test_a_common_beginning_is_kept_once(tmp_path: Path) -> None:
    _, found = await asked(cache_dir=str(tmp_path))
    each = summarize(check(MODEL)).kv_bytes(1)
    assert found.kept_saved_tokens * each <= found.kept_disk_bytes < found.kept_saved_tokens * each * 1.2
    whole = sum(len(prompt) for prompt in PROMPTS)
    assert 0 < found.kept_saved_tokens < whole


async def test_calls_that_run_together_write_what_they_write_alone(tmp_path: Path) -> None:
    """Restores and saves go on beside running streams."""
    plain, _ = await asked()
    for round_number in range(3):
        async with opened(MODEL, sequences=3, context=1024, cache_dir=str(tmp_path)) as model:
            calls = [model.complete(prompt, max_tokens=8, temperature=0) for prompt in PROMPTS * 2]
            assert [reply.text for reply in await asyncio.gather(*calls)] == plain * 2
            found = await model.statistics()
            assert found.kept_hits >= 4 or not round_number


async def test_a_cache_that_grows_meanwhile_takes_states_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "FIRST_SEQUENCES", 1)
    monkeypatch.setattr(assembly, "known_width", lambda *_: (8, "not measured here"))
    plain, _ = await asked(cache_dir=str(tmp_path))
    async with opened(MODEL, sequences=0, context=1024, cache_dir=str(tmp_path)) as model:
        for _ in range(4):
            calls = [model.complete(prompt, max_tokens=8, temperature=0) for prompt in PROMPTS * 2]
            assert [reply.text for reply in await asyncio.gather(*calls)] == plain * 2
        found = await model.statistics()
    assert found.kept_hits > 0
    assert found.sequences > 1


async def test_calls_that_are_left_while_they_wait_for_a_state_disturb_nobody(tmp_path: Path) -> None:
    plain, _ = await asked(cache_dir=str(tmp_path))
    async with opened(MODEL, sequences=2, context=1024, cache_dir=str(tmp_path)) as model:
        for delay in (0.0, 0.0005, 0.001, 0.002):
            calls = [asyncio.ensure_future(model.complete(prompt, max_tokens=8, temperature=0)) for prompt in PROMPTS]
            await asyncio.sleep(delay)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        assert await answers(model) == plain
        assert (await model.statistics()).running == 0


async def test_an_adapter_makes_what_was_kept_without_it_useless(tmp_path: Path) -> None:
    """And the other way round; each has its own after a restart."""
    messages = [{"role": "user", "content": "Hello! " * 20}]
    adapter = Lora(path=AHOY)

    async def said(model: LocalModel) -> str:
        for prompt in PROMPTS[:2]:  # they take both places
            await model.complete(prompt, max_tokens=1)
        return (await model.chat(messages, temperature=0, max_tokens=12)).text

    async with opened(sequences=2, context=1024) as model:
        plain = await said(model)
        await model.set_lora(adapter)
        other = await said(model)
    for _ in range(2):
        async with opened(sequences=2, context=1024, cache_dir=str(tmp_path)) as model:
            assert await said(model) == plain
            before = (await model.statistics()).kept_hits
            await model.set_lora(adapter)
            assert await said(model) == other
            await model.set_lora()
            assert await said(model) == plain
            assert (await model.statistics()).kept_hits >= before
    assert len({path.parent for path in files_in(tmp_path)}) == 2
    async with opened(sequences=2, context=1024, cache_dir=str(tmp_path), lora=(adapter,)) as model:
        assert await said(model) == other
        assert (await model.statistics()).kept_hits > 0


async def test_a_picture_in_a_kept_prompt_is_that_picture(tmp_path: Path) -> None:
    path, projector = model_file("random-3m-spm", tmp_path), make_projector(tmp_path / "mmproj.gguf", 192)
    options = {"projector": str(projector), "sequences": 2, "context": 512, "cache_dir": str(tmp_path / "kept")}

    def look(color: int) -> list[dict[str, Any]]:
        shown = {"type": "image_url", "image_url": {"url": data_url(png(64, 64, (color, 9, 9)))}}
        return [{"role": "user", "content": [{"type": "text", "text": "see this " * 10}, shown, shown, shown, shown]}]

    said = []
    for _ in range(2):
        async with opened(path, **options) as model:
            replies = [await model.chat(look(color), max_tokens=8, temperature=0) for color in (0, 120, 240)]
            said.append([reply.tokens for reply in replies])
            found = await model.statistics()
    assert said[0] == said[1]
    assert len(set(said[0])) == 3
    assert found.kept_hits == 3


PROGRAM = """
import asyncio, sys
from local_models import LoadOptions, LocalModel
from local_models.engine import keeping
keeping.SAVE_SHARE = keeping.RESTORE_SHARE = 1e9  # however long the machine takes
async def main():
    model = await LocalModel.load(sys.argv[1], LoadOptions(threads=1, sequences=2, context=1024, cache_dir=sys.argv[2]))
    for prompt in sys.argv[3:]:
        print((await model.complete(prompt, max_tokens=8, temperature=0)).tokens)
    print((await model.statistics()).kept_hits, flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


def program(folder: Path, prompts: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, MODEL, str(folder), *prompts],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip


def lines(started: "subprocess.Popen[str]", count: int) -> list[str]:
    assert started.stdout is not None
    return [started.stdout.readline().strip() for _ in range(count)]


def test_prompts_of_a_program_that_was_killed_are_there_for_the_next(tmp_path: Path) -> None:
    with program(tmp_path, PROMPTS) as first:
        try:
            *plain, hits = lines(first, len(PROMPTS) + 1)
            until = time.monotonic() + 30  # the thread that writes may be behind
            while len(files_in(tmp_path)) < len(PROMPTS):
                assert time.monotonic() < until
                time.sleep(0.01)
        finally:
            first.kill()
    assert hits == "0"
    with program(tmp_path, PROMPTS) as second:
        try:
            assert lines(second, len(PROMPTS) + 1) == [*plain, str(len(PROMPTS))]
        finally:
            second.kill()


def test_a_program_that_just_ends_has_kept_its_prompts(tmp_path: Path) -> None:
    with program(tmp_path, PROMPTS[:2]) as first:
        first.communicate("", timeout=60)
    assert first.returncode == 0
    assert len(files_in(tmp_path)) == 2


async def test_the_worker_of_an_isolated_model_keeps_prompts_too(tmp_path: Path) -> None:
    for hits in (0, 1):
        options = LoadOptions(threads=1, sequences=1, context=1024, cache_dir=str(tmp_path), isolated=True)
        async with await LocalModel.load(MODEL, options) as model:
            await answers(model, PROMPTS[:2])
            assert (await model.statistics()).kept_hits >= hits


async def test_damaged_files_are_computed_again_and_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain, _ = await asked(cache_dir=str(tmp_path))
    for path in files_in(tmp_path):
        damaged = bytearray(path.read_bytes())
        damaged[-1] ^= 1
        path.write_bytes(damaged)
    again, found = await asked(cache_dir=str(tmp_path))
    assert again == plain
    assert found.kept_refused > 0
    assert caplog.text.count("refused") == 1
    assert (await asked(cache_dir=str(tmp_path)))[1].kept_hits == len(PROMPTS)


async def test_a_state_that_llama_cpp_does_not_give_back_as_it_was_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, _ = await asked(cache_dir=str(tmp_path))
    monkeypatch.setattr("local_models.engine.keeping.same_cells", lambda *_: False)
    again, found = await asked(cache_dir=str(tmp_path))
    assert again == plain
    assert found.kept_hits == 0
    assert caplog.text.count("are not kept") == 1


async def test_memory_holds_no_more_than_it_may() -> None:
    prompts = [f"{n} " * 300 for n in range(10)]
    _, found = await asked(prompts, cache_mb=1)
    assert 0 < found.kept_memory_bytes <= 1 << 20
    assert found.kept_saved_tokens * summarize(check(MODEL)).kv_bytes(1) > 1 << 20


async def test_a_pool_counts_the_memory_for_prompts(tmp_path: Path) -> None:
    options = {"threads": 1, "sequences": 1, "context": 256}

    async def used(**more: Any) -> int:
        async with ModelPool(1 << 30, LoadOptions(**{**options, **more})) as pool, pool.use(str(TINY)):
            return pool.used_bytes

    plain = await used()
    assert await used(cache_mb=50) - plain == 50 << 20
    assert await used(cache_dir=str(tmp_path)) - plain == 32 << 20


async def test_nothing_is_kept_unless_it_is_asked_for() -> None:
    async with opened(MODEL, sequences=1) as model:
        backend = model._backend
        assert isinstance(backend, InProcessBackend)
        assert backend._engine.keeping is None

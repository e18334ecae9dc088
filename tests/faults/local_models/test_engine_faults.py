"""What must not happen under load and in failure: a leak between agents, a hang, a lost call, growing memory."""

import asyncio
import gc
import os
import random
import signal
from typing import Any

import psutil
import pytest

from local_models import EngineFailed, LoadOptions, LocalModel, WorkerDied
from local_models.engine.inprocess import InProcessBackend
from local_models.engine.tickets import Ticket
from tests.support.local_models.models import TINY, begun, held, opened, user

ENDLESS = 'root ::= "a"{900}'


def secrets(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(6)) for _ in range(count)]


@pytest.mark.parametrize("layout", ["split", "unified"])
async def test_no_agent_learns_anothers_secret(layout: str) -> None:
    """200 agents, each with its own secret, while others are cancelled and preempted at random."""
    rng = random.Random(11)
    known = secrets(200, seed=3)
    pool = 1024 if layout == "unified" else 0

    def messages(n: int) -> list[dict[str, Any]]:
        return user("What is your secret?", f"You are agent {n}. Your secret is {known[n]}.")

    async with opened(layout=layout, sequences=16, context=256, pool=pool) as model:
        alone = [(await model.chat(messages(n), temperature=0, max_tokens=24)).text for n in range(200)]
        # All places are taken: what has a higher priority takes them away.
        async with held(
            model,
            3,
            lambda: [
                asyncio.create_task(model.chat(messages(n), temperature=0, max_tokens=24, agent=f"a/{n}"))
                for n in range(200)
            ],
        ) as asked:
            noise = [
                asyncio.create_task(
                    model.chat(user(f"Count from {n} to {n + 9}."), temperature=0, priority=rng.randint(1, 2))
                )
                for n in range(60)
            ]
            await begun()
        for task in rng.sample(noise, 40):
            await asyncio.sleep(0.002)
            task.cancel()
        replies = await asyncio.gather(*asked)
        await asyncio.gather(*noise, return_exceptions=True)
        statistics = await model.statistics()
    assert [reply.text for reply in replies] == alone
    told = [any(other in reply.text for other in known[:n] + known[n + 1 :]) for n, reply in enumerate(replies)]
    assert not any(told), "an agent told another's secret"
    right = sum(known[n] in reply.text for n, reply in enumerate(replies))
    assert right == 200, f"only {right} of 200 recalled their own"
    assert statistics.preempted > 0


async def test_an_engine_that_fails_tells_every_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as model:
        backend = model._backend
        assert isinstance(backend, InProcessBackend)
        calls = [asyncio.create_task(model.complete("x", max_tokens=400, grammar=ENDLESS)) for _ in range(12)]
        await asyncio.sleep(0.02)
        monkeypatch.setattr(backend._engine.context, "decode", lambda count: -3)
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, EngineFailed) for result in done)
        with pytest.raises(EngineFailed):
            await model.complete("x")


async def test_an_engine_that_fails_over_one_new_call_tells_those_that_came_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened() as model:
        backend = model._backend
        assert isinstance(backend, InProcessBackend)
        scheduler, taken = backend._engine.cache.scheduler, [0]
        submit = scheduler.submit

        def broken(call: Any) -> None:
            taken[0] += 1
            if taken[0] == 3:
                raise RuntimeError("broken")
            submit(call)

        monkeypatch.setattr(scheduler, "submit", broken)
        async with asyncio.timeout(20):
            calls = (model.complete("x", max_tokens=400, grammar=ENDLESS) for _ in range(6))
            done = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, EngineFailed) for result in done)


async def test_a_killed_worker_ends_its_calls_and_is_replaced() -> None:
    async with opened(isolated=True) as model:
        assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"
        assert len(await model.embed("abc")) == 1
        calls = [asyncio.create_task(model.complete("x", max_tokens=400, grammar=ENDLESS)) for _ in range(4)]
        await asyncio.sleep(0.05)
        pid = model._backend.pid  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGSEGV)
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, WorkerDied) for result in done)
        assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"
        assert (await model.statistics()).restarts == 1
        pid = model._backend.pid  # type: ignore[attr-defined]
    assert not psutil.pid_exists(pid)


async def test_what_a_worker_did_not_expect_is_told_to_whoever_asked() -> None:
    async with opened(isolated=True) as model:
        with pytest.raises(EngineFailed, match="TypeError"):
            await model._backend.detokenize(["x"])  # type: ignore[list-item]  # what the model itself would refuse
        assert (await model.chat(user("Repeat: abc"), temperature=0)).text == "abc"


async def test_a_worker_streams_and_cancels_like_the_engine() -> None:
    async with opened(isolated=True) as model:
        pieces = [piece.text async for piece in model.stream(user("Count from 1 to 5."), temperature=0)]
        assert "".join(pieces) == "1 2 3 4 5"
        assert len(pieces) > 5
        async with model.stream_complete("x", max_tokens=400, grammar=ENDLESS) as stream:
            async for _ in stream:
                break
        for _ in range(200):
            statistics = await model.statistics()
            if statistics.cancelled:
                break
            await asyncio.sleep(0.01)
        assert (statistics.cancelled, statistics.running) == (1, 0)


def memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def test_load_and_unload_again_and_again_without_growth() -> None:
    options = LoadOptions(threads=1, sequences=4, context=256)
    after: list[int] = []
    for _ in range(50):
        model = await LocalModel.load(TINY, options)
        await model.chat(user("hi"), temperature=0, max_tokens=4)
        await model.close()
        after.append(memory())
    assert after[-1] - after[9] < 4 << 20, "memory grows with every load"


async def burst(model: LocalModel, count: int, start: int) -> None:
    await asyncio.gather(
        *(
            model.chat(user(f"Repeat: n{n % 97}"), temperature=0, max_tokens=3, agent=str(n % 300))
            for n in range(start, start + count)
        )
    )


async def test_memory_is_flat_over_ten_thousand_requests() -> None:
    async with opened(sequences=16, context=256) as model:
        await burst(model, 1000, 0)
        before = memory()
        for start in range(0, 10_000, 500):
            await burst(model, 500, start)
        grown = memory() - before
    assert grown < 8 << 20, f"{grown} bytes more"


async def test_a_call_that_is_over_is_forgotten_though_its_deadline_is_far() -> None:
    """One call goes on, with the nearest deadline of all; those behind it must not be kept for its sake."""
    async with opened(sequences=16, context=1024) as model:
        endless = asyncio.create_task(model.complete("x", max_tokens=900, grammar=ENDLESS, within=60))
        await asyncio.sleep(0.05)
        await burst(model, 600, 0)
        assert not endless.done()
        gc.collect()
        held = sum(isinstance(thing, Ticket) for thing in gc.get_objects())
        endless.cancel()
        await asyncio.gather(endless, return_exceptions=True)
    assert held < 300, f"{held} of 600 calls are still held"


async def test_a_model_that_nobody_closed_lets_go_of_its_thread() -> None:
    import threading

    model = await LocalModel.load(TINY, LoadOptions(threads=1, sequences=2, context=256))
    del model
    for _ in range(200):
        gc.collect()  # each time: the thread that loaded it may have held it a moment longer
        if not any(thread.name.startswith("local-model") for thread in threading.enumerate()):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"the engine goes on: {[thread.name for thread in threading.enumerate()]}")


async def test_a_call_cancelled_before_the_worker_has_begun_it_is_not_run() -> None:
    async with opened(isolated=True) as model:
        for _ in range(20):
            stream = model.stream_complete("x", max_tokens=400, grammar=ENDLESS)
            async with stream:
                pass  # cancelled in the same turn of the loop as it was sent
        for _ in range(200):
            statistics = await model.statistics()
            if not statistics.running + statistics.waiting:
                break
            await asyncio.sleep(0.01)
        assert statistics.running == statistics.waiting == statistics.finished == 0

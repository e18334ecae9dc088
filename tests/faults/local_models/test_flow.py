"""The engine's thread writes to the bus while everything around it goes wrong: readers that stop, leave or die, a ring
that is full, and the death of the model's own process. Nothing is lost or doubled, and nothing goes on for nobody.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.support.agents.until import until
from three_mode import LLMConnection, LLMRequest, Orchestrator
from three_mode.agents.handlers.declare import spec_of
from three_mode.agents.model import Model
from three_mode.agents.orchestrator import OrchestratorOptions
from three_mode.errors import DeadlineExceeded, StreamInterrupted, ThreeModeError
from three_mode.messages import Chunk, Finish, Start, TextDelta, fold
from transports.bus import BusOptions, Encoded

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(110)]
ASKER = """
import asyncio, sys
from three_mode import LLMConnection, LLMRequest
from transports.bus import Bus

async def main():
    async with await Bus.join(sys.argv[1]) as bus, LLMConnection(bus=bus) as llm:
        prompt = [{"role": "user", "content": "Count from 1 to 50."}]
        asked = LLMRequest(model="agent:brain", messages=prompt, temperature=0)
        while True:
            async for chunk in llm.stream(asked):
                print(chunk.text, flush=True)

asyncio.run(main())
"""


def request(text: str = "Count from 1 to 50.", **fields: Any) -> LLMRequest:
    return LLMRequest(
        model="agent:brain",
        messages=[{"role": "user", "content": text}],
        temperature=0,
        **{"within": 20, "max_tokens": 120, **fields},
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=1) as orc:
        await orc.model("tiny", name="brain")
        yield orc


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(city: Orchestrator) -> str:
    """What an undisturbed reader in the same process as the engine gets."""
    async with LLMConnection() as here:
        local = msgspec.structs.replace(request(), model="tiny")
        return (await here.chat_completion(local)).content


async def rests(city: Orchestrator) -> None:
    async def idle() -> bool:
        table = await city.table()
        return all(agent.state == "idle" for agent in table.agents)

    await until(idle)


def parts(city: Orchestrator, credit: int, **fields: Any) -> Any:
    """The stream as the bus has it, with a credit of our choice."""
    spec = spec_of(Model.stream_completion)
    payload = spec.schema.encode_call("brain/0", spec.name, (request(**fields),), {})
    return city.bus.stream("brain/0", Encoded(payload), topic=spec.name, within=20, credit=credit)


_chunks = msgspec.msgpack.Decoder(list[Chunk]).decode


async def test_a_reader_who_gives_little_credit_gets_all_of_it_in_order(city: Orchestrator, whole: str) -> None:
    for credit in (1, 2, 3, 64):
        async with parts(city, credit) as stream:
            batches = [_chunks(part.raw) async for part in stream]
        chunks = [chunk for batch in batches for chunk in batch]
        assert fold(chunks).content == whole
        assert [type(chunk) for chunk in chunks].count(Start) == 1
        assert type(chunks[0]) is Start
        assert type(chunks[-1]) is Finish
    await rests(city)


async def test_a_reader_who_takes_nothing_holds_up_nobody_and_misses_nothing(city: Orchestrator, whole: str) -> None:
    async with parts(city, 1) as slow:
        first = _chunks((await anext(slow)).raw)
        answers = await asyncio.gather(*(city.llm.chat_completion(request()) for _ in range(4)))
        assert {answer.content for answer in answers} == {whole}
        async with city.llm.stream(request()) as other:
            assert await other.text() == whole
        rest = [chunk async for part in slow for chunk in _chunks(part.raw)]
    assert fold([*first, *rest]).content == whole
    await rests(city)


async def test_many_at_once_get_each_their_own(city: Orchestrator, whole: str) -> None:
    async def read() -> str:
        async with city.llm.stream(request()) as stream:
            return await stream.text()

    assert set(await asyncio.gather(*(read() for _ in range(48)))) == {whole}
    await rests(city)


async def test_leaving_at_any_moment_ends_the_work(city: Orchestrator, whole: str) -> None:
    chance = random.Random(7)

    async def left(after: float) -> None:
        seen = ""
        try:
            async with asyncio.timeout(after):
                async for chunk in city.llm.stream(request()):
                    seen += chunk.text
        except TimeoutError:
            pass
        assert whole.startswith(seen)

    for number in range(60):
        await left(chance.uniform(0, 0.012))
        if number % 10 == 0:
            await asyncio.gather(*(left(chance.uniform(0, 0.03)) for _ in range(8)))
    for many in range(4):
        async with city.llm.stream(request()) as stream:
            for _ in range(many):
                await anext(stream)
    await rests(city)
    assert (await city.llm.chat_completion(request())).content == whole


async def test_a_deadline_in_the_middle_keeps_what_came(city: Orchestrator, whole: str) -> None:
    cut = 0
    for within in (0.001, 0.003, 0.006, 0.01):
        seen: list[str] = []
        asked = msgspec.structs.replace(request(), within=within)
        try:
            async for chunk in city.llm.stream(asked):
                seen += [chunk.text]
        except (StreamInterrupted, DeadlineExceeded):
            cut += 1
        assert whole.startswith("".join(seen))
    assert cut
    await rests(city)


async def test_what_the_model_refuses_is_said_by_name(city: Orchestrator) -> None:
    long = request("word " * 20_000)
    for asked in (long, request(extra={"no_such_option": 1})):
        with pytest.raises(ThreeModeError) as failed:
            async for _ in city.llm.stream(asked):
                pass
        assert type(failed.value).__name__ in ("ContextLength", "UnsupportedParameter")
    await rests(city)


async def test_a_reader_that_is_killed_leaves_nothing_running(city: Orchestrator, whole: str) -> None:
    for _ in range(3):
        asker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ASKER, city.bus.name, stdout=asyncio.subprocess.PIPE
        )
        assert asker.stdout is not None
        async with asyncio.timeout(30):
            for _ in range(20):
                assert await asker.stdout.readline()
        asker.send_signal(signal.SIGKILL)
        await asker.wait()
        asker._transport.close()  # type: ignore[attr-defined]  # of asyncio's own, which would warn
        await rests(city)
        async with city.llm.stream(request()) as stream:
            assert await stream.text() == whole


async def test_a_full_ring_and_a_carrier_without_rings_lose_nothing(whole: str) -> None:
    small = OrchestratorOptions(host_bus={"pair_bytes": 4096})
    none = OrchestratorOptions(host_bus={"carrier": "zmq"}, bus=BusOptions(label="orchestrator", carrier="zmq"))
    for options in (small, none):
        async with Orchestrator(hosts=1, options=options) as orc:
            await orc.model("tiny", name="brain")
            for _ in range(3):
                streams = [orc.llm.stream(request()) for _ in range(8)]
                firsts = await asyncio.gather(*(anext(stream) for stream in streams))
                time.sleep(0.3)  # this loop reads no ring meanwhile  # noqa: ASYNC251
                rests_of = await asyncio.gather(*(stream.text() for stream in streams))
                assert all(type(first) is Start for first in firsts)
                assert set(rests_of) == {whole}
            assert (await orc.llm.chat_completion(request())).content == whole


async def test_the_models_process_is_killed_in_the_middle(city: Orchestrator, whole: str) -> None:
    table = await city.table()
    host = next(agent.host for agent in table.agents if agent.name == "brain/0")
    pid = next(each.pid for each in table.hosts if each.label == host)
    stream = city.llm.stream(request())
    seen = [await anext(stream) for _ in range(3)]
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.05)  # it dies while what it wrote lies in the ring  # noqa: ASYNC251
    with pytest.raises(StreamInterrupted) as broken:
        await stream.text()
    assert broken.value.partial is not None
    assert whole.startswith(broken.value.partial.content)
    assert any(type(chunk) is TextDelta for chunk in seen)

    async def well() -> bool:
        try:
            return (await city.llm.chat_completion(request())).content == whole
        except ThreeModeError:
            return False

    await until(well, within=30)

"""A model that is closed, or whose program ends, while its vocabulary is read: no memory is used after it was freed."""

import pytest

from tests.support.local_models.children import run_child, survives

CLOSED = """
import asyncio, sys
from local_models import LoadOptions, LocalModel, LocalModelError
from local_models.engine.inprocess import InProcessBackend
from local_models.files.catalogue import TINY

async def main(what):
    text = "many words of a long prompt " * 3_000
    for _ in range(3):
        model = await LocalModel.load(TINY, LoadOptions(threads=1, sequences=2, context=256))
        backend = model._backend
        ask = {
            "tokenize": lambda: model.tokenize(text),
            "count": lambda: model.count([{"role": "user", "content": text}]),
            "chat": lambda: model.chat([{"role": "user", "content": text}]),
            "complete": lambda: model.complete(text),
            "embed": lambda: model.embed(text),
            "save": lambda: model.save([{"role": "user", "content": text}]),
        }[what]
        calls = [asyncio.ensure_future(ask()) for _ in range(8)]
        await asyncio.sleep(0.02)
        await model.close()
        assert backend._parts.weights._model is None, "close() has not freed the weights"
        for result in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(result, (list, int, LocalModelError)), result
    print("lives")

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("what", ["tokenize", "count", "chat", "complete", "embed", "save"])
def test_closing_waits_for_threads_that_read_the_vocabulary(what: str) -> None:
    assert "lives" in survives(run_child(CLOSED, what))


THREADS = """
import threading, time
from local_models.errors import ModelClosed
from local_models.files.catalogue import TINY
from local_models.llama import Weights

text = "many words of a long prompt " * 5_000
for _ in range(3):
    weights, closed = Weights(str(TINY), gpu_layers=0, mmap=True), []
    def read():
        try:
            while True:
                weights.tokenize(text, special=False, start=True)
        except ModelClosed:
            closed.append(True)
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.01)
    weights.close()
    for thread in threads:
        thread.join()
    assert len(closed) == 4
print("lives")
"""


def test_weights_are_freed_when_their_last_reader_has_ended() -> None:
    assert "lives" in survives(run_child(THREADS))


LEFT = """
import asyncio
from local_models import LoadOptions, LocalModel
from local_models.files.catalogue import TINY

async def main():
    global model
    model = await LocalModel.load(TINY, LoadOptions(threads=1, sequences=4, context=512))
    text = "many words of a long prompt " * 3_000
    calls = [asyncio.ensure_future(model.tokenize(text)) for _ in range(4)]
    calls += [asyncio.ensure_future(model.complete("x", max_tokens=400, grammar='root ::= "a"{900}')) for _ in range(4)]
    await asyncio.sleep(0.05)
    print("ends")

asyncio.run(main())
"""


def test_a_program_that_ends_in_the_middle_of_calls_ends_cleanly() -> None:
    for _ in range(3):
        done = run_child(LEFT)
        assert "ends" in survives(done)
        assert done.stderr == ""


FAILED = """
import asyncio, time
from local_models import EngineFailed, LoadOptions, LocalModel, LocalModelError
from local_models.files.catalogue import TINY

async def main():
    model = await LocalModel.load(TINY, LoadOptions(threads=1, sequences=2, context=256))
    calls = [asyncio.ensure_future(model.tokenize("many words of a long prompt " * 3_000)) for _ in range(8)]
    await asyncio.sleep(0.02)
    model._backend._engine.context.decode = lambda count: -3
    try:
        await model.complete("x")
    except EngineFailed:
        pass
    await model.close()
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, (list, LocalModelError)), result
    print("lives")

asyncio.run(main())
"""


def test_closing_after_the_engine_has_failed_waits_too() -> None:
    assert "lives" in survives(run_child(FAILED))

"""The front for code without a loop: the same server, another process, because here nothing else may run."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.providers.servers import hello
from three_mode import errors
from three_mode.connection import Account, ConnectionOptions
from three_mode.messages import LLMResponse, Usage
from three_mode.sync import LLMConnection, run
from transports.http2 import PoolOptions

SERVER = """
import asyncio, sys
from three_mode.testing import Fault, ScriptedProvider, Turn
async def main():
    async with ScriptedProvider("h2c") as provider:
        provider.always(lambda seen: Turn(text=("x",) * 40) if b"long" in seen.body else Turn(),
                        fault=Fault(pause=float(sys.argv[1])))
        print(provider.url, flush=True)
        while True:
            line = await asyncio.to_thread(sys.stdin.readline)
            if not line:
                return
            print(len(provider.cancelled_requests), len(provider.seen), provider.accepted, flush=True)
asyncio.run(main())
"""


class Server:
    def __init__(self, pause: float) -> None:
        root = Path(__file__).resolve().parents[3]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(pause)],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def counts(self) -> tuple[int, int, int]:
        """How many were cancelled, how many came, over how many connections."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        cancelled, seen, connections = map(int, self.process.stdout.readline().split())
        return cancelled, seen, connections

    def close(self) -> None:
        self.process.communicate("")

    def connect(self) -> LLMConnection:
        account = Account(api_key="k", base_url=self.url + "/v1")
        transport = PoolOptions(protocol="h2", trust_env=False)
        return LLMConnection("openai", options=ConnectionOptions(accounts={"openai": account}, transport=transport))


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    started = Server(getattr(request, "param", 0.0))
    yield started
    started.close()


def test_calls_and_streams(server: Server) -> None:
    with server.connect() as llm:
        assert llm.chat_completion(hello()).content == "Hello world!"
        assert "".join(chunk.text for chunk in llm.stream(hello())) == "Hello world!"
        stream = llm.stream(hello())
        assert stream.text() == "Hello world!"
        assert stream.response().usage.output_tokens == 3
        assert llm.ask("Why?", model="m") == "Hello world!"
        assert all(isinstance(outcome, LLMResponse) for outcome in llm.batch([hello()] * 5))
        assert llm.metrics.snapshot().calls == 9
        assert llm.report("model").by_model["openai/m"].requests == 9
        assert (llm.providers()["openai"].requests, llm.providers()["openai"].tokens) == (9, 135)


@pytest.mark.parametrize("server", [0.02], indirect=True)
def test_leaving_a_stream_cancels_it(server: Server) -> None:
    with server.connect() as llm:
        with llm.stream(hello("long")) as stream:
            assert next(chunk for chunk in stream if chunk.text).text == "x"
        for chunk in llm.stream(hello("long")):
            if chunk.text:
                break
        for _ in range(100):
            if server.counts()[0] == 2:
                break
            time.sleep(0.02)
        assert server.counts()[0] == 2
        assert llm.report().total.cancelled == 2, "closed, and dropped"


def test_threads_share_one_connection(server: Server) -> None:
    with server.connect() as llm:
        llm.chat_completion(hello())
        replies: list[str] = []
        threads = [
            threading.Thread(target=lambda: replies.append(llm.chat_completion(hello()).content)) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert replies == ["Hello world!"] * 20
        assert server.counts()[2] == 1


def test_errors_come_as_they_are(server: Server) -> None:
    with server.connect() as llm, pytest.raises(errors.InvalidRequest):
        llm.chat_completion(hello("gpt-4o", extra={"n": 2}))


async def test_it_refuses_to_block_a_loop() -> None:
    llm = LLMConnection("openai", api_key="k")
    with pytest.raises(errors.ConfigurationError, match="block"):
        llm.chat_completion(hello())


def test_what_was_counted_is_read_while_more_is_counted() -> None:
    with LLMConnection("openai", api_key="k") as llm:
        book, many = llm._async._services.log, 4000

        async def count() -> None:
            for number in range(many):
                model = f"m{number % 500}"
                book.ledger.add(("openai", model, None), Usage(1, 1))
                book.metrics.record("openai", model, 0.1)
                book.metrics.failed("openai", "broken", type(f"Error{number}", (errors.ServerError,), {})("no"))
                if number % 10 == 0:
                    await asyncio.sleep(0)

        counting = threading.Thread(target=run, args=(count(),))
        counting.start()
        while counting.is_alive():
            spent, seen = llm.spent(), llm.metrics.snapshot()
            assert spent.calls == spent.usage.input_tokens == spent.unpriced
            assert sum(seen.errors.values()) * 2 == seen.calls
            assert llm.budgets() == {}
        counting.join()
        assert llm.spent().calls == many


def test_a_hook_in_the_background_may_read_what_was_spent(server: Server) -> None:
    with server.connect() as llm:
        told: list[int] = []
        llm.batch([hello()] * 2, at_once=1, progress=lambda _: told.append(llm.spent().calls))
        assert told == [1, 2]

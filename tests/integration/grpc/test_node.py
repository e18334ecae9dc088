"""A client that is not Python: Node's @grpc/grpc-js, with the schemas as they are in `proto/`."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.support.serve.endpoint import endpoint
from three_mode import Agent, Orchestrator, handler, on

ROOT = Path(__file__).parents[3]
CLIENT = ROOT / "tests" / "support" / "grpc" / "node"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    NODE is None or not (CLIENT / "node_modules").is_dir(),
    reason="Node or its packages are not here: `make clients` installs them (Debian: nodejs npm)",
)


async def test_node_asks_every_method() -> None:
    class Scout(Agent):
        @handler
        async def score(self, text: str) -> float:
            return float(len(text))

        @handler
        async def count(self, to: int):
            for number in range(to):
                yield number

        @on("news.*")
        def read(self, item: dict):
            seen.append(item["id"])

    seen: list[int] = []
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Scout, 2, name="scout")
        async with endpoint(agents=orc) as found:
            process = await asyncio.create_subprocess_exec(
                str(NODE),
                str(CLIENT / "client.mjs"),
                found.url.removeprefix("http://"),
                str(ROOT / "proto"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                output, errors = await asyncio.wait_for(process.communicate(), 90)
            finally:
                if process.returncode is None:
                    process.kill()
            assert process.returncode == 0, errors.decode()
            async with asyncio.timeout(10):
                await found.backend.cancelled.wait()
                while found.backend.running:  # noqa: ASYNC110  (the model has no hook to wait on)
                    await asyncio.sleep(0.01)
    said = json.loads(output)
    assert said == {
        "whole": ["good day ", "echo", 4, "COMMUNICATION_MODE_HUMAN_AI"],
        "streamed": ["start", "good ", "day ", "usage", "finish"],
        "turns": [[1, "one ", "stop"], [2, "two ", "stop"]],
        "vectors": [[1.0, 0.5], [3.0, 0.5]],
        "models": ["echo", "agent:echo"],
        "asked": 5.0,
        "parts": [0, 1, 2],
        "told": {},
        "seen": 2,
        "health": "SERVING",
        "busy": ["UNAVAILABLE", "the mailbox is full", 1],
        "late": "DEADLINE_EXCEEDED",
        "cancelled": "CANCELLED",
    }
    assert sorted(seen) == [1, 2, 2]

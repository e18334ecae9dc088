"""Clients of other makers, each in a program of its own, against `three-mode serve`: only the address is new.

`make clients` installs them, in an environment beside that of the project, and runs these tests. Each is a row of the
table in docs/serve.md.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.clients.clerk import Clerk
from tests.support.serve.endpoint import free_port
from three_mode import LLMConnection, Orchestrator
from three_mode.serve import App, Connected, ServeOptions, serve

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "tests" / "support" / "clients"
PYTHON = ROOT / "build" / "clients" / "bin" / "python"
LOADS = ROOT / "build" / "guidellm" / "bin" / "python"
NODE = SCRIPTS / "node"
KEY = "key-of-a-test"
CITY = {"name": "Paris", "people": 7}
FINE = "fine in Paris"


@dataclass(frozen=True)
class Client:
    """A client: its script, and what that prints."""

    script: str
    prints: dict[str, Any]


CLIENTS = [
    Client(
        "python/openai_sdk.py",
        {
            "chat": "apple",
            "streamed": "apple",
            "response": "pear",
            "events": ["response.created", "response.completed"],
            "models": ["clerk"],
            "model": "clerk",
            "vectors": 2,
        },
    ),
    Client(
        "python/anthropic_sdk.py",
        {"whole": "apple", "streamed": "apple", "tool": ["tool_use", "weather", {"city": "Paris"}], "counted": True},
    ),
    Client("python/llm_command.py", {"streamed": "apple", "whole": "apple"}),
    Client(
        "python/langchain.py",
        {"asked": "apple", "streamed": "apple", "tool": ["weather", {"city": "Paris"}], "schema": CITY},
    ),
    Client("python/pydantic_ai.py", {"chat": [FINE, CITY], "responses": [FINE, CITY]}),
    Client("python/openai_agents.py", {"chat": [FINE, FINE], "responses": [FINE, FINE]}),
    Client("python/instructor_sdk.py", {"tool_call": CITY, "json_schema_mode": CITY}),
    Client("python/litellm_sdk.py", {"whole": "apple", "streamed": "apple", "messages": "apple"}),
    Client("python/smolagents_run.py", {"answer": True}),
    Client("python/dspy_predict.py", {"answer": "blue"}),
    Client("python/fastmcp_client.py", {"tools": ["clerk_weather"], "called": "fine in Paris"}),
    Client("python/a2a_client.py", {"name": "clerk", "said": "apple"}),
    Client("node/openai_sdk.mjs", {"chat": "apple", "streamed": "apple", "response": "pear"}),
    Client("node/ai_sdk.mjs", {"responses": ["apple", "apple", FINE, CITY], "chat": ["apple", "apple", FINE, CITY]}),
    Client("large/promptfoo.mjs", {"passed": 2, "failed": 0}),
    Client("large/guidellm_run.py", {"answered": 12, "failed": 0, "streamed": [True], "whole": True}),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address() -> AsyncIterator[str]:
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(Clerk, name="clerk")
        async with LLMConnection(bus=orc.bus) as llm:
            options = ServeOptions(port=free_port(), api_keys=frozenset({KEY}), only_models=frozenset({"clerk"}))
            async with serve(App(Connected(llm, orc.bus, models={"clerk": "agent:clerk"}), options, agents=orc)):
                yield f"http://127.0.0.1:{options.port}"


def tried(client: Client) -> Any:
    """The client as a case; a large one has a mark of its own."""
    marks = [pytest.mark.large] if client.script.startswith("large/") else []
    return pytest.param(client, id=Path(client.script).name, marks=marks)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("client", [tried(client) for client in CLIENTS])
async def test_a_client_works(address: str, client: Client) -> None:
    python = LOADS if client.script.startswith("large/") else PYTHON
    program = str(python) if client.script.endswith(".py") else "node"
    process = await asyncio.create_subprocess_exec(
        program,
        str(SCRIPTS / client.script),
        address,
        KEY,
        cwd=ROOT / "build",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, err.decode()[-3000:]
    assert json.loads(out.decode().strip().splitlines()[-1]) == client.prints


def test_each_client_is_a_row_of_the_table() -> None:
    table = (ROOT / "docs" / "serve.md").read_text()
    rows = set(re.findall(r"tests/support/clients/((?:python|node|large)/\w+\.\w+)", table))
    assert rows == {client.script for client in CLIENTS}
    there = {f"{path.parent.name}/{path.name}" for path in SCRIPTS.glob("*/*") if path.suffix in (".py", ".mjs")}
    assert there == rows

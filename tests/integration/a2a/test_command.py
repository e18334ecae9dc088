"""`three-mode serve --bus NAME --a2a AGENT`: agents of a running bus, asked from elsewhere."""

import httpx

from tests.support.a2a.cast import Clerk, Parrot, Waiter
from tests.support.serve.endpoint import free_port
from tests.support.serve.load import serving
from three_mode import Agent, Orchestrator
from three_mode.a2a import A2AClient, Task, TaskState


async def test_agents_of_a_running_bus_are_offered() -> None:
    port = free_port()
    kinds: tuple[type[Agent], ...] = (Clerk, Parrot, Waiter)
    async with Orchestrator(hosts=1) as orc:
        for kind in kinds:
            await orc.spawn(kind)
        async with serving(port, "--bus", orc.name, "--a2a", "clerk", within=60):
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as http:
                listed = (await http.get("/a2a")).json()["agents"]
                assert [agent["name"] for agent in listed] == ["clerk", "parrot", "waiter"]
                card = (await http.get("/.well-known/agent-card.json")).json()
                assert (card["name"], card["description"]) == ("clerk", "Books trips.")
                assert [skill["description"] for skill in card["skills"]] == ["Book a trip."]
            async with A2AClient(f"http://127.0.0.1:{port}") as clerk:  # its card is the endpoint's
                task = await clerk.send("to Rome", within=20)
            assert isinstance(task, Task)
            assert (task.status.state, task.text) == (TaskState.COMPLETED, "booked: to Rome")

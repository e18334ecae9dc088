"""`three-mode agents`, `top` and `doctor` with `--cluster`."""

import asyncio
import json
import os
import subprocess
import sys

from tests.support.cluster.cluster_cast import Scout
from tests.support.cluster.nodes import new_name, node
from tests.support.cluster.server import NatsServer, free_port


async def command(*words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "three_mode.cli",
        *words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert process.stdout is not None
    said = await process.stdout.read()
    return await process.wait(), said.decode()


async def test_commands_show_all_nodes_of_a_cluster() -> None:
    name = new_name()
    async with NatsServer() as server, node(server.url, name, "a") as here, node(server.url, name, "b") as there:
        await here.spawn(Scout, 1, name="home")
        await there.spawn(Scout, 2, name="scout")
        await here.bus.wait_for(["scout/0"], within=60)
        which = ("--cluster", server.url, "--name", name)
        code, said = await command("agents", *which, "--json")
        assert code == 0, said
        table = json.loads(said)
        nodes = {one["name"]: one for one in table["nodes"]}
        assert [len(nodes[one]["agents"]) for one in ("a", "b")] == [1, 2]
        assert {agent["name"] for agent in nodes["b"]["agents"]} == {"scout/0", "scout/1"}
        assert {"state", "mailbox", "messages", "host"} <= set(nodes["b"]["agents"][0])
        code, said = await command("agents", *which)
        assert code == 0
        assert "scout/1" in said
        assert "home/0" in said
        code, said = await command("agents", here.name)
        assert code == 0
        assert "scout/1" in said
        assert "b:" in said
        code, said = await command("top", *which, "--json", "--times", "2", "--every", "0.1")
        assert code == 0, said
        assert len([json.loads(line) for line in said.splitlines()]) == 2
        code, said = await command("agents", *which, "--letters")
        assert code == 1
        assert "each node has its own dead letters" in said
        code, said = await command("agents", "--cluster", server.url)
        assert code == 1
        assert "found by its name" in said
        code, said = await command("agents")
        assert code == 1


async def test_doctor_checks_the_server_and_the_nodes_of_a_cluster() -> None:
    name = new_name()
    async with NatsServer() as server, node(server.url, name, "a"):
        code, said = await command("doctor", "--cluster", server.url, "--name", name, "--json")
        checks = {check["name"]: check for check in json.loads(said)["checks"] if check["area"] == "cluster"}
        assert code == 0, said
        assert "nats-server 2." in checks["server"]["found"]
        assert checks["max_payload"]["found"].startswith("1048576 bytes")
        assert (checks["JetStream"]["status"], checks["tls"]["status"]) == ("absent", "limited")
        assert "ms" in checks["round trip"]["found"]
        assert "0 agents" in checks["node a"]["found"]
    code, said = await command("doctor", "--cluster", f"nats://127.0.0.1:{free_port()}", "--json")
    (check,) = [check for check in json.loads(said)["checks"] if check["area"] == "cluster"]
    assert (code, check["status"]) == (1, "broken")
    assert "no NATS server answers" in check["found"]

"""A host process and its end, as its orchestrator sees them."""

import asyncio
from typing import Any

import pytest

from three_mode.agents.host.lines import HostConfig
from three_mode.agents.supervisor import host_process
from three_mode.agents.supervisor.host_process import HostProcess
from three_mode.agents.supervisor.hosts import search_path
from three_mode.errors import PeerLost


@pytest.mark.parametrize("killed", [True, False])
async def test_an_end_is_noted_once_where_there_is_no_pidfd(monkeypatch: pytest.MonkeyPatch, killed: bool) -> None:
    """The closing socket alone shows it then."""
    monkeypatch.setattr(host_process, "_pidfd", lambda pid: None)
    failures: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    ends: list[str] = []
    process = HostProcess(HostConfig("no-such-bus", "host-1", search_path()), lambda line: None, ends.append)
    if killed:
        process.kill()
    with pytest.raises(PeerLost):
        await process.ready(20.0)
    await process.gone(20.0)
    assert len(ends) == 1
    assert ("SIGKILL" in ends[0]) is killed
    assert not failures

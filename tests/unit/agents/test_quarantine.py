"""Who goes to a quarantine when a host has ended: the order that ended it, and nobody else."""

import pytest

from tests.support.agents.agent_cast import Scout, Slow
from three_mode.agents.host.lines import HostConfig
from three_mode.agents.host.start_note import RunningStart
from three_mode.agents.supervisor.events import SupervisorEvents
from three_mode.agents.supervisor.hosts import Host, HostOptions, Hosts
from three_mode.agents.supervisor.quarantine import LOST_STARTS, Quarantine
from three_mode.agents.supervisor.restart import History, Restart
from three_mode.agents.supervisor.roster import Entry, Roster
from three_mode.agents.wire.importing import path_of
from three_mode.agents.wire.orders import SpawnOrder


class Ended(Host):
    """A host whose process has ended while it made an agent, or none."""

    start: RunningStart | None = None

    @property
    def ended_in(self) -> RunningStart | None:
        return self.start


def nothing(*_: object) -> None:
    """Does nothing."""


async def nothing_later(_: Host) -> None:
    """Does nothing."""


@pytest.fixture
def roster() -> Roster:
    roster = Roster()
    for kind in (Scout, Slow):
        name = kind.__name__.lower()
        group, numbers = roster.open_group(name, kind, SpawnOrder(name, (), path_of(kind), b""), Restart(), 3)
        for entry in roster.add(group, numbers, "host-1"):
            entry.state = "restarting"
    return roster


@pytest.fixture
def quarantine(roster: Roster) -> Quarantine:
    events = SupervisorEvents()
    hosts = Hosts(
        lambda label: HostConfig("bus", label, []), HostOptions(), events, nothing, nothing_later, nothing_later
    )
    return Quarantine(hosts, roster, events)


def host(start: RunningStart | None = None) -> Host:
    ended = Ended("host-1", History(Restart("permanent")))
    ended.start = start
    return ended


def names(entries: list[Entry]) -> list[str]:
    return [entry.name for entry in entries]


def test_an_end_that_no_start_made_suspects_nobody(roster: Roster, quarantine: Quarantine) -> None:
    assert quarantine.suspects(host(), roster.on_host("host-1")) == []


def test_the_agent_that_was_made_and_its_group_are_suspects(roster: Roster, quarantine: Quarantine) -> None:
    roster.agents["scout/2"].state = "running"
    found = quarantine.suspects(host(RunningStart("scout/1", "__init__")), roster.on_host("host-1"))
    assert names(found) == ["scout/0", "scout/1"]


def test_a_restart_in_place_is_a_suspect_alone(roster: Roster, quarantine: Quarantine) -> None:
    for entry in roster.agents.values():
        entry.state = "running"
    found = quarantine.suspects(host(RunningStart("scout/1", "__init__")), roster.on_host("host-1"))
    assert names(found) == ["scout/1"]


def test_an_order_whose_hosts_end_again_and_again_is_suspected_without_a_proof(
    roster: Roster, quarantine: Quarantine
) -> None:
    found: list[Entry] = []
    for _ in range(LOST_STARTS):
        assert found == []
        for entry in roster.agents.values():
            entry.being_made = entry.group.name == "slow"  # the others wait for their turn
        found = quarantine.suspects(host(), roster.on_host("host-1"))
    assert names(found) == ["slow/0", "slow/1", "slow/2"]


def test_an_order_that_has_ended_a_host_is_remembered_until_it_works(roster: Roster, quarantine: Quarantine) -> None:
    group = roster.groups["scout"]
    assert quarantine.culprit(group) == ""
    quarantine.remember(group, "scout/1")
    assert quarantine.culprit(group) == "scout/1"
    assert quarantine.culprit(roster.groups["slow"]) == ""
    quarantine.forgive(group)
    assert quarantine.culprit(group) == ""

"""The table as a page gets it: whole, and then what has changed, which together are the newest table."""

import json
from typing import Any

import msgspec

from three_mode.agents.wire.orders import AgentReport, HostReport, NodeTable, Table
from three_mode.page.table import CHANGING, change, shown, whole

HOST = HostReport("host-1", 7, "running", 2, 1.25, 1000, 3, 0, 0, 0, 0.0, None, None)


def agent(name: str, host: str = "host-1", **more: Any) -> AgentReport:
    first = AgentReport(name, "Scout", host, "idle", 0, "", 0.0, 0, 0, 0, 0, None, None, "")
    return msgspec.structs.replace(first, **more)


def table(*agents: AgentReport, nodes: tuple[NodeTable, ...] = ()) -> Table:
    return Table("city", 5.0, (HOST,), agents, nodes=nodes)


def test_agents_are_in_the_order_of_their_hosts_and_numbers() -> None:
    found = shown(table(agent("scout/10"), agent("scout/9"), agent("clerk/1")))
    assert [each.name for _, each in found.agents] == ["clerk/1", "scout/9", "scout/10"]


def test_a_change_has_the_rows_and_columns_that_are_new() -> None:
    before = shown(table(agent("scout/0"), agent("scout/1"), agent("scout/2")))
    now = shown(table(agent("scout/0"), agent("scout/1", messages=4, p99=0.0012345678), agent("scout/2")))
    told = json.loads(change(before, now, 3))
    assert told["of"] == 3
    assert told["agents"] == {"at": [1], "messages": [4], "p99": [0.0012346]}
    applied = json.loads(whole(before, 3))["agents"]
    for name, values in told["agents"].items():
        if name != "at":
            applied[name][1] = values[0]
    assert applied == json.loads(whole(now, 3))["agents"]


def test_the_rows_are_others_when_an_agent_moves_and_the_same_when_it_works() -> None:
    first = shown(table(agent("scout/0"))).rows
    assert shown(table(agent("scout/0", messages=9, state="busy"))).rows == first
    assert shown(table(agent("scout/0", host="host-2"))).rows != first
    assert shown(table(agent("scout/0"), agent("scout/1"))).rows != first


def test_other_nodes_come_behind_with_their_names() -> None:
    away = NodeTable("far", "here", hosts=(HOST,), agents=(agent("scout/5"),))
    own = NodeTable("near", "this one")
    told = json.loads(whole(shown(table(agent("scout/0"), nodes=(own, away))), 1))
    assert told["agents"]["node"] == ["", "far"]
    assert told["hosts"]["node"] == ["", "far"]
    assert [node["name"] for node in told["nodes"]] == ["near", "far"]


def test_long_errors_are_cut_and_all_columns_are_there() -> None:
    told = json.loads(whole(shown(table(agent("scout/0", last_error="x" * 9999))), 1))
    assert len(told["agents"]["last_error"][0]) == 300
    assert set(CHANGING) <= told["agents"].keys()

"""View of a running bus in the terminal: its tables, and the actions of keys. No I/O."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from three_mode.agents.wire.orders import AgentReport, Table

_SORTS: dict[str, Callable[[AgentReport], Any]] = {
    "messages": lambda agent: -agent.messages,
    "mailbox": lambda agent: (-agent.mailbox, -agent.doing_for),
    "p99": lambda agent: -(agent.p99 or 0.0),
    "errors": lambda agent: -agent.errors,
    "restarts": lambda agent: -agent.restarts,
    "name": lambda agent: (agent.name.partition("/")[0], _number(agent.name)),
}
_COLOURS = {
    "busy": "cyan",
    "paused": "yellow",
    "given up": "bold red",
    "restarting": "magenta",
    "idle": "dim",
}
_KEYS = "s sort  up/down choose  p pause/resume  r restart  x stop  k kill its host  q quit"
_KEY = re.compile(r"\x1b[\[O][A-Z]|.", re.DOTALL)
_OTHER_LINES = 14  # lines of a screen that are not agents


def split_keys(read: str) -> list[str]:
    """Splits text from a terminal into keys. An arrow is one key, in either mode of the terminal."""
    return [key.replace("O", "[") if key[0] == "\x1b" else key for key in _KEY.findall(read)]


class View:
    """State of the view: the sort order and the selected agent."""

    def __init__(self) -> None:
        self.sort = "messages"
        self.selected = 0  #: row of the selected agent
        self.over = False  #: whether the viewer has pressed q
        self.message = ""  #: error of the last action
        self.rates: dict[str, float] = {}  #: label of a host -> messages a second
        self._rows: list[AgentReport] = []
        self._before: dict[str, int] = {}
        self._when = 0.0

    def seen(self, table: Table) -> None:
        """Takes a new table; computes rates from the one before."""
        table = flat(table)
        passed = table.when - self._when
        if self._when and passed > 0:
            self.rates = {
                host.label: max(0, host.messages - self._before.get(host.label, host.messages)) / passed
                for host in table.hosts
            }
        self._before = {host.label: host.messages for host in table.hosts}
        self._when = table.when
        self._rows = sorted(table.agents, key=_SORTS[self.sort])
        self.selected = max(0, min(self.selected, len(self._rows) - 1))

    @property
    def rows(self) -> list[AgentReport]:
        """Agents in the sort order."""
        return self._rows

    def key(self, key: str) -> tuple[str, str] | None:
        """Handles a key. Returns an order and the name that it is for; None if only the view changes."""
        self.message = ""
        chosen = self._rows[self.selected] if self._rows else None
        if key == "q":
            self.over = True
        elif key == "s":
            names = list(_SORTS)
            self.sort = names[(names.index(self.sort) + 1) % len(names)]
            self._rows.sort(key=_SORTS[self.sort])
        elif key in ("\x1b[A", "\x1b[B"):
            self.selected = max(0, min(len(self._rows) - 1, self.selected + (1 if key == "\x1b[B" else -1)))
        elif chosen is not None and key == "p":
            return ("resume" if chosen.state == "paused" else "pause"), chosen.name
        elif chosen is not None and key == "r":
            return "restart", chosen.name
        elif chosen is not None and key == "x":
            return "stop", chosen.name
        elif chosen is not None and key == "k":
            return "kill", chosen.host
        return None


def flat(table: Table) -> Table:
    """The table with the hosts and agents of other nodes among its own: `node:host`."""
    if not table.nodes:
        return table
    hosts, agents = list(table.hosts), list(table.agents)
    for node in table.nodes:
        hosts += (msgspec.structs.replace(host, label=f"{node.name}:{host.label}") for host in node.hosts)
        agents += (msgspec.structs.replace(agent, host=f"{node.name}:{agent.host}") for agent in node.agents)
    return msgspec.structs.replace(table, hosts=tuple(hosts), agents=tuple(agents))


def _nodes(table: Table) -> RichTable:
    shown = RichTable(title="nodes", title_justify="left", box=None, header_style="dim", pad_edge=False)
    for name in ("node", "kind", "state", "version", "hosts", "agents", "problem"):
        shown.add_column(name, justify="right" if name in ("hosts", "agents") else "left", no_wrap=name != "problem")
    for node in table.nodes:
        known = node.kind == "node" and not node.problem
        silent = f"silent hosts: {', '.join(node.silent)}" if node.silent else ""
        shown.add_row(
            escape(node.name),
            node.kind,
            node.state,
            escape(node.version),
            str(len(node.hosts)) if known else "",
            str(len(node.agents)) if known else "",
            escape(node.problem or silent),
        )
    return shown


def tables(table: Table, view: View | None = None, height: int = 0) -> list[RenderableType]:
    """Tables of nodes, hosts and agents; with a view, also the keys or the last error."""
    nodes = [_nodes(table)] if table.nodes else []
    table = flat(table)
    rows = view.rows if view else sorted(table.agents, key=_SORTS["name"])
    first, shown = 0, rows
    if view is not None and height:
        room = max(5, height - _OTHER_LINES - len(table.hosts) - (len(table.nodes) + 2 if table.nodes else 0))
        first = max(0, min(view.selected - room // 2, len(rows) - room))
        shown = rows[first : first + room]
    parts: list[RenderableType] = [*nodes, _hosts(table, view), _agents(shown, view, first)]
    if len(shown) < len(rows):
        parts.append(Text(f"{len(shown)} of {len(rows)} agents", style="dim"))
    if view is not None:
        parts.append(Text(view.message or _KEYS, style="red" if view.message else "dim"))
    return parts


def _hosts(table: Table, view: View | None) -> RichTable:
    shown = RichTable(title=f"bus {table.bus}", title_justify="left", box=None, header_style="dim", pad_edge=False)
    left = ("host", "state", "blocked by")
    columns = [
        "host",
        "pid",
        "state",
        "agents",
        "cpu",
        "memory",
        "messages",
        "errors",
        "letters",
        "p50",
        "p99",
        "restarts",
    ]
    if view is not None:
        columns.insert(7, "per s")
    if any(host.blocked for host in table.hosts):
        columns.append("blocked by")
    for name in columns:
        shown.add_column(name, justify="left" if name in left else "right", no_wrap=name != "blocked by")
    for host in table.hosts:
        cells = {
            "host": escape(host.label),
            "pid": str(host.pid),
            "state": host.state,
            "agents": str(host.agents),
            "cpu": f"{host.cpu_percent:.0f} %",
            "memory": f"{host.memory / 1e6:.0f} MB",
            "messages": f"{host.messages:,}",
            "per s": f"{view.rates.get(host.label, 0.0):,.0f}" if view else "",
            "errors": str(host.errors),
            "letters": str(host.dead_letters),
            "p50": _time(host.p50),
            "p99": _time(host.p99),
            "restarts": str(host.restarts),
            "blocked by": escape(host.blocked),
        }
        shown.add_row(*(cells[name] for name in columns))
    return shown


def _agents(rows: list[AgentReport], view: View | None, first: int) -> RichTable:
    shown = RichTable(box=None, header_style="dim", pad_edge=False)
    for name in (
        "agent",
        "class",
        "host",
        "state",
        "mailbox",
        "doing",
        "messages",
        "errors",
        "p50",
        "p99",
        "restarts",
    ):
        left = name in ("agent", "class", "host", "state", "doing")
        chosen = view is not None and view.sort == ("name" if name == "agent" else name)
        shown.add_column(name + " v" * chosen, justify="left" if left else "right", no_wrap=True)
    shown.add_column(Text("last error", no_wrap=True, overflow="ellipsis"))  # shrinks in a narrow terminal
    for row, agent in enumerate(rows, first):
        doing = f"{agent.doing} {agent.doing_for:.1f} s" if agent.doing else ""
        shown.add_row(
            escape(agent.name),
            escape(agent.kind),
            escape(agent.host),
            Text(agent.state, style=_COLOURS.get(agent.state, "")),
            str(agent.mailbox),
            escape(doing),
            f"{agent.messages:,}",
            str(agent.errors),
            _time(agent.p50),
            _time(agent.p99),
            str(agent.restarts),
            Text(agent.last_error, no_wrap=True, overflow="ellipsis"),
            style="reverse" if view and view.selected == row else "",
        )
    return shown


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _number(name: str) -> int:
    number = name.partition("/")[2]
    return int(number) if number.isdigit() else 0

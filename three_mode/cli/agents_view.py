"""How a table is shown in a terminal, and what its keys do. No I/O."""

import re
from collections.abc import Callable
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table as RichTable
from rich.text import Text

from three_mode.agents.wire.orders import AgentReport, Table

_SORTS: dict[str, Callable[[AgentReport], Any]] = {
    "messages": lambda one: -one.messages,
    "mailbox": lambda one: (-one.mailbox, -one.doing_for),
    "p99": lambda one: -(one.p99 or 0.0),
    "errors": lambda one: -one.errors,
    "restarts": lambda one: -one.restarts,
    "name": lambda one: (one.name.partition("/")[0], _number(one.name)),
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
_AROUND = 14  # lines of a screen that are not agents


def split_keys(read: str) -> list[str]:
    """What a terminal gave, which may be several keys pressed quickly; an arrow is one key, in either mode of the terminal."""
    return [key.replace("O", "[") if key[0] == "\x1b" else key for key in _KEY.findall(read)]


class View:
    """What a viewer has chosen: the order, and one agent."""

    def __init__(self) -> None:
        self.sort = "messages"
        self.place = 0
        self.over = False
        self.said = ""
        self.rates: dict[str, float] = {}
        self._rows: list[AgentReport] = []
        self._before: dict[str, int] = {}
        self._when = 0.0

    def seen(self, table: Table) -> None:
        passed = table.when - self._when
        if self._when and passed > 0:
            self.rates = {
                one.label: max(0, one.messages - self._before.get(one.label, one.messages)) / passed
                for one in table.hosts
            }
        self._before = {one.label: one.messages for one in table.hosts}
        self._when = table.when
        self._rows = sorted(table.agents, key=_SORTS[self.sort])
        self.place = max(0, min(self.place, len(self._rows) - 1))

    @property
    def rows(self) -> list[AgentReport]:
        return self._rows

    def key(self, key: str) -> tuple[str, str] | None:
        """What a key orders: (what, whom); None if it only changes what is shown."""
        self.said = ""
        chosen = self._rows[self.place] if self._rows else None
        if key == "q":
            self.over = True
        elif key == "s":
            names = list(_SORTS)
            self.sort = names[(names.index(self.sort) + 1) % len(names)]
            self._rows.sort(key=_SORTS[self.sort])
        elif key in ("\x1b[A", "\x1b[B"):
            self.place = max(0, min(len(self._rows) - 1, self.place + (1 if key == "\x1b[B" else -1)))
        elif chosen is not None and key == "p":
            return ("resume" if chosen.state == "paused" else "pause"), chosen.name
        elif chosen is not None and key == "r":
            return "restart", chosen.name
        elif chosen is not None and key == "x":
            return "stop", chosen.name
        elif chosen is not None and key == "k":
            return "kill", chosen.host
        return None


def tables(table: Table, view: View | None = None, height: int = 0) -> list[RenderableType]:
    """The hosts, the agents, and in `top` what the keys do."""
    rows = view.rows if view else sorted(table.agents, key=_SORTS["name"])
    first, shown = 0, rows
    if view is not None and height:
        room = max(5, height - _AROUND - len(table.hosts))
        first = max(0, min(view.place - room // 2, len(rows) - room))
        shown = rows[first : first + room]
    parts: list[RenderableType] = [_hosts(table, view), _agents(shown, view, first)]
    if len(shown) < len(rows):
        parts.append(Text(f"{len(shown)} of {len(rows)} agents", style="dim"))
    if view is not None:
        parts.append(Text(view.said or _KEYS, style="red" if view.said else "dim"))
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
    shown.add_column(
        Text("last error", no_wrap=True, overflow="ellipsis")
    )  # the one that gives way where the terminal is narrow
    for place, one in enumerate(rows, first):
        doing = f"{one.doing} {one.doing_for:.1f} s" if one.doing else ""
        shown.add_row(
            escape(one.name),
            escape(one.kind),
            escape(one.host),
            Text(one.state, style=_COLOURS.get(one.state, "")),
            str(one.mailbox),
            escape(doing),
            f"{one.messages:,}",
            str(one.errors),
            _time(one.p50),
            _time(one.p99),
            str(one.restarts),
            Text(one.last_error, no_wrap=True, overflow="ellipsis"),
            style="reverse" if view and view.place == place else "",
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

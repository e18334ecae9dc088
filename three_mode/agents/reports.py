"""What a population says of itself: one line an agent, one for the process."""

import os
import time
from typing import Any

from three_mode.agents.cell import Cell, State
from three_mode.agents.metrics import Histogram
from three_mode.agents.orders import AgentReport, HostReport
from three_mode.agents.population import Population


def messages_of(cell: Cell) -> int:
    return cell.messages + sum(fanout.heard(cell) for fanout in cell.fanouts)


def agent_report(cell: Cell, host: str) -> AgentReport:
    run, latency = cell.run, cell.latency
    busy = run is not None or bool(cell.side)
    state = "busy" if busy and cell.state is State.RUNNING else cell.state.value
    if state == "running":
        state = "idle"
    return AgentReport(
        name=cell.name,
        kind=type(cell.agent).__name__,
        host=host,
        state=state,
        mailbox=len(cell.waiting or ()),
        doing=run.spec.name if run else "",
        doing_for=time.perf_counter() - run.since if run else 0.0,
        messages=messages_of(cell),
        errors=cell.errors,
        gaps=cell.gaps,
        restarts=cell.restarts,
        p50=latency.quantile(0.5) if latency else None,
        p99=latency.quantile(0.99) if latency else None,
        last_error=cell.last_error,
    )


class Meter:
    """CPU and memory of this process. psutil is loaded when it is first asked."""

    def __init__(self) -> None:
        self._process: Any = None

    def read(self) -> tuple[float, int]:
        if self._process is None:
            import psutil

            self._process = psutil.Process()
        with self._process.oneshot():
            return self._process.cpu_percent(), self._process.memory_info().rss


def host_report(population: Population, meter: Meter, lag: float) -> HostReport:
    cpu, memory = meter.read()
    cells = population.cells.values()
    latency = Histogram()
    for cell in cells:
        if cell.latency is not None:
            latency.merge(cell.latency)
    return HostReport(
        label=population.label,
        pid=os.getpid(),
        state="running",
        agents=len(cells),
        cpu_percent=cpu,
        memory=memory,
        messages=sum(map(messages_of, cells)),
        errors=sum(cell.errors for cell in cells),
        dead_letters=population.letters.count,
        restarts=0,
        lag=lag,
        p50=latency.quantile(0.5),
        p99=latency.quantile(0.99),
    )

"""Orders of a host: spawn, stop, restart, pause and resume agents, reports, dead letters, receipts and gathers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.handlers.declare import specs_of
from three_mode.agents.host.agent_news import AgentNewsForwarder
from three_mode.agents.host.forwarding import EventForwarder
from three_mode.agents.host.llm_events import LLMEventForwarder
from three_mode.agents.runtime import lifecycle
from three_mode.agents.runtime.a2a_reports import a2a_reports
from three_mode.agents.runtime.figures_reports import figures_reports
from three_mode.agents.runtime.gather_server import GatherServer
from three_mode.agents.runtime.population import Population
from three_mode.agents.runtime.reports import Meter, agent_report, host_report
from three_mode.agents.runtime.state import State
from three_mode.agents.runtime.tool_reports import tool_reports
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.importing import reload
from three_mode.agents.wire.orders import (
    AGENT_NEWS,
    A2AReport,
    EventsOrder,
    FiguresReport,
    HostSettled,
    NamesOrder,
    ReloadOrder,
    SettledOrder,
    Spawned,
    SpawnOrder,
    ToolReport,
)
from three_mode.agents.wire.watching import LogLevelOrder, SinceOrder, WatchOrder, WatchReport
from three_mode.errors import NoSuchAgent, ThreeModeError
from three_mode.messages import encode_error
from transports.bus import CallCancelled, Encoded, Request

_spawn = decoder_for(SpawnOrder)
_names = decoder_for(NamesOrder)
_reload = decoder_for(ReloadOrder)
_settled = decoder_for(SettledOrder)
_events = decoder_for(EventsOrder)
_watch = decoder_for(WatchOrder)
_since = decoder_for(SinceOrder | None)
_log_level = decoder_for(LogLevelOrder)
_ANSWER = 0.1  # share of an order's time that is kept for the way of its answer
_ANSWER_AT_MOST = 0.25  # seconds


class HostService:
    """Receiver of a host's orders, which the bus delivers to the name `host:LABEL`."""

    def __init__(
        self,
        population: Population,
        llm_events: LLMEventForwarder,
        agent_news: AgentNewsForwarder,
        lag: Callable[[], float] = lambda: 0.0,
        *,
        page_content: bool = False,
    ) -> None:
        self._population, self._lag, self._page_content = population, lag, page_content
        self._llm_events, self._agent_news = llm_events, agent_news
        self._meter = Meter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders: dict[str, Callable[[Request], Awaitable[Any]]] = {
            "spawn": self._on_spawn,
            "stop": self._on_stop,
            "restart": self._on_restart,
            "pause": self._on_pause,
            "resume": self._on_resume,
            "reload": self._on_reload,
            "report": self._on_report,
            "dead_letters": self._on_dead_letters,
            "tools": self._on_tools,
            "a2a": self._on_a2a,
            "models": self._on_models,
            "figures": self._on_figures,
            "llm_events": self._on_llm_events,
            AGENT_NEWS: self._on_agent_news,
            "watch": self._on_watch,
            "log_level": self._on_log_level,
        }

    def on_request(self, request: Request) -> None:
        """Begin with an order. The bus calls this for each order to this host."""
        if request.topic == "settled":
            self._on_settled(request)
        elif request.topic == "gather":
            GatherServer(request, self._population)
        elif request.topic in self._orders:
            task = asyncio.get_running_loop().create_task(self._answer(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            request.fail(*wire_errors.to_wire(NoSuchAgent(f"a host takes no order {request.topic!r}")))

    async def _answer(self, request: Request) -> None:
        try:
            result = await self._orders[request.topic](request)
            request.reply(Encoded(encode(result)))
        except CallCancelled:
            pass  # the caller has left
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # any error goes to the caller
            request.fail(*wire_errors.to_wire(wire_errors.of_handler(error, self._population.label, request.topic)))

    async def _on_spawn(self, request: Request) -> Spawned:
        return Spawned(_encoded(await lifecycle.spawn(_spawn(request.raw), self._population, _answer_by(request))))

    async def _on_stop(self, request: Request) -> list[str]:
        order: NamesOrder = _names(request.raw)
        return await lifecycle.stop(order.names, self._population, order.why)

    async def _on_restart(self, request: Request) -> Spawned:
        order: NamesOrder = _names(request.raw)
        until = _answer_by(request)
        return Spawned(_encoded(await lifecycle.restart(order.names, self._population, order.why, order.ticket, until)))

    async def _on_pause(self, request: Request) -> None:
        for actor in self._actors(request):
            if actor.state is State.RUNNING:
                actor.state = State.PAUSED
                for fanout in actor.fanouts:
                    fanout.update_busy(actor)

    async def _on_resume(self, request: Request) -> None:
        for actor in self._actors(request):
            if actor.state is State.PAUSED:
                actor.resume()

    async def _on_reload(self, request: Request) -> dict[str, str]:
        failed = {}
        for module in _reload(request.raw).modules:
            try:
                reload(module)
            except BaseException as error:  # noqa: BLE001  # code of a module may raise anything
                failed[module] = f"{type(error).__name__}: {error}"
        return failed

    def _actors(self, request: Request) -> list[Any]:
        actors = self._population.actors
        return [actors[name] for name in _names(request.raw).names if name in actors]

    async def _on_report(self, _: Request) -> list[Any]:
        label = self._population.label
        self._population.store_timings()
        agents = [agent_report(actor, label) for actor in self._population.actors.values()]
        return [host_report(self._population, self._meter, self._lag()), agents]

    async def _on_dead_letters(self, request: Request) -> list[Any]:
        order: SinceOrder | None = _since(request.raw)
        dead_letters, since = self._population.dead_letters, 0.0 if order is None else order.when
        return [dead_letters.count, [letter for letter in dead_letters.read() if letter.when > since]]

    async def _on_watch(self, request: Request) -> WatchReport:
        """Count for somebody who looks, and say what was counted so far."""
        if self._population.watch is None:
            from three_mode.agents.runtime.watched import PopulationWatch  # hosts that nobody looks at do without

            self._population.watch = PopulationWatch(self._population, self._page_content)
        report: WatchReport = self._population.watch.asked(_watch(request.raw))
        return report

    async def _on_log_level(self, request: Request) -> None:
        order: LogLevelOrder = _log_level(request.raw)
        logging.getLogger(order.logger or None).setLevel(order.level)

    async def _on_tools(self, _: Request) -> list[ToolReport]:
        return tool_reports(self._population.actors.values())

    async def _on_a2a(self, _: Request) -> list[A2AReport]:
        return a2a_reports(self._population.actors.values())

    async def _on_models(self, _: Request) -> list[str]:
        """The roles that have an agent which answers as a model does."""
        from three_mode.agents.model import Model  # for whoever lists models; hosts start without it

        verbs = specs_of(Model).keys()
        roles = self._population.roles.items()
        return [role for role, actors in roles if any(not verbs.isdisjoint(actor.specs) for actor in actors)]

    async def _on_figures(self, _: Request) -> list[FiguresReport]:
        return await figures_reports(self._population)

    async def _on_llm_events(self, request: Request) -> None:
        self._forwards(self._llm_events, request)

    async def _on_agent_news(self, request: Request) -> None:
        self._forwards(self._agent_news, request)

    def _forwards(self, forwarder: EventForwarder[Any], request: Request) -> None:
        order: EventsOrder = _events(request.raw)
        forwarder.listen(order.kinds, order.within)

    def _on_settled(self, request: Request) -> None:
        """Answer once no agent here is late with a broadcast, or when the order's time is over."""
        order: SettledOrder = _settled(request.raw)
        population, loop = self._population, asyncio.get_running_loop()
        done: list[Callable[[], None]] = []

        def answer() -> None:
            if not done:
                return
            stop_waiting, timer = done.pop(), timers.pop()
            timer.cancel()
            stop_waiting()
            later = population.listening_since(order.published)
            late, lost = population.unsettled.count(order.member, order.seq, later)
            failed = population.unsettled.failed(order.member, order.seq, later)
            found = HostSettled(population.listening(order.topic, later), late, lost, failed)
            if population.watch is not None:
                population.watch.settled(order, found)
            try:
                request.reply(Encoded(encode(found)))
            except CallCancelled:
                pass

        timers = [loop.call_later(order.within, answer)]
        done.append(lambda: None)
        stop_waiting = population.unsettled.when_settled(order.member, order.seq, answer)
        if done:
            done[0] = stop_waiting

        def give_up(_: str) -> None:
            done.clear()
            for timer in timers:
                timer.cancel()

        request.on_cancel(give_up)


def _answer_by(request: Request) -> float:
    """Return the time until which a host may wait for slow agents, so that its answer about the others is in time."""
    return request.deadline - min(_ANSWER * request.remaining(), _ANSWER_AT_MOST)


def _encoded(failed: dict[str, ThreeModeError]) -> dict[str, dict[str, Any]]:
    return {name: encode_error(error) for name, error in failed.items()}

"""Figures of the connections of a process: the one of its agents, and those of models that are agents."""

import sys

from three_mode.agents.runtime.population import Population
from three_mode.agents.wire.orders import FiguresReport

_MODEL = "three_mode.agents.model"


async def figures_reports(population: Population) -> list[FiguresReport]:
    """Ask each connection that was made. Those that were not have nothing to say, and none is made for this."""
    found = []
    llm = population.session.made_llm
    if llm is not None:
        found.append(FiguresReport("", await llm.figures()))
    module = sys.modules.get(_MODEL)  # a host without models has never loaded it
    if module is not None:
        for name, actor in list(population.actors.items()):
            if isinstance(actor.agent, module.Model):
                figures = await actor.agent.connection_figures()
                if figures is not None:
                    found.append(FiguresReport(name, figures))
    return found

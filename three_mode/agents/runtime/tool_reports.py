"""Handlers that agents of this process offer as tools, described for programs that only know the bus."""

from collections.abc import Iterable

from three_mode.agents.handlers.declare import Spec
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.wire.orders import ToolReport
from three_mode.errors import ConfigurationError


def tool_reports(actors: Iterable[Actor]) -> list[ToolReport]:
    """Describe the tools of all groups. One that a model could not call says why, so that its absence is explained."""
    found: dict[tuple[str, str], ToolReport] = {}
    for actor in actors:
        for name, spec in actor.specs.items():
            if spec.options.tool and (actor.group, name) not in found:
                found[actor.group, name] = _report(actor.group, spec)
    return list(found.values())


def _report(group: str, spec: Spec) -> ToolReport:
    from three_mode.tools.arguments import ArgumentSchema  # for whoever offers tools; hosts start without it

    try:
        arguments = ArgumentSchema.of(spec.function, method=True)
    except ConfigurationError as error:
        return ToolReport(group, spec.name, problem=str(error))
    return ToolReport(group, spec.name, arguments.description, arguments.schema, spec.streams)

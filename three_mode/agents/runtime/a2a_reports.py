"""Agents of this process that take messages of A2A, described for programs that only know the bus."""

import inspect
from collections.abc import Iterable
from typing import get_type_hints

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.declare import Spec
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.wire.orders import A2AHandler, A2AReport

_OF_A_MODEL = ("chat_completion", "stream_completion")


def a2a_reports(actors: Iterable[Actor]) -> list[A2AReport]:
    """Describe the groups whose agents are models, or have handlers for A2A."""
    kinds = {actor.group: actor for actor in actors}
    reports = (_report(group, actor) for group, actor in kinds.items())
    return [report for report in reports if report.is_model or report.handlers]


def _report(group: str, actor: Actor) -> A2AReport:
    return A2AReport(
        group=group,
        description=_description(type(actor.agent)),
        is_model=any(name in actor.specs for name in _OF_A_MODEL),
        handlers=tuple(_handler(spec) for spec in actor.specs.values() if spec.options.a2a),
    )


def _handler(spec: Spec) -> A2AHandler:
    return A2AHandler(
        name=spec.name,
        description=_first_paragraph(spec.function.__doc__),
        streams=spec.streams,
        takes_text=_takes_text(spec),
    )


def _takes_text(spec: Spec) -> bool:
    """Whether the hint of the message is `str`. Hints that cannot be read are an error of the call."""
    name = list(inspect.signature(spec.function).parameters)[1]  # behind self
    try:
        return get_type_hints(spec.function).get(name) is str
    except (NameError, TypeError, AttributeError):
        return False


def _description(kind: type) -> str:
    """The docstring of an agent's class, or of the nearest base that has one."""
    own = (base.__doc__ for base in kind.__mro__ if issubclass(base, Agent) and base is not Agent)
    return next((_first_paragraph(text) for text in own if text), "")


def _first_paragraph(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())

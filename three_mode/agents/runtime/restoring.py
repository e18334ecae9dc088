"""Restoring: what an agent keeps goes to the keeper of its process, and its last snapshot comes back from there."""

import asyncio
import inspect
import secrets
import sys
from typing import Any

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.keeping.hook import state_hook
from three_mode.agents.keeping.values import KeepClaim, KeepWrite, KeptState, not_kept, outranked
from three_mode.agents.runtime.actor import Actor
from three_mode.agents.runtime.startup import Noted
from three_mode.agents.wire import errors as wire_errors
from three_mode.errors import ConfigurationError
from three_mode.handling import current

_snapshot = decoder_for(KeptState | None)
_HOOK = "restored"


async def keep(actor: Actor, agent: Agent, state: Any) -> None:
    """Keep the state of an agent; return once it is kept, or raise the error that says why it is not."""
    kind, keeper, journal = type(agent), actor.owner.keeper, actor.owner.journal
    hook = state_hook(kind)
    if hook is None:
        raise ConfigurationError(
            f"{kind.__qualname__} keeps a state that nothing gives back to it",
            hint=f"add the hook: def {_HOOK}(self, state): ...",
        )
    snapshot = hook.snapshot(actor.name, state, keeper.largest if keeper is not None else sys.maxsize)
    call = current.get()
    turn = call.turn if call.agent == actor.name else 0

    async def perform() -> bytes:
        await _keep_now(actor, agent, snapshot)
        return b""

    if journal is not None and turn:
        await journal.waited(actor.name, turn, "keep", encode([actor.name, "keep", snapshot.state]), perform)
    elif keeper is not None:  # a replay has none, and does not run `stopped`
        await perform()


async def _keep_now(actor: Actor, agent: Agent, snapshot: KeptState) -> None:
    if actor.agent is not agent:
        raise not_kept(actor.name, outranked(actor.name))
    if not actor.incarnation or actor.owner.keeper is None:
        raise ConfigurationError(f"{actor.name} keeps before it has started", hint="keep from `started` on")
    await actor.owner.keeper.keep(KeepWrite(actor.name, actor.incarnation, snapshot))


async def restore(actor: Actor) -> None:
    """Claim the place of an agent that is being made, and give it its last snapshot, if there is one."""
    hook, journal, notes = state_hook(type(actor.agent)), actor.owner.journal, actor.owner.start_note
    if hook is None:
        return

    async def perform() -> bytes:
        return encode(await _claim(actor))

    if journal is None:
        snapshot = await _claim(actor)
    else:
        what = encode([actor.name, _HOOK, b""])
        snapshot = _snapshot(await journal.waited(actor.name, 0, _HOOK, what, perform))
    if snapshot is None:
        return
    arguments = hook.arguments(actor.name, snapshot)
    try:
        notes.begin(actor.name, _HOOK)
        try:
            work = actor.agent.restored(*arguments)
        finally:
            notes.end()
        if inspect.isawaitable(work):
            await Noted(work, notes, actor.name, _HOOK)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # SystemExit too: it would end the loop, and all agents of this host
        raise wire_errors.of_handler(error, actor.name, _HOOK) from error


async def _claim(actor: Actor) -> KeptState | None:
    keeper = actor.owner.keeper
    if keeper is None:
        return None
    incarnation, order = secrets.token_hex(8), actor.options
    snapshot = await keeper.claim(KeepClaim(actor.name, incarnation, order.rank))
    actor.incarnation = incarnation
    return snapshot

"""State hook: what a class says of the state that it keeps, by its `restored` and `keep_version`. Pure."""

import inspect
from functools import cache
from typing import Any, get_type_hints

from three_mode.agents.agent import Agent
from three_mode.agents.handlers.codec import (
    UNENCODABLE,
    decode_any,
    decode_marked,
    decoder_for,
    encode,
    encode_exact,
)
from three_mode.agents.handlers.extensions import is_open
from three_mode.agents.keeping.values import KeptState
from three_mode.errors import BadCall, ConfigurationError, StateNotKept

_DATA = "keep data: numbers, text, lists, dicts, dataclasses, models of pydantic"
_HOOK = "def restored(self, state), or def restored(self, state, version)"


class StateHook:
    """What a class says of its state."""

    __slots__ = ("_decode", "_encode", "_hint", "_title", "_version", "takes_version")

    def __init__(self, kind: type[Agent]) -> None:
        version: Any = kind.keep_version
        self._title, self._version = kind.__qualname__, version
        if not isinstance(version, int) or isinstance(version, bool):
            raise ConfigurationError(f"{self._title}.keep_version is a whole number, not {self._version!r}")
        parameters = list(inspect.signature(kind.restored).parameters.values())[1:]  # without self
        named = all(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)
        if not named or not 1 <= len(parameters) <= 2:
            raise ConfigurationError(f"{self._title}.restored takes other arguments", hint=_HOOK)
        try:
            self._hint: Any = get_type_hints(kind.restored, include_extras=True).get(parameters[0].name, Any)
        except (NameError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"the type hints of {self._title}.restored cannot be read: {error}") from None
        self.takes_version = len(parameters) == 2
        """Whether the hook takes the version of the snapshot, and snapshots of other versions with it."""
        self._decode = decoder_for(self._hint)
        self._encode = encode_exact if is_open(self._hint) else encode

    def snapshot(self, agent: str, state: Any, largest: int) -> KeptState:
        """Return the snapshot of a state, or raise BadCall for one that cannot be kept, or not restored."""
        try:
            raw = self._encode(state)
        except UNENCODABLE as error:
            raise self._bad(agent, f"cannot be kept: {error}", _DATA) from None
        if len(raw) > largest:
            hint = "keep less, or raise KeepOptions(largest=)"
            raise self._bad(agent, f"has {len(raw)} bytes, and {largest} may be kept", hint)
        try:
            self._read(raw)
        except Exception as error:  # noqa: BLE001  # a hint's own hook may raise anything
            wanted = getattr(self._hint, "__qualname__", str(self._hint))
            raise self._bad(
                agent, f"does not fit {self._title}.restored, which takes {wanted}: {error}", None
            ) from None
        return KeptState.of(self._version, raw)

    def arguments(self, agent: str, snapshot: KeptState) -> tuple[Any, ...]:
        """Return what `restored` is called with, or raise StateNotKept for a snapshot that it cannot take.

        A snapshot of another version is plain data: the hint speaks of this version.
        """
        if not snapshot.whole:
            raise self._unusable(agent, "is damaged: its checksum is another", "restore a copy of the store")
        same = snapshot.version == self._version
        if not same and not self.takes_version:
            versions = f"is of version {snapshot.version}, and {self._title}.keep_version is {self._version}"
            raise self._unusable(agent, versions, "take both: def restored(self, state, version)")
        try:
            state = self._read(snapshot.state) if same else decode_any(snapshot.state)
        except Exception as error:
            hint = "count keep_version up where the shape of the state changes"
            raise self._unusable(agent, f"does not fit {self._title}.restored: {error}", hint) from error
        return (state, snapshot.version) if self.takes_version else (state,)

    def _read(self, raw: bytes) -> Any:
        try:
            return self._decode(raw)
        except (ValueError, TypeError) as error:
            return decode_marked(self._hint, raw, error)

    def _bad(self, agent: str, what: str, hint: str | None) -> BadCall:
        return BadCall(f"{agent}: the state {what}", hint=hint, agent=agent, handler="keep", argument="state")

    def _unusable(self, agent: str, what: str, hint: str) -> StateNotKept:
        return StateNotKept(f"{agent}: what was kept {what}", hint=hint, agent=agent, handler="restored")


@cache
def _made(kind: Any) -> StateHook:
    return StateHook(kind)


def state_hook(kind: type[Agent]) -> StateHook | None:
    """Return what a class says of its state; None for one without a hook `restored`, which keeps nothing."""
    same: Any = kind  # which mypy takes for no Hashable
    return _made(same) if kind.restored is not Agent.restored else None

"""Plan of a job: its requests as lines of a provider's format, and their division into batches. It does no I/O but to
find the provider of a connection that names none.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from three_mode.calls.batches.names import RequestPlace, custom_id
from three_mode.calls.batches.status import REQUESTS
from three_mode.calls.call_log import ActiveCall
from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.calls.request_prep import CallDefaults, RequestPrep
from three_mode.calls.targets import Targets
from three_mode.dispatcher import AGENT, HERE
from three_mode.errors import InvalidRequest, LLMError, UnsupportedParameter
from three_mode.messages import LLMRequest
from three_mode.messages.checks import no_request
from three_mode.policies import CallContext, Target
from three_mode.policies.tallies import ZERO
from three_mode.providers import codec_of, estimate_tokens
from three_mode.providers.batches import BatchCodec, batch_codec
from three_mode.providers.codec import Codec, Header
from three_mode.providers.pieces import JSON_HEADERS
from three_mode.providers.profile import BatchTerms, Profile

AT_ONCE = 100  # requests that are prepared before other tasks have their turn
_SIDE_BY_SIDE = "leave out later=True, and the requests run side by side"


class PlannedRequest(Struct):
    """One request of a job."""

    request: LLMRequest
    body: bytes
    emulated: bool
    label: str | None
    reserved: Decimal


class Part(Struct, frozen=True):
    """One batch of a job: `count` requests from `first` on."""

    number: int
    first: int
    count: int


class BatchPlan(Struct):
    """A job that can be submitted."""

    job: str
    target: Target
    codec: BatchCodec
    requests: list[PlannedRequest]
    lines: list[bytes]
    headers: list[Header]
    parts: list[Part]
    digest: str
    """Of all that is asked: the same for the same requests."""

    def lines_of(self, part: Part) -> list[bytes]:
        """The lines of one batch."""
        return self.lines[part.first : part.first + part.count]


class Planner:
    """Plans the jobs of one connection."""

    def __init__(self, targets: Targets, accounts: ProviderAccounts, defaults: CallDefaults, prep: RequestPrep) -> None:
        self._targets, self._accounts, self._defaults, self._prep = targets, accounts, defaults, prep

    async def plan(self, requests: Sequence[LLMRequest], job: Callable[[str], str]) -> BatchPlan:
        """Plan a job, and set aside what it may cost. `job` gives its name, by the digest of what is asked."""
        first = await self._target(requests)
        profile = self._accounts.profile(first.provider)
        codec, live = batch_codec(profile), codec_of(profile)
        assert profile.batches is not None  # else there is no codec
        planned: list[PlannedRequest] = []
        headers: dict[Header, None] = {}
        digest = blake2b(str(first).encode(), digest_size=16)
        try:
            for index, request in enumerate(requests):
                if index % AT_ONCE == 0:
                    await asyncio.sleep(0)
                try:
                    each, more = self._planned(request, first, profile, live)
                    planned.append(each)
                    custom_id(RequestPlace("0" * 12, index, each.emulated, each.label))  # it fits
                except LLMError as error:
                    raise _at(index, error) from None
                headers.update(dict.fromkeys(more))
                digest.update(each.body)
            name = job(digest.hexdigest())
            lines = [
                codec.line(custom_id(RequestPlace(name, index, each.emulated, each.label)), each.body)
                for index, each in enumerate(planned)
            ]
            for each in planned:
                each.body = b""  # it is in its line
            parts = divided(lines, codec, profile.batches)
        except BaseException:
            self.release(first, planned)
            raise
        return BatchPlan(name, first, codec, planned, lines, list(headers), parts, digest.hexdigest())

    def release(self, target: Target, planned: Sequence[PlannedRequest]) -> None:
        """Free what was set aside for requests that were not submitted."""
        for each in planned:
            self._prep.release(each.label, target, each.reserved)
            each.reserved = ZERO

    async def _target(self, requests: Sequence[LLMRequest]) -> Target:
        """The one target of all requests."""
        given: Any = requests
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise InvalidRequest(f"batch takes a list of requests, not {type(given).__name__}", field="requests")
        if not requests:
            raise InvalidRequest("a batch has at least one request", field="requests")
        counts: dict[Target, int] = {}
        for index, request in enumerate(requests):
            if index % AT_ONCE == 0:
                await asyncio.sleep(0)
            if not isinstance(request, LLMRequest):
                raise _at(index, no_request(request, "batch"))
            targets, route = await self._targets.for_request(request)
            target = targets[0]
            if route is not None:
                raise _at(
                    index,
                    UnsupportedParameter(
                        f"{route!r} is a route, which chooses a model at the time of a call",
                        field="model",
                        hint=f"name a model; or {_SIDE_BY_SIDE}",
                    ),
                )
            if target.provider in HERE:
                raise _at(
                    index,
                    UnsupportedParameter(
                        f"batches are of remote providers, and {target.model!r} is "
                        f"{'an agent' if target.provider == AGENT else 'a model of this computer'}",
                        field="model",
                        hint=_SIDE_BY_SIDE,
                    ),
                )
            counts[target] = counts.get(target, 0) + 1
        if len(counts) > 1:
            said = ", ".join(f"{target} ({count} requests)" for target, count in list(counts.items())[:5])
            raise InvalidRequest(
                f"a batch is of one model, and these are of several: {said}",
                field="requests",
                hint="submit a batch for each model",
            )
        return next(iter(counts))

    def _planned(
        self, request: LLMRequest, target: Target, profile: Profile, live: Codec
    ) -> tuple[PlannedRequest, tuple[Header, ...]]:
        if request.within is not None:
            raise UnsupportedParameter(
                "a request of a batch has no deadline of its own: its provider takes up to a day",
                field="within",
                hint="leave it out, and give results(within=...)",
            )
        if request.prompt is not None:
            raise UnsupportedParameter("a request of a batch has messages, and no bare prompt", field="prompt")
        label, began = self._defaults.label_of(request), time.monotonic()
        tokens = estimate_tokens(request, target.model, profile.multiplier(target.model))
        context = CallContext(deadline=began, began=began, tokens=tokens)
        call = ActiveCall(request, "", context, label=label, target=target)
        prepared, emulated = self._prep.prepare(call, target)
        outgoing = live.encode(prepared, target.model, stream=False)
        more = tuple(each for each in outgoing.headers if each not in JSON_HEADERS)
        _check(prepared, profile, more)
        assert profile.batches is not None
        reserved = self._prep.reserve(call, prepared, target, Decimal(str(profile.batches.price)))
        return PlannedRequest(request, outgoing.body, emulated, label, reserved), more


def divided(lines: Sequence[bytes], codec: BatchCodec, terms: BatchTerms) -> list[Part]:
    """Divide a job into batches that are within the provider's limits, in order."""
    parts: list[Part] = []
    first, size = 0, codec.size([])
    for index, line in enumerate(lines):
        more = codec.size([line]) - codec.size([])
        if codec.size([line]) > terms.size:
            raise InvalidRequest(
                f"requests[{index}] alone has more bytes than a batch may have: {len(line)} of {terms.size}",
                field=f"requests[{index}]",
                hint="shorten it, or give images by their URL",
            )
        if index > first and (size + more > terms.size or index - first >= terms.requests):
            parts.append(Part(len(parts), first, index - first))
            first, size = index, codec.size([])
        size += more
    parts.append(Part(len(parts), first, len(lines) - first))
    return parts


def _check(request: LLMRequest, profile: Profile, headers: tuple[Header, ...]) -> None:
    """Refuse what cannot go into a batch."""
    if request.extra.get("stream"):
        raise UnsupportedParameter("a request of a batch is not streamed", field="extra.stream")
    if profile.wire == "openai" and headers:
        raise UnsupportedParameter(
            f"{profile.name} takes no headers with a request of a batch",
            field="extra.extra_headers",
            provider=profile.name,
            hint=_SIDE_BY_SIDE,
        )


def _at(index: int, error: LLMError) -> LLMError:
    """The error, with the place of its request."""
    error.message = f"requests[{index}]: {error.message}"
    error.args = (error.message,)
    if isinstance(error, InvalidRequest):
        error.field = f"requests[{index}].{error.field}" if error.field else f"requests[{index}]"
    return error


def planned_marks(plan: BatchPlan, part: Part) -> dict[str, str]:
    """What a provider that keeps marks is told of a batch: enough to find it, and to read it after a restart."""
    return {
        "three_mode_job": plan.job,
        "three_mode_part": f"{part.number + 1}/{len(plan.parts)}",
        REQUESTS: str(part.count),
    }

"""Book of a connection's calls: what each used, failed with and took, into the sums of its report and its records."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from three_mode.errors import ThreeModeError
from three_mode.messages import EmbedRequest, LLMRequest, LLMResponse, RerankRequest, Usage
from three_mode.observe.call_figures import AttemptFailure, AttemptUse, CallFigures, Outcome, count_steps
from three_mode.observe.call_sums import CallTallies
from three_mode.policies import CallContext, Target

if TYPE_CHECKING:
    from three_mode.observe.records import RecordWriter


class CallAccount(Struct, eq=False):
    """Account of one call. Once `closed`, what an attempt uses is written down by itself."""

    used: tuple[AttemptUse, ...] = ()
    failures: tuple[AttemptFailure, ...] = ()
    closed: bool = False


class CountedCall(Protocol):
    """Call that has an account: one that asks for a reply, or for vectors."""

    @property
    def request(self) -> LLMRequest | EmbedRequest | RerankRequest: ...
    @property
    def request_id(self) -> str: ...
    @property
    def context(self) -> CallContext: ...
    @property
    def account(self) -> CallAccount: ...
    @property
    def label(self) -> str | None: ...
    @property
    def target(self) -> Target | None: ...
    @property
    def targets(self) -> Sequence[Target]: ...
    @property
    def route(self) -> str | None: ...
    @property
    def first_content(self) -> float | None: ...
    @property
    def reused(self) -> Literal["cache_hit", "coalesced"] | None: ...


class CallBook:
    """Book of all calls of a connection."""

    def __init__(self, recorder: "RecordWriter | None") -> None:
        self.tallies = CallTallies()
        self._recorder = recorder

    def add_use(self, call: CountedCall, target: Target, usage: Usage) -> None:
        """Adds what an attempt used to the account of its call."""
        use = AttemptUse(target.provider, target.model, usage)
        if call.account.closed:
            self._add_late(call, used=(use,))
        else:
            call.account.used += (use,)

    def add_failure(self, call: CountedCall, target: Target, error: ThreeModeError) -> None:
        """Adds the failure of an attempt to the account of its call."""
        failure = AttemptFailure(target.provider, target.model, type(error).__name__)
        if call.account.closed:
            self._add_late(call, failures=(failure,))
        else:
            call.account.failures += (failure,)

    def close(
        self, call: CountedCall, latency: float, reply: LLMResponse | None = None, error: BaseException | None = None
    ) -> None:
        """Writes down a call that has ended, with its reply or an error. It was cancelled where that is no
        `Exception`."""
        account, target = call.account, call.target
        if error is None and self._recorder is None and target is not None and _is_plain(call, target):
            account.closed = True
            asked = (target.provider, target.model, call.label)
            usage, conversation = account.used[0].usage, conversation_of(call.request)
            self.tallies.add_answer(asked, conversation, usage, latency, call.first_content)
            return
        kind = type(error).__name__ if isinstance(error, Exception) else None
        outcome: Outcome = "answered" if error is None else "cancelled" if kind is None else "failed"
        figures = self._figures(call, latency, outcome, kind)
        account.closed = True
        self.tallies.add(figures)
        if self._recorder is not None:
            self._recorder.record(figures, call.request, reply, error)

    def add_batched(
        self,
        target: Target,
        label: str | None,
        request_id: str,
        request: LLMRequest | None,
        outcome: LLMResponse | ThreeModeError,
        latency: float,
    ) -> None:
        """Writes down a request that its provider answered in a batch; without the request another process made it."""
        reply, error = (outcome, None) if isinstance(outcome, LLMResponse) else (None, outcome)
        asked, kind = (target.provider, target.model), type(error).__name__ if error is not None else None
        figures = CallFigures(
            request_id=request_id,
            provider=target.provider,
            model=target.model,
            latency=latency,
            first_content=None,
            label=label,
            conversation=conversation_of(request) if request is not None else None,
            outcome="answered" if reply is not None else "failed",
            error_kind=kind,
            batched=True,
            used=(AttemptUse(*asked, reply.usage),) if reply is not None else (),
            failures=(AttemptFailure(*asked, kind),) if kind is not None else (),
        )
        self.tallies.add(figures)
        if self._recorder is not None:
            self._recorder.record(figures, request, reply, error)

    def add_cancelled(self, target: Target, request: LLMRequest, label: str | None, latency: float) -> None:
        """Adds a call of a fast path whose caller has left, to the sums of the report."""
        figures = CallFigures(
            request_id="",
            provider=target.provider,
            model=target.model,
            latency=latency,
            first_content=None,
            label=label,
            conversation=conversation_of(request),
            outcome="cancelled",
        )
        self.tallies.add(figures)

    def _add_late(self, call: CountedCall, **parts: Any) -> None:
        """Writes down a part of a call that has ended: others waited for the reply of its attempt."""
        figures = replace(self._figures(call, 0.0, "late", None), **{"used": (), "failures": (), **parts})
        self.tallies.add(figures)
        if self._recorder is not None:
            self._recorder.record(figures)

    def _figures(self, call: CountedCall, latency: float, outcome: Outcome, error_kind: str | None) -> CallFigures:
        target, steps = call.target, call.context.steps
        retries, switched, hedged = count_steps(steps) if len(steps) > 1 else (0, 0, 0)
        return CallFigures(
            request_id=call.request_id,
            provider=target.provider if target is not None else "",
            model=target.model if target is not None else "",
            latency=latency,
            first_content=call.first_content,
            label=call.label,
            conversation=conversation_of(call.request),
            route=call.route,
            side=str(call.targets[0]) if call.route is not None else None,
            outcome=outcome,
            error_kind=error_kind,
            reused=call.reused,
            retries=retries,
            switched=switched,
            hedged=hedged,
            used=call.account.used,
            failures=call.account.failures,
        )


def _is_plain(call: CountedCall, target: Target) -> bool:
    """Whether a call that was answered has no more to tell than what its one attempt used."""
    used, failures = call.account.used, call.account.failures
    if len(used) != 1 or failures or call.route is not None or call.reused is not None or len(call.context.steps) > 1:
        return False
    return used[0].provider == target.provider and used[0].model == target.model


def conversation_of(request: LLMRequest | EmbedRequest | RerankRequest) -> str | None:
    """The conversation that a request belongs to, by its metadata."""
    if isinstance(request, EmbedRequest | RerankRequest) or not request.metadata:
        return None
    name = request.metadata.get("conversation")
    return None if name is None else str(name)

"""Which providers can be called, what each was asked for so far, and why another one cannot. Nobody is asked."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from msgspec import Struct

from three_mode.calls.provider_accounts import ProviderAccounts
from three_mode.dispatcher import AGENT, HERE, LOCAL
from three_mode.errors import ConfigurationError
from three_mode.observe.report import CallSums, Report
from three_mode.providers import Profile

_NOTHING = CallSums()


class ProviderStatus(Struct, frozen=True, kw_only=True):
    """What is known of one provider without asking it."""

    name: str  #: name of the provider; `local` for models of this computer, `agent` for agents
    available: bool  #: whether a call can be tried
    model: str | None  #: model of requests that name none; None: there is no such model
    requests: int  #: calls so far that it answered, or was asked last
    tokens: int  #: tokens so far, input and output
    why_not: str | None = None  #: why it is not available, and what to do
    breakers: dict[str, str] = {}  #: models of it that are not tried now, or on trial: `open` or `half-open`


def provider_statuses(
    names: Iterable[str],
    accounts: ProviderAccounts,
    models: Mapping[str, str],
    breakers: Mapping[str, str],
    used: Report,
) -> dict[str, ProviderStatus]:
    """The status of each provider by its name. `models` are the default models that the connection itself names."""
    found = {}
    for name in dict.fromkeys(names):
        sums = used.by_provider.rows.get(name, _NOTHING)
        model = models.get(name)
        try:
            model = model or (accounts.answering_model(name) if name not in HERE else None)
            why_not = _missing(name, accounts)
        except ConfigurationError as error:  # a setting of this provider is wrong
            why_not = str(error)
        states = {key[len(name) + 1 :]: state for key, state in breakers.items() if key.startswith(f"{name}/")}
        why_not = why_not or _broken(name, model, states, used)
        found[name] = ProviderStatus(
            name=name,
            available=why_not is None,
            model=model,
            requests=sums.requests,
            tokens=sums.usage.total_tokens,
            why_not=why_not,
            breakers=states,
        )
    return found


def _missing(name: str, accounts: ProviderAccounts) -> str | None:
    """What a provider lacks; None where it can be tried."""
    if name == AGENT:
        return None
    if name == LOCAL:
        installed = find_spec("llama_cpp") is not None
        return None if installed else "llama-cpp-python is not installed: pip install 'three-mode[local]'"
    if accounts.available(name):
        return None
    profile: Profile = accounts.profile(name)
    if profile.wire == "claude-cli":
        return "the command `claude` is not installed, or not on the PATH"
    return f"no key: give api_key=, or set {accounts.settings(name).key_variable} in the environment or in .env"


def _broken(name: str, model: str | None, states: Mapping[str, str], used: Report) -> str | None:
    """Why none of the models that were asked so far would be tried: the breaker of each is open."""
    asked = {key[len(name) + 1 :] for key in used.by_model.rows if key.startswith(f"{name}/")}
    wanted = asked or ({model} if model is not None else set())
    if not wanted or any(states.get(each) != "open" for each in wanted):
        return None
    return f"the breaker of {', '.join(sorted(wanted))} is open after too many failures: it closes by itself"

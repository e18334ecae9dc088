"""Accounts of providers: their keys and addresses, and the endpoint of each, made when it is first called."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from three_mode.channels.channel import REPLY_BYTES, Endpoint
from three_mode.channels.grpc_options import SCHEMES, GRPCOptions, grpc_beside
from three_mode.config import ProviderSettings, Secret, Settings
from three_mode.dispatcher import HERE
from three_mode.errors import ConfigurationError
from three_mode.messages import RequestDefaults
from three_mode.providers import LimitReading, Profile, codec_of, profile_of
from three_mode.providers.anthropic import api_url
from three_mode.providers.catalogue import CUSTOM as CUSTOM
from three_mode.providers.fitting import FittedDefaults, fitted
from three_mode.providers.profile import BatchTerms
from three_mode.providers.safety import check_settings

if TYPE_CHECKING:
    from transports.http2 import Pool

_NONE_OF_ITS_OWN = ProviderSettings()
NO_DEFAULTS = RequestDefaults()
_CUSTOM = Profile(name=CUSTOM, base_url="", needs_key=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Key, address and settings of one provider."""

    api_key: str | None = field(default=None, repr=False)  #: None: `<PROVIDER>_API_KEY`, `.env` or the config file
    base_url: str | None = None  #: None: the provider's own
    grpc_url: str | None = None  #: address at which it speaks gRPC too; None: the provider's own
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  #: sent with every call
    safety: Mapping[str, str] = field(default_factory=dict)  #: safety settings sent with every call
    defaults: RequestDefaults = NO_DEFAULTS  #: for requests to it, before those of the connection


def given_accounts(given: Mapping[str, Account], provider: str | None, own: Account) -> Mapping[str, Account]:
    """The accounts that a connection was given, with what its arguments say of its own provider. Those come before what
    the provider's own account says."""
    if provider is None:
        if own.api_key:
            raise ConfigurationError("api_key= without provider= or base_url=", hint="say whose key it is")
        if own.grpc_url:
            raise ConfigurationError(
                "use_grpc= names an address, and neither provider= nor base_url= says whose it is",
                hint="base_url='grpc://host:port' calls a server of gRPC alone",
            )
        if own.headers:  # they may hold a key too, and whichever provider is found would be told it
            raise ConfigurationError(
                "ConnectionOptions(headers=...) without provider= or base_url=",
                hint="say whose headers they are, or give them to one: accounts={'openai': Account(headers=...)}",
            )
        return given
    accounts = {name_of(name): account for name, account in given.items()}
    before = accounts.get(name_of(provider), Account())
    accounts[name_of(provider)] = Account(
        api_key=own.api_key or before.api_key,
        base_url=own.base_url or before.base_url,
        grpc_url=own.grpc_url or before.grpc_url,
        headers={**before.headers, **own.headers},
        safety={**before.safety, **own.safety},
        defaults=before.defaults,
    )
    return accounts


def name_of(provider: str) -> str:
    """One name for a provider that has several."""
    own = provider == CUSTOM or provider in HERE or "://" in provider
    return provider if own else profile_of(provider).name


class ProviderAccounts:
    """Keys, addresses and settings of each provider: from arguments first, then settings, then the profile."""

    def __init__(
        self,
        settings: Settings,
        given: Mapping[str, Account],
        safety: Mapping[str, str],
        pool: "Callable[[], Pool]",
        learn: Callable[[str], Callable[[LimitReading], None] | None],
        defaults: RequestDefaults = NO_DEFAULTS,
        reply_bytes: int = REPLY_BYTES,
        listed: Container[str] = (),
        grpc: GRPCOptions = GRPCOptions(),  # noqa: B008  # a frozen value
    ) -> None:
        """`listed` are the providers whose accounts the options have, rather than the arguments of the connection."""
        self._settings, self._defaults, self._listed, self._grpc = settings, defaults, listed, grpc
        self._given = {name_of(name): account for name, account in given.items()}
        self._safety = safety
        for settings_ in (safety, *(account.safety for account in given.values())):
            check_settings(settings_)
        self._pool = pool
        self._learn = learn
        self._reply_bytes = reply_bytes
        self._profiles: dict[str, Profile] = {}
        self._identities: dict[str, tuple[str, str]] = {}
        self._read: dict[str, ProviderSettings] = {}

    def profile(self, provider: str) -> Profile:
        """A URL in place of a name is an OpenAI-compatible API that wants no key of ours."""
        found = self._profiles.get(provider)
        if found is None:
            found = self._profile(provider)
            account = self._given.get(provider)
            safety = {**self._safety, **(account.safety if account is not None else {})}
            if safety:
                found = msgspec.structs.replace(found, safety={**found.safety, **safety})
            self._profiles[provider] = found
        return found

    def _profile(self, provider: str) -> Profile:
        account = self._given.get(provider)
        if provider in HERE:
            return Profile(name=provider, base_url="", needs_key=False)
        if provider == CUSTOM or "://" in provider:
            url = account.base_url if account is not None and account.base_url else None
            url = url or self.settings(provider).base_url or provider
            return Profile(
                name=provider, base_url=url, needs_key=False, max_tokens_field="max_tokens", batches=BatchTerms()
            )
        return profile_of(provider)

    @property
    def with_safety(self) -> frozenset[str]:
        """Providers whose accounts bring settings of safety."""
        return frozenset(name for name, account in self._given.items() if account.safety)

    def settings(self, provider: str) -> ProviderSettings:
        found = self._read.get(provider)
        if found is None:
            found = self._read[provider] = self._settings_of(provider)
        return found

    def _settings_of(self, provider: str) -> ProviderSettings:
        if provider in HERE or "://" in provider:
            return _NONE_OF_ITS_OWN
        if provider != CUSTOM:
            return self._settings.of(profile_of(provider))
        account = self._given.get(CUSTOM)
        if account is not None and account.base_url:  # another one than the settings mean, which may have a key
            return _NONE_OF_ITS_OWN
        return self._settings.of(_CUSTOM)

    def key(self, provider: str) -> Secret | None:
        account = self._given.get(provider)
        if account is not None and account.api_key:
            return Secret(account.api_key)
        return self.settings(provider).api_key

    def base_url(self, provider: str) -> str:
        account = self._given.get(provider)
        given = account.base_url if account is not None else None
        given, profile = given or self.settings(provider).base_url, self.profile(provider)
        if given is None:
            return profile.base_url
        return api_url(given) if profile.wire == "anthropic" and not given.startswith(SCHEMES) else given

    def grpc_url(self, provider: str) -> str | None:
        """The address at which a provider speaks gRPC; None where none is known. A server of one's own is tried at the
        place of its HTTP."""
        account, profile, base = self._given.get(provider), self.profile(provider), self.base_url(provider)
        if base.startswith(SCHEMES):
            return base
        own = account.grpc_url if account is not None else None
        own = own or self.settings(provider).grpc_url or profile.grpc_url
        if own is None and (provider == CUSTOM or "://" in provider or base != profile.base_url):
            own = grpc_beside(base)
        return own

    def defaults(self, provider: str) -> RequestDefaults:
        """Defaults of requests to a provider: of its account, of the connection, of its settings, of all settings."""
        account, own = self._given.get(provider), self.settings(provider)
        given = self._defaults if account is None else account.defaults.over(self._defaults)
        most = own.max_tokens or own.defaults.max_tokens or self._settings.max_tokens
        configured = own.defaults.over(self._settings.defaults)
        if most is not None:
            configured = RequestDefaults(max_tokens=most).over(configured)
        return given.over(configured)

    def fitted_defaults(self, provider: str, model: str) -> FittedDefaults | None:
        """Those of them that a model takes; None where that is nothing."""
        return fitted(self.defaults(provider), self.profile(provider), model)

    def headers(self, provider: str) -> Mapping[str, str]:
        """Headers of every call to a provider."""
        account = self._given.get(provider)
        own = self.settings(provider).headers
        return own if account is None else {**own, **account.headers}

    def model(self, provider: str) -> str | None:
        return self.settings(provider).model or self.profile(provider).default_model

    def answering_model(self, provider: str) -> str | None:
        """The model of a provider that answers in place of another provider's."""
        return self.model(provider) or self.profile(provider).fallback_model

    def takes_vendor_names(self, provider: str) -> bool:
        """Whether `anthropic/claude-opus-4.5` is the name of a model at this provider: at one that passes calls on to
        many vendors, which any address may be that is not the provider's own."""
        profile = self.profile(provider)
        if profile.vendor_names or provider == CUSTOM or "://" in provider:
            return True
        return provider not in self._listed and self.base_url(provider) != profile.base_url

    def is_listed(self, provider: str) -> bool:
        """Whether the options of the connection have an account of a provider."""
        return provider in self._listed

    def identity(self, provider: str) -> tuple[str, str]:
        """Address and tenant of calls, which tell the caches of two accounts apart. A tenant is a fingerprint of key,
        headers and safety settings, and shows none of them."""
        found = self._identities.get(provider)
        if found is None:
            found = (f"{provider} {self.base_url(provider)}", self._tenant(provider))
            self._identities[provider] = found
        return found

    def _tenant(self, provider: str) -> str:
        key, safety = self.key(provider), self.profile(provider).safety
        tenant = key.fingerprint() if key is not None else ""
        headers, defaults = self.headers(provider), self.defaults(provider).said()
        if headers or safety or defaults:  # an organization, another key, what is blocked, what is asked for besides
            named = sorted((name.lower(), value) for name, value in headers.items())
            tenant += Secret(repr((named, sorted(safety.items()), *sorted(defaults.items())))).fingerprint()
        return tenant

    def available(self, provider: str) -> bool:
        """Whether it can be tried at all: a key, or a program, or a provider that wants neither."""
        profile = self.profile(provider)
        if profile.wire == "claude-cli":
            import shutil

            return shutil.which("claude") is not None
        if not profile.needs_key:
            return True
        account = self._given.get(provider)
        return self.key(provider) is not None or (account is not None and account.base_url is not None)

    def endpoint(self, provider: str, grpc: bool = False) -> Endpoint:
        """The endpoint of a provider: over HTTP, over gRPC, or over the one that its only address says."""
        profile = self.profile(provider)
        account = self._given.get(provider, Account())
        if profile.wire == "claude-cli":
            from three_mode.channels.claude_cli import CLIEndpoint

            if account.api_key or account.base_url or self.headers(provider):
                raise ConfigurationError(
                    f"{provider} takes no key, address or headers: the command has a login of its own",
                    hint="leave them out, or use provider='anthropic'",
                )
            return CLIEndpoint(profile, reply_bytes=self._reply_bytes)
        key, base_url = self.key(provider), self.base_url(provider)
        url = (self.grpc_url(provider) if grpc else None) or base_url
        if grpc and url == base_url and not url.startswith(SCHEMES):
            raise no_grpc(provider)
        if key is None and profile.needs_key and url in (profile.base_url, profile.grpc_url):
            raise ConfigurationError(
                f"no key for {provider}",
                hint=f"give api_key=, or set {self.settings(provider).key_variable} in the environment or in .env",
            )
        if url.startswith(SCHEMES):
            from three_mode.channels.grpc import GRPCEndpoint

            return GRPCEndpoint(
                profile,
                url,
                key,
                {**profile.headers, **self.headers(provider)},
                self._pool().options,
                self._grpc,
                reply_bytes=self._reply_bytes,
            )
        from three_mode.channels.http import HTTPEndpoint

        return HTTPEndpoint(
            codec_of(profile),
            self._pool(),
            base_url,
            key,
            self.headers(provider),
            self._learn(provider),
            reply_bytes=self._reply_bytes,
        )


def no_grpc(provider: str) -> ConfigurationError:
    """Error for a provider that is to be called over gRPC and has no address for that."""
    return ConfigurationError(
        f"{provider} has no address of gRPC",
        hint="give one: use_grpc='grpcs://host:port', Account(grpc_url=...) or grpc_url in the config file",
    )

"""Provider manager of MRC's document: which provider answers."""

from three_mode.compat.mrc.configuration import Configuration
from three_mode.compat.mrc.errors import ProviderUnavailableException
from three_mode.compat.mrc.providers import BaseProvider, connected_provider
from three_mode.connection import ConnectionOptions
from three_mode.errors import ConfigurationError
from three_mode.providers.catalogue import find_provider
from three_mode.sync import LLMConnection


class ProviderManager:
    """The providers behind one connection. Where nobody switched, the first available one answers, and the others where
    it fails."""

    config: Configuration  #: order and settings of the providers
    detection_order: list[str]  #: names of providers, in the order in which they are looked for
    providers: dict[str, BaseProvider]  #: name -> provider; a program may add its own
    active_provider: BaseProvider | None  #: the provider that was switched to; None: the first available one

    def __init__(self, config: Configuration | None = None) -> None:
        self.config = config = config or Configuration()
        self.detection_order = config.order()
        settings = {name: config.of(name) for name in self.detection_order}
        accounts = {name: each.account() for name, each in settings.items()}
        self.connection = LLMConnection(
            model=config.model,
            timeout=config.timeout,
            max_retries=config.MAX_RETRIES,
            options=ConnectionOptions(
                accounts={name: account for name, account in accounts.items() if name != "claude-cli"},
                detection_order=tuple(self.detection_order),
                defaults=config.defaults,
            ),
        )
        self.providers = {name: connected_provider(self.connection, each) for name, each in settings.items()}
        self.active_provider = None
        if config.provider is not None:
            self.active_provider = self.get_provider(config.provider)

    def detect_available_providers(self) -> list[str]:
        """The providers that have their key or program, in order. Nothing is sent."""
        return [name for name, provider in self.providers.items() if provider.is_available()]

    def get_provider(self, provider_name: str) -> BaseProvider:
        """A provider by its name. One beyond the order is made when it is first asked for."""
        found = self.providers.get(provider_name)
        if found is None:
            if find_provider(provider_name) is None:
                raise ConfigurationError(
                    f"no provider {provider_name!r}", hint=f"there are {', '.join(self.providers)}"
                )
            found = connected_provider(self.connection, self.config.of(provider_name))
            self.providers[provider_name] = found
        return found

    def get_active_provider(self) -> BaseProvider:
        """The provider that was switched to, where it is available; else the first available one."""
        if self.active_provider is not None and self.active_provider.is_available():
            return self.active_provider
        for name in self.detect_available_providers():
            return self.providers[name]
        raise ProviderUnavailableException(
            "No providers available", hint=f"set the key of one of {', '.join(self.detection_order)}"
        )

    def switch_provider(self, provider_name: str) -> bool:
        """Makes a provider answer from now on; False, and no change, where there is none or it is not available."""
        try:
            provider = self.get_provider(provider_name)
        except ConfigurationError:
            return False
        if not provider.is_available():
            return False
        self.active_provider = provider
        return True

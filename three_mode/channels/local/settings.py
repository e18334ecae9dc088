"""How a connection loads models of this computer: as its options say, else as its config file says."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from three_mode.config import ConfigTable

if TYPE_CHECKING:
    from local_models import LoadOptions
    from three_mode.channels.local.channel import LocalChannel


class LoadingOptions(Protocol):
    """What the options of a connection say of loading."""

    @property
    def local(self) -> "LoadOptions | None": ...
    @property
    def models(self) -> "Mapping[str, LoadOptions]": ...
    @property
    def files(self) -> Mapping[str, str]: ...


class LocalSettings(Struct, frozen=True, kw_only=True):
    """Options of loading: for all models, and for single ones; and names for files."""

    local: "LoadOptions | None" = None
    models: "Mapping[str, LoadOptions]" = {}
    files: Mapping[str, str] = {}

    @classmethod
    def of(cls, options: LoadingOptions, config: ConfigTable) -> "LocalSettings":
        """An argument comes before the file: `local` as a whole, `models` and `files` name by name."""
        local, table = options.local, config.settings
        models, files = dict(options.models), dict(options.files)
        if table.local or table.models:  # else no part of local_models is loaded
            from local_models import LoadOptions

            if local is None and table.local:
                local = config.options(LoadOptions, "local")
            for name in table.models:
                own, path = config.model(LoadOptions, name)
                if own is not None:
                    models.setdefault(name, own)
                if path is not None:
                    files.setdefault(name, path)
        return cls(local=local, models=models, files=files)

    def channel(self) -> "LocalChannel":
        """The channel to these models, made when the first is called."""
        from three_mode.channels.local.channel import LocalChannel

        files = {name: path.removeprefix("gguf:") for name, path in self.files.items()}
        return LocalChannel(self.local, models=self.models, files=files)

"""How a connection loads models of this computer: as its options say, else as its config file says."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from three_mode.config import ConfigTable
from three_mode.errors import ConfigurationError

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
    @property
    def local_memory_bytes(self) -> int | None: ...


class LocalSettings(Struct, frozen=True, kw_only=True):
    """Options of loading: for all models, and for single ones; and names for files."""

    local: "LoadOptions | None" = None
    models: "Mapping[str, LoadOptions]" = {}
    files: Mapping[str, str] = {}
    memory_bytes: int | None = None

    @classmethod
    def of(cls, options: LoadingOptions, config: ConfigTable) -> "LocalSettings":
        """An argument comes before the file: `local` as a whole, `models` and `files` name by name."""
        local, table, memory = options.local, config.settings, options.local_memory_bytes
        _check(options)
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
        if memory is None:
            memory = table.local_memory_bytes
        return cls(local=local, models=models, files=files, memory_bytes=memory)

    def channel(self) -> "LocalChannel":
        """The channel to these models, made when the first is called."""
        from three_mode.channels.local.channel import LocalChannel

        files = {name: path.removeprefix("gguf:") for name, path in self.files.items()}
        return LocalChannel(self.local, self.memory_bytes, models=self.models, files=files)


def _check(options: LoadingOptions) -> None:
    """Raises `ConfigurationError` for what is no option of a load: structs take whatever they are given."""
    memory = options.local_memory_bytes
    if memory is not None and (type(memory) is not int or memory <= 0):
        raise ConfigurationError(f"local_memory_bytes is a number of bytes above 0, not {memory!r}")
    given = {"local": options.local, **{f"models[{name!r}]": own for name, own in options.models.items()}}
    if all(own is None for own in given.values()):
        return
    from local_models import LoadOptions

    for name, own in given.items():
        if own is not None and not isinstance(own, LoadOptions):
            raise ConfigurationError(f"{name} is LoadOptions(...), not {type(own).__name__}")

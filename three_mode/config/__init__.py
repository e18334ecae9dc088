"""Settings from arguments, the environment, `.env` and a config file, in this order. See settings.py."""

from three_mode.config.config_file import ConfigTable
from three_mode.config.place import Place
from three_mode.config.secret import Secret, masked
from three_mode.config.settings import DETECTION_ORDER, Found, ProviderSettings, Settings, Sources
from three_mode.config.tables import options_from

__all__ = [
    "DETECTION_ORDER",
    "ConfigTable",
    "Found",
    "Place",
    "ProviderSettings",
    "Secret",
    "Settings",
    "Sources",
    "masked",
    "options_from",
]

"""Settings from arguments, the environment, `.env` and a config file, in this order. See settings.py."""

from three_mode.config.secret import Secret, masked
from three_mode.config.settings import DETECTION_ORDER, ProviderSettings, Settings, Sources

__all__ = ["DETECTION_ORDER", "ProviderSettings", "Secret", "Settings", "Sources", "masked"]

"""Safety settings: harm categories, and the threshold at which content of each is blocked.

Google has such settings. Other providers moderate by fixed rules; a setting that they would ignore is an error before
anything is sent.
"""

from collections.abc import Mapping

from three_mode.errors import ConfigurationError, UnsupportedParameter
from three_mode.providers.profile import Profile

THRESHOLDS = frozenset(
    (
        "BLOCK_NONE",
        "BLOCK_ONLY_HIGH",
        "BLOCK_MEDIUM_AND_ABOVE",
        "BLOCK_LOW_AND_ABOVE",
        "OFF",
        "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
    )
)
CATEGORY = "HARM_CATEGORY_"  # the categories differ by model, so that only the prefix is checked


def check_settings(safety: Mapping[str, str]) -> None:
    """Checks the spelling of safety settings, before a first call does."""
    for category, threshold in safety.items():
        if not category.startswith(CATEGORY):
            raise ConfigurationError(f"safety= has no category {category!r}", hint=f"for example {CATEGORY}HARASSMENT")
        if threshold not in THRESHOLDS:
            raise ConfigurationError(
                f"safety= has no threshold {threshold!r} for {category}",
                hint=f"one of {', '.join(sorted(THRESHOLDS))}",
            )


def check_provider(profile: Profile) -> None:
    """Checks that the provider has safety settings, if the profile sets any."""
    if profile.safety and not profile.takes_safety:
        raise UnsupportedParameter(
            f"{profile.name} has no safety settings: {', '.join(profile.safety)} would be dropped",
            field="safety",
            provider=profile.name,
            hint="give them to the provider that has some: accounts={'gemini': Account(safety=...)}",
        )

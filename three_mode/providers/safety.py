"""Safety settings: harm categories and the threshold at which content is blocked. Of the providers here Google has them; the
others moderate by rules of their own that no request changes. A setting that nobody would heed is an error before anything is sent.
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
CATEGORY = "HARM_CATEGORY_"  # which ones there are changes from model to model, so that only the form is held


def check_settings(safety: Mapping[str, str]) -> None:
    """What is misspelt is said here, and not by the provider at the first call."""
    for category, threshold in safety.items():
        if not category.startswith(CATEGORY):
            raise ConfigurationError(f"safety= has no category {category!r}", hint=f"for example {CATEGORY}HARASSMENT")
        if threshold not in THRESHOLDS:
            raise ConfigurationError(
                f"safety= has no threshold {threshold!r} for {category}",
                hint=f"one of {', '.join(sorted(THRESHOLDS))}",
            )


def check_provider(profile: Profile) -> None:
    """Whether the provider heeds the settings that it would be called with."""
    if profile.safety and not profile.takes_safety:
        raise UnsupportedParameter(
            f"{profile.name} has no safety settings: {', '.join(profile.safety)} would be dropped",
            field="safety",
            provider=profile.name,
            hint="give them to the provider that has some: accounts={'gemini': Account(safety=...)}",
        )

"""What a call gets where its request does not say: how long it may take, and who pays for it."""

from three_mode.calls.accounts import Accounts
from three_mode.config import Settings
from three_mode.handling import current as handled
from three_mode.handling import time_for
from three_mode.messages import LLMRequest


class Terms:
    """Those of one connection."""

    def __init__(self, accounts: Accounts, settings: Settings, timeout: float | None, label: str | None) -> None:
        self._accounts, self._settings, self._timeout = accounts, settings, timeout
        self.label = label

    def label_of(self, request: LLMRequest) -> str | None:
        label = self.label
        if request.metadata:
            label = request.metadata.get("label", label)
        return None if label is None else str(label)

    def within(self, asked: float | None, provider: str) -> float:
        """Seconds of a call; inside an agent's handler no more than what remains of its call."""
        return time_for(asked or self.usual(provider), handled.get())

    def usual(self, provider: str) -> float:
        """Seconds of a call that asks for no number of its own."""
        return self._timeout or self._accounts.settings(provider).timeout or self._settings.timeout

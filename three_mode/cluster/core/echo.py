"""Echo: whether a node hears its own messages over the network. Only then the silence of others says something of them.
Pure: the clock is an argument."""

from three_mode.cluster.core.timing import NodeTiming


class Echo:
    """What one node has heard of itself."""

    def __init__(self, timing: NodeTiming) -> None:
        self._timing = timing
        self._last = self._since = float("-inf")

    def heard(self, now: float) -> None:
        """Note that a message of this node came back."""
        if now - self._last >= self._timing.suspected_after:
            self._since = now
        self._last = now

    def is_steady(self, now: float) -> bool:
        """Return whether it has heard itself without a pause for so long that who is there would be known."""
        timing = self._timing
        return now - self._last < timing.suspected_after and now - self._since >= timing.lost_after

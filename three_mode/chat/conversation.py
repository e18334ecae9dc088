"""Conversation so far. Pure: turns go in, requests come out."""

from three_mode.messages import LLMRequest, LLMResponse, Message


class Conversation:
    """System prompt and turns. A turn is the message of a person and, once it came, the answer."""

    def __init__(self, model: str, system: str = "", within: float | None = None) -> None:
        self.model = model
        self.system = system
        self.within = within
        self._turns: list[tuple[str, LLMResponse | None]] = []

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def turns(self) -> tuple[tuple[str, LLMResponse | None], ...]:
        """Messages of the person, each with its answer, or None if none came yet."""
        return tuple(self._turns)

    def say(self, text: str) -> LLMRequest:
        """Adds a turn; returns the request for its answer, with all turns before it."""
        self._turns.append((text, None))
        return LLMRequest(model=self.model, messages=self._messages(), within=self.within)

    def answered(self, response: LLMResponse) -> None:
        """Adds the answer to the last turn, whole or interrupted: the next turn builds on it."""
        text, _ = self._turns[-1]
        self._turns[-1] = (text, response)

    def undo(self) -> str | None:
        """Removes the last turn and returns its message; None if there is no turn."""
        return self._turns.pop()[0] if self._turns else None

    def reset(self) -> None:
        """Removes all turns."""
        self._turns.clear()

    def _messages(self) -> list[Message]:
        messages = [Message("system", self.system)] if self.system else []
        for text, response in self._turns:
            messages.append(Message("user", text))
            # Thinking goes back as it came, so that a provider that signs it accepts it; an empty answer is left out.
            if response is not None and response.parts:
                messages.append(Message("assistant", response.parts))
        return messages

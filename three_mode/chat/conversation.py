"""What was said so far. Pure: turns go in, requests come out."""

from three_mode.messages import LLMRequest, LLMResponse, Message


class Conversation:
    """A system prompt and turns. A turn is what a person said and, once it came, the answer."""

    def __init__(self, model: str, system: str = "", within: float | None = None) -> None:
        self.model = model
        self.system = system
        self.within = within
        self._turns: list[tuple[str, LLMResponse | None]] = []

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def turns(self) -> tuple[tuple[str, LLMResponse | None], ...]:
        return tuple(self._turns)

    def say(self, text: str) -> LLMRequest:
        """The request that asks for an answer to this and to all that was said before."""
        self._turns.append((text, None))
        return LLMRequest(model=self.model, messages=self._messages(), within=self.within)

    def answered(self, response: LLMResponse) -> None:
        """What came, whole or cut short by a person: the next turn builds on what both have seen."""
        text, _ = self._turns[-1]
        self._turns[-1] = (text, response)

    def undo(self) -> str | None:
        """Takes the last turn back and returns what the person said, for another try."""
        return self._turns.pop()[0] if self._turns else None

    def reset(self) -> None:
        self._turns.clear()

    def _messages(self) -> list[Message]:
        messages = [Message("system", self.system)] if self.system else []
        for said, response in self._turns:
            messages.append(Message("user", said))
            # Thinking goes back as it came, so that a provider that signs it accepts it; an empty answer is none.
            if response is not None and response.parts:
                messages.append(Message("assistant", response.parts))
        return messages

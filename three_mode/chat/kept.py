"""Conversation of a chat that is kept in a file: it goes on where it was."""

from three_mode import sync
from three_mode.chat.conversation import Conversation
from three_mode.messages import LLMRequest, LLMResponse, Message, Part
from three_mode.sync import Conversations, Talk


class KeptConversation(Conversation):
    """A `Conversation` whose turns are those of a talk, and the `Streamer` of its answers: the talk keeps them."""

    def __init__(self, talks: Conversations, name: str, model: str, system: str, within: float | None) -> None:
        self._talks, self._pending = talks, False
        self._talk: Talk = talks.open(name, system=system or None)
        super().__init__(model, system, within)

    @property
    def name(self) -> str:
        """Name of the talk."""
        return self._talk.name

    @property
    def system(self) -> str:
        """The system prompt, which the file keeps."""
        first = self._talk.messages()[:1]
        return first[0].text if first and first[0].role == "system" else ""

    @system.setter
    def system(self, text: str) -> None:
        if text:
            self._talk.set_system(text)

    def __len__(self) -> int:
        return len(self.turns)

    @property
    def turns(self) -> tuple[tuple[str, LLMResponse | None], ...]:
        """Turns that were not taken back."""
        return tuple(
            (turn.text, LLMResponse(parts=_parts(turn.answered), model=turn.model, usage=turn.usage))
            for turn in self._talk.turns()
            if turn.state == "answered"
        )

    def say(self, text: str) -> LLMRequest:
        """The request of a turn, for `stream`: the talk adds what came before."""
        self._pending = True
        return LLMRequest(model=self.model, messages=(Message("user", text),), within=self.within)

    def stream(self, request: LLMRequest) -> sync.TalkStream:
        """The answer to a request of `say`, with all of the talk that fits the window."""
        return self._talk.stream(request.messages[-1], model=request.model, within=request.within)

    def answered(self, response: LLMResponse) -> None:
        """The talk has kept the answer, whole or interrupted."""
        self._pending = False

    def undo(self) -> str | None:
        """Takes the last turn back; one without an answer is no part of the talk anyway."""
        if self._pending:
            self._pending = False
            return None
        taken = self._talk.undo()
        return taken.text if taken is not None else None

    def reset(self) -> None:
        """Deletes the talk, and begins it anew with the same system prompt."""
        name, system = self._talk.name, self.system
        self._talk.delete()
        self._talk = self._talks.open(name, system=system or None)

    def fork(self, name: str | None) -> str:
        """Goes on in a fork; its name."""
        self._talk = self._talk.fork(name)
        return self._talk.name

    def open(self, name: str) -> None:
        """Goes on in another talk."""
        self._talk = self._talks.open(name)

    def names(self) -> list[tuple[str, int]]:
        """Talks in the file, the latest first, with their turns."""
        return [(info.name, info.turns) for info in self._talks.list()]


def _parts(messages: tuple[Message, ...]) -> tuple[Part, ...]:
    return tuple(part for message in messages if message.role == "assistant" for part in message.parts)

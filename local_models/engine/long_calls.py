"""Long calls: those that need longer sequences than the context has, and wait until it is made.

A call is expected to write some hundred tokens: most of those that may write many thousands do not. So it waits before
it begins if its prompt and those tokens do not fit, and later once it has filled its sequence. Where there is no memory
for longer sequences, it goes on as far as there is room.
"""

from local_models.engine.growth import Growth
from local_models.engine.tickets import Ticket
from local_models.errors import OutOfMemory
from local_models.replies import Piece
from local_models.scheduling.plan import ScheduledCall

EXPECTED = 512  # tokens that a call is expected to write at most, if it may write so many


class LongCalls:
    """Calls that wait for longer sequences.

    `longest` is the most tokens that a sequence may have. Without `growth` sequences are as long as they may be.
    """

    def __init__(self, longest: int, growth: Growth | None) -> None:
        self.longest = longest
        self._growth = growth
        self._waiting: dict[Ticket, None] = {}  # in their order

    def __len__(self) -> int:
        return len(self._waiting)

    def most(self, ticket: Ticket) -> int:
        """Returns the most tokens that a call may write, however long sequences are."""
        return min(ticket.options.max_tokens, self.longest - len(ticket.tokens))

    def length(self, ticket: Ticket, call: ScheduledCall | None = None) -> int:
        """Returns the tokens that the sequence of a call should have; `call`: one that has begun."""
        there, written = (len(call.tokens), call.written) if call is not None else (len(ticket.tokens), 0)
        return there + min(self.most(ticket) - written, EXPECTED)

    def lacks(self, tokens: int, present: int) -> bool:
        """Whether sequences of `present` tokens are too short for so many, and may get longer."""
        return tokens > present and self._growth is not None and self._growth.may_lengthen()

    def add(self, ticket: Ticket) -> None:
        """Adds a call that waits."""
        self._waiting[ticket] = None

    def drop(self, ticket: Ticket) -> None:
        """Takes a call out, if it waits: it has ended, or goes on."""
        self._waiting.pop(ticket, None)

    def needed(self) -> int:
        """Returns the tokens of a sequence that all of them fit; 0: none waits."""
        return max((self.length(each, each.call) for each in self._waiting), default=0)

    def tickets(self) -> list[Ticket]:
        """Returns those that wait, in their order."""
        return list(self._waiting)


def held_piece(ticket: Ticket) -> Piece:
    """Returns what was kept for the last piece of a call that goes on."""
    piece = Piece(text="".join(ticket.held_text), tokens=tuple(ticket.held_tokens), scores=tuple(ticket.held_scores))
    ticket.held_text, ticket.held_tokens, ticket.held_scores = [], [], []
    return piece


def no_room_for(tokens: int, present: int) -> OutOfMemory:
    """The error of a prompt that longer sequences would hold, for which there is no memory now."""
    return OutOfMemory(
        f"the prompt has {tokens} tokens, and the memory has room for sequences of {present} now",
        hint="shorten it, or try again once other models or programs have left memory",
    )

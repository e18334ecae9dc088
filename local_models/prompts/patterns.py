"""Patterns of JSON Schema: ECMAScript's regular expressions, read into a tree and matched in bounded time. Pure.

Python's own `re` tries alternatives one after the other, and a short pattern of a caller can hold the process for ever.
Here all alternatives advance together, character by character, and each step is counted. A pattern that refers back to
a group, or looks behind, cannot be matched that way, and is refused by name.
"""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from functools import cached_property, lru_cache

from msgspec import Struct

LONGEST = 4096  # characters of a pattern
DEEPEST = 40  # groups around each other
MOST_INSTRUCTIONS = 20_000  # once repeats are written out
_LAST = 0x10FFFF

Range = tuple[int, int]


class BadPattern(ValueError):
    """The pattern is none, is too large, or cannot be matched in bounded time."""


class OutOfSteps(Exception):
    """The work that a check may take is used up."""


class Steps:
    """Work that is left."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int = 1) -> None:
        """Uses some; raises `OutOfSteps` where there is none."""
        self.left -= count
        if self.left < 0:
            raise OutOfSteps


# --- the tree ---


class Chars(Struct, frozen=True, dict=True):
    """One character of a set: ranges in order, and categories of Unicode."""

    ranges: tuple[Range, ...]
    categories: tuple[str, ...] = ()
    negated: bool = False  # of ranges and categories together

    @cached_property
    def _starts(self) -> list[int]:
        return [low for low, _ in self.ranges]

    def has(self, code: int) -> bool:
        """Whether a character is in the set."""
        at = bisect_right(self._starts, code) - 1
        inside = at >= 0 and code <= self.ranges[at][1]
        if not inside and self.categories:
            inside = unicodedata.category(chr(code)).startswith(self.categories)
        return inside is not self.negated


class Series(Struct, frozen=True):
    """Parts one after the other; none of them: the empty text."""

    parts: tuple["Node", ...] = ()


class Choice(Struct, frozen=True):
    """One of several."""

    options: tuple["Node", ...]


class Repeat(Struct, frozen=True):
    """A part several times; `most` of None: without end."""

    part: "Node"
    least: int
    most: int | None


class Ahead(Struct, frozen=True):
    """What follows must match, or must not; it takes no character."""

    part: "Node"
    wanted: bool


class Border(Struct, frozen=True):
    """A place between characters: "start", "end", "word" (a border of a word) or "inside" (none)."""

    kind: str


Node = Chars | Series | Choice | Repeat | Ahead | Border


def joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Ranges in order, those that touch as one."""
    out: list[Range] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)


def inverse(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    """All other characters; `ranges` are in order."""
    out, at = [], 0
    for low, high in ranges:
        if low > at:
            out.append((at, low - 1))
        at = high + 1
    return (*out, (at, _LAST)) if at <= _LAST else tuple(out)


def _span(text: str) -> tuple[Range, ...]:
    """`"AZaz"` is A to Z and a to z."""
    return tuple((ord(text[at]), ord(text[at + 1])) for at in range(0, len(text), 2))


_DIGITS, _WORD = _span("09"), _span("09AZ__az")
_BLANKS = joined(
    [
        *_span("\t\r  \xa0\xa0\u1680\u1680\u2000\u200a\u2028\u2029"),
        *_span("\u202f\u202f\u205f\u205f\u3000\u3000\ufeff\ufeff"),
    ]
)
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _BLANKS}
_DOT = Chars(inverse(_span("\n\n\r\r\u2028\u2029")))
_REPEATS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "v": "\v", "f": "\f", "0": "\0"}
_CATEGORIES = frozenset(
    {*"LMNPSZ", *("L" + kind for kind in "ultmo"), *("M" + kind for kind in "nce"), *("N" + kind for kind in "dlo")}
    | {*("P" + kind for kind in "cdseifo"), *("S" + kind for kind in "mcko"), *("Z" + kind for kind in "slp")}
)
_LONG_NAMES = {"Letter": "L", "Uppercase_Letter": "Lu", "Lowercase_Letter": "Ll", "Mark": "M", "Number": "N"}
_LONG_NAMES |= {"Decimal_Number": "Nd", "Punctuation": "P", "Symbol": "S", "Separator": "Z", "Alphabetic": "L"}


class _PatternReader:
    """Reads a pattern. It calls itself for each group, which are bounded."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise BadPattern(f"it has more than {LONGEST} characters")
        self._text, self._at, self._depth = text, 0, 0

    def read(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            raise BadPattern(f"`)` at {self._at} closes nothing")
        return node

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _takes(self, text: str) -> bool:
        if self._text.startswith(text, self._at):
            self._at += len(text)
            return True
        return False

    def _choice(self) -> Node:
        options = [self._series()]
        while self._takes("|"):
            options.append(self._series())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _series(self) -> Node:
        parts: list[Node] = []
        while self._next() not in ("", "|", ")"):
            part = self._repeated(self._atom())
            parts.append(part)
        return parts[0] if len(parts) == 1 else Series(tuple(parts))

    def _repeated(self, part: Node) -> Node:
        bounds = self._bounds()
        if bounds is None:
            return part
        if self._takes("+"):
            raise BadPattern("possessive repeats are not known")
        self._takes("?")  # a lazy repeat matches the same texts
        if isinstance(part, Ahead | Border):
            return part if bounds[0] else Series()
        if self._bounds() is not None:
            raise BadPattern(f"there is nothing to repeat at {self._at}")
        return Repeat(part, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        sign = self._next()
        if sign in _REPEATS:
            self._at += 1
            return _REPEATS[sign]
        if sign != "{":
            return None
        end = self._text.find("}", self._at)
        low, comma, high = self._text[self._at + 1 : max(end, self._at)].partition(",")
        if end < 0 or not _is_count(low) or not (high == "" or _is_count(high)):
            return None  # a brace like any other character
        self._at = end + 1
        least = int(low)
        most = (int(high) if high else None) if comma else least
        if most is not None and most < least:
            raise BadPattern(f"the repeat {{{low},{high}}} goes down")
        return least, most

    def _atom(self) -> Node:
        sign = self._next()
        self._at += 1
        if sign == "(":
            return self._group()
        if sign == "[":
            return self._set()
        if sign == ".":
            return _DOT
        if sign == "^":
            return Border("start")
        if sign == "$":
            return Border("end")
        if sign == "\\":
            return self._escape()
        if sign in "*+?":
            raise BadPattern(f"there is nothing to repeat at {self._at - 1}")
        return _one(ord(sign))

    def _group(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise BadPattern(f"it has more than {DEEPEST} groups around each other")
        wanted: bool | None = None
        if self._takes("?"):
            if self._takes(":"):
                pass
            elif self._takes("="):
                wanted = True
            elif self._takes("!"):
                wanted = False
            elif self._takes("<=") or self._takes("<!"):
                raise BadPattern("it looks behind")
            elif self._takes("P<") or self._takes("<"):
                end = self._text.find(">", self._at)
                if end < 0:
                    raise BadPattern("the name of a group does not end")
                self._at = end + 1
            else:
                raise BadPattern(f"the group `(?{self._next()}` is not known")
        inner = self._choice()
        if not self._takes(")"):
            raise BadPattern("a group does not end")
        self._depth -= 1
        return inner if wanted is None else Ahead(inner, wanted)

    def _escape(self) -> Node:
        sign = self._next()
        if sign in ("b", "B"):
            self._at += 1
            return Border("word" if sign == "b" else "inside")
        if sign in ("A", "Z", "z"):
            self._at += 1
            return Border("start" if sign == "A" else "end")
        if (sign.isdigit() and sign != "0") or sign == "k":
            raise BadPattern("it refers back to a group")
        return self._escaped()

    def _escaped(self) -> Chars:
        """A set or a character behind a backslash."""
        sign = self._next()
        if not sign:
            raise BadPattern("it ends with a backslash")
        self._at += 1
        if sign in "dws":
            return Chars(_CLASSES[sign])
        if sign in "DWS":
            return Chars(inverse(_CLASSES[sign.lower()]))
        if sign in "pP" and self._takes("{"):
            return self._category(sign == "P")
        if sign in _CONTROLS:
            return _one(ord(_CONTROLS[sign]))
        if sign == "c" and self._next().isascii() and self._next().isalpha():
            self._at += 1
            return _one(ord(self._text[self._at - 1]) % 32)
        if sign == "x":
            return _one(self._hex(2))
        if sign == "u":
            if self._takes("{"):
                end = self._text.find("}", self._at)
                code = self._hex(max(end - self._at, 0))
                self._at += 1
                return _one(code)
            return _one(self._hex(4))
        return _one(ord(sign))

    def _hex(self, length: int) -> int:
        digits = self._text[self._at : self._at + length]
        if not 0 < len(digits) == length <= 6 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            raise BadPattern(f"the code of a character at {self._at} is not known")
        self._at += length
        code = int(digits, 16)
        if code > _LAST:
            raise BadPattern(f"there is no character {code:x}")
        return code

    def _category(self, negated: bool) -> Chars:
        end = self._text.find("}", self._at)
        given = self._text[self._at : max(end, self._at)]
        name = given.removeprefix("General_Category=").removeprefix("gc=")
        name = _LONG_NAMES.get(name, name)
        if name != "Any" and name not in _CATEGORIES:
            raise BadPattern(f"the property of characters {given[:40]!r} is not known")
        self._at = end + 1
        return Chars(((0, _LAST),), (), negated) if name == "Any" else Chars((), (name,), negated)

    def _set(self) -> Chars:
        negated = self._takes("^")
        ranges: list[Range] = []
        categories: list[str] = []
        while not self._takes("]"):
            if not self._next():
                raise BadPattern("a set of characters does not end")
            low = self._member()
            if low.categories:
                if low.negated:
                    raise BadPattern("a negated property of characters in a set is not known")
                categories += low.categories
                continue
            single = low.ranges[0] if len(low.ranges) == 1 and low.ranges[0][0] == low.ranges[0][1] else None
            if single and self._next() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._member()
                last = high.ranges[0][1] if len(high.ranges) == 1 and not high.categories else -1
                if last < single[0]:
                    raise BadPattern("a range of characters goes down")
                ranges.append((single[0], last))
            else:
                ranges += low.ranges
        return Chars(joined(ranges), tuple(categories), negated)

    def _member(self) -> Chars:
        if self._takes("\\"):
            if self._takes("b"):
                return _one(8)
            return self._escaped()
        self._at += 1
        return _one(ord(self._text[self._at - 1]))


def _is_count(text: str) -> bool:
    return 0 < len(text) <= 6 and text.isascii() and text.isdigit()


def _one(code: int) -> Chars:
    return Chars(((code, code),))


@lru_cache(maxsize=256)
def parsed(pattern: str) -> Node:
    """The tree of a pattern; `BadPattern` says what is wrong with it."""
    return _PatternReader(pattern).read()


# --- matching ---

# An instruction takes a character of a set, or goes on at two others, or at the next one under a condition.
_Instruction = tuple[Chars, int] | tuple[int, int] | tuple[Border, int] | tuple["_Look", int] | None


class _Look(Struct, frozen=True, eq=False):
    """Whether a program matches here is what is wanted."""

    start: int
    wanted: bool


class Matcher:
    """A pattern that can be matched: instructions, of which all that are reached advance together."""

    def __init__(self, node: Node) -> None:
        self._program: list[_Instruction] = []
        self._start = self._written(node, self._add(None))

    def _add(self, instruction: _Instruction) -> int:
        if len(self._program) >= MOST_INSTRUCTIONS:
            raise BadPattern(f"it needs more than {MOST_INSTRUCTIONS} steps once repeats are written out")
        self._program.append(instruction)
        return len(self._program) - 1

    def _written(self, node: Node, then: int) -> int:
        """Writes a node that goes on at `then`; returns where it begins."""
        if isinstance(node, Chars | Border):
            return self._add((node, then))  # type: ignore[arg-type]
        if isinstance(node, Series):
            for part in reversed(node.parts):
                then = self._written(part, then)
            return then
        if isinstance(node, Choice):
            starts = [self._written(option, then) for option in node.options]
            found = starts[0]
            for start in starts[1:]:
                found = self._add((found, start))
            return found
        if isinstance(node, Ahead):
            return self._add((_Look(self._written(node.part, self._add(None)), node.wanted), then))
        if node.most is None:
            again = self._add((then, then))
            self._program[again] = (self._written(node.part, again), then)
            then = again
        else:
            end = then
            for _ in range(node.most - node.least):
                then = self._add((self._written(node.part, then), end))
        for _ in range(node.least):
            then = self._written(node.part, then)
        return then

    def found_in(self, text: str, steps: Steps) -> bool:
        """Whether the pattern matches anywhere in a text; raises `OutOfSteps`."""
        return self._runs(self._start, text, 0, steps, {}, anywhere=True)

    def _runs(
        self, start: int, text: str, at: int, steps: Steps, looks: dict[tuple[int, int], bool], *, anywhere: bool
    ) -> bool:
        waiting: set[int] = set()
        for place in range(at, len(text) + 1):
            steps.take()
            if place == at or anywhere:
                waiting.add(start)
            if not waiting:
                return False
            reached = self._reached(waiting, text, place, steps, looks)
            if reached is None:
                return True
            if place == len(text):
                return False
            code = ord(text[place])
            waiting = {then for chars, then in reached if chars.has(code)}
        return False

    def _reached(
        self, starts: set[int], text: str, at: int, steps: Steps, looks: dict[tuple[int, int], bool]
    ) -> list[tuple[Chars, int]] | None:
        """The instructions that wait for the character at a place; None: the pattern has matched."""
        todo, seen = list(starts), set(starts)
        reached: list[tuple[Chars, int]] = []
        while todo:
            steps.take()
            instruction = self._program[todo.pop()]
            if instruction is None:
                return None
            what, then = instruction
            if isinstance(what, Chars):
                reached.append((what, then))
                continue
            nexts: tuple[int, ...] = (then,)
            if isinstance(what, int):
                nexts = (what, then)
            elif isinstance(what, Border):
                if not _is_at(what.kind, text, at):
                    continue
            else:
                key = (what.start, at)
                if key not in looks:
                    looks[key] = self._runs(what.start, text, at, steps, looks, anywhere=False)
                if looks[key] is not what.wanted:
                    continue
            for each in nexts:
                if each not in seen:
                    seen.add(each)
                    todo.append(each)
        return reached


def _is_at(kind: str, text: str, at: int) -> bool:
    if kind == "start":
        return at == 0
    if kind == "end":
        return at == len(text)
    before = at > 0 and _is_word(text[at - 1])
    return (before is not (at < len(text) and _is_word(text[at]))) is (kind == "word")


def _is_word(char: str) -> bool:
    return char == "_" or (char.isascii() and char.isalnum())


@lru_cache(maxsize=128)
def matcher(pattern: str) -> Matcher:
    """The matcher of a pattern; `BadPattern` says why there is none."""
    return Matcher(parsed(pattern))

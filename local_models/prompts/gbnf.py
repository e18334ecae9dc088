"""Check of GBNF before llama.cpp's parser gets it, which has no limits of its own and prints what it refuses. Pure.

Four kinds of grammar end the process or hold it for ever, however short they are:
- `((((...`: the parser calls itself for each parenthesis.
- `a{5,2}`, or long literals that are repeated: the rules fill the memory.
- `a ::= b b`, `b ::= c c`, ...: the search for left recursion walks every path, 2 to the number of rules.
- `s ::= x s "c" | "b"` where `x` may be empty only through another rule: the search misses it, and a stack grows for
  ever.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from local_models.errors import BadGrammar

LONGEST = 256 << 10  # characters of a grammar
DEEPEST = 128  # parentheses around each other
MOST_RULES, MOST_ELEMENTS = 20_000, 200_000  # after repeats are written out, as llama.cpp does
MOST_REPEATS = 2_000  # copies of a part; llama.cpp has the same limit
MOST_CHOICES = 2_000  # ways to begin a rule: each is a stack that every token is tried on
LONGEST_CHAIN = 1_000  # rules that begin with one another
MOST_PATHS = 4_000_000  # steps of the search for left recursion, over all rules

_TERMINAL = -1  # an element that takes a character or a token
_ESCAPE = r'\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\"\[\]\-])'
_SPACE = re.compile(r"(?:[ \t]+|#[^\r\n]*)*")
_SPACES = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*")
_NAME = re.compile(r"[a-zA-Z0-9-]+")
_TOKEN = re.compile(r"!?<(?:\[[0-9]{1,9}\]|[^>\[][^>]*)>")
_STRING = re.compile(rf'"(?:[^"\\]|{_ESCAPE})*"')
_CLASS = re.compile(rf"\[\^?(?:[^\]\\]|{_ESCAPE})+\]")
_REPEAT = re.compile(r"\{[ \t]*([0-9]+)[ \t]*(,)?[ \t]*([0-9]+)?[ \t]*\}")
_MARKS = {"*": (0, None), "+": (1, None), "?": (0, 1)}

Alternative = list[int]
"""Elements of one way to write a rule: numbers of rules, and `_TERMINAL`."""


@dataclass(slots=True)
class _Open:
    """A rule whose alternatives are being read: that of a name, or of parentheses."""

    rule: int
    alternatives: list[Alternative] = field(default_factory=lambda: [[]])
    symbol: int = 0  # where the last symbol of the alternative begins; repeats apply to it
    weight: int = 0  # elements that llama.cpp needs for that symbol
    copied: int = 1  # rules that a repeat of that symbol copies
    before: int = 0  # rules that there were before the parentheses


class _Parser:
    """Reads the rules of a grammar as llama.cpp does, without calling itself."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._names: dict[str, int] = {}
        self._count = 0  # rules, those of parentheses and repeats included
        self._elements = 0
        self.rules: dict[int, list[Alternative]] = {}
        self.tokens: list[str] = []

    def read(self) -> dict[str, int]:
        """Reads all rules; returns their numbers by name."""
        self._skip(_SPACES)
        while self._at < len(self._text):
            self._read_rule()
        for name, number in self._names.items():
            if number not in self.rules:
                raise _refused(f"the rule `{name[:40]}` is not defined")
        return self._names

    def _skip(self, space: re.Pattern[str]) -> None:
        found = space.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _wrong(self, why: str) -> BadGrammar:
        line = self._text.count("\n", 0, self._at) + 1
        near = self._text[self._at : self._at + 24]
        return _refused(f"{why}, in line {line} at {near!r}")

    def _new_rule(self) -> int:
        self._count += 1
        if self._count > MOST_RULES:
            raise _refused(f"it needs more than {MOST_RULES} rules")
        return self._count - 1

    def _named(self, name: str) -> int:
        if name not in self._names:
            self._names[name] = self._new_rule()
        return self._names[name]

    def _add_elements(self, count: int) -> None:
        self._elements += count
        if self._elements > MOST_ELEMENTS:
            raise _refused(f"it needs more than {MOST_ELEMENTS} elements; repeats are written out")

    def _read_rule(self) -> None:
        name = _NAME.match(self._text, self._at)
        if name is None:
            raise self._wrong("a rule begins with a name of letters, digits and `-`")
        self._at = name.end()
        self._skip(_SPACE)
        if not self._text.startswith("::=", self._at):
            raise self._wrong("`::=` is missing")
        self._at += 3
        self._skip(_SPACES)
        self._read_alternatives(_Open(self._named(name[0])))
        if self._next() not in ("", "\r", "\n"):
            raise self._wrong("this cannot be read")
        self._skip(_SPACES)

    def _read_alternatives(self, outermost: _Open) -> None:
        stack = [outermost]
        while True:
            current = stack[-1]
            sign = self._next()
            if sign == "(":
                if len(stack) > DEEPEST:
                    raise _refused(f"it has more than {DEEPEST} parentheses around each other")
                self._at += 1
                self._skip(_SPACES)
                before = self._count
                stack.append(_Open(self._new_rule(), before=before))
                continue
            if sign == ")" and len(stack) > 1:
                self._at += 1
                self.rules[current.rule] = current.alternatives
                stack.pop()
                self._add(stack[-1], [current.rule], 1, max(self._count - current.before, 1))
            elif sign == "|":
                self._at += 1
                self._skip(_SPACES)
                current.alternatives.append([])
                current.symbol = current.weight = 0
                self._add_elements(1)
                continue
            elif sign in _MARKS or sign == "{":
                self._repeat(current, *self._bounds(sign))
            elif not self._read_symbol(current, sign):
                break
            self._skip(_SPACES if len(stack) > 1 else _SPACE)
        if len(stack) > 1:
            raise self._wrong("`)` is missing")
        self.rules[outermost.rule] = outermost.alternatives

    def _add(self, current: _Open, elements: Alternative, weight: int, copied: int = 1) -> None:
        alternative = current.alternatives[-1]
        current.symbol, current.weight, current.copied = len(alternative), weight, copied
        alternative += elements
        self._add_elements(weight)

    def _read_symbol(self, current: _Open, sign: str) -> bool:
        if sign == ".":
            self._at += 1
            self._add(current, [_TERMINAL], 1)
            return True
        for mark, pattern in (('"', _STRING), ("[", _CLASS), ("<!", _TOKEN), ("", _NAME)):
            if sign and (sign in mark or not mark):
                found = pattern.match(self._text, self._at)
                if found is None:
                    if not mark:
                        return False
                    raise self._wrong("this text, class or token does not end, is empty, or has an unknown escape")
                self._at = found.end()
                if pattern is _NAME:
                    self._add(current, [self._named(found[0])], 1)
                elif pattern is _STRING and len(found[0]) == 2:
                    self._add(current, [], 0)
                else:
                    if pattern is _TOKEN and "[" not in found[0]:
                        self.tokens.append(found[0].removeprefix("!"))
                    self._add(current, [_TERMINAL], len(found[0]))
                return True
        return False

    def _bounds(self, sign: str) -> tuple[int, int | None]:
        if sign in _MARKS:
            self._at += 1
            return _MARKS[sign]
        found = _REPEAT.match(self._text, self._at)
        if found is None or (found[3] is not None and found[2] is None) or max(map(len, found.groups(""))) > 9:
            raise self._wrong("a repeat is {n}, {n,} or {n,m}")
        self._at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] is not None else None
        return least, None if most is not None and most > MOST_REPEATS >= least else most  # as llama.cpp does

    def _repeat(self, current: _Open, least: int, most: int | None) -> None:
        alternative = current.alternatives[-1]
        symbol = alternative[current.symbol :]
        if not symbol:
            raise self._wrong("there is nothing to repeat")
        times = most or least or 1
        if (most is not None and most < least) or times * current.copied > MOST_REPEATS:
            raise self._wrong(f"a repeat goes up, and makes at most {MOST_REPEATS} copies of rules")
        optional = 1 if most is None else most - least
        self._add_elements((max(least, 1) + optional) * (current.weight + 3))
        del alternative[current.symbol :]
        alternative += symbol * min(least, 2)  # more copies change no result of the checks below
        rest = -1
        for _ in range(optional):
            number = self._new_rule()
            follows = [number] if most is None else [rest] if rest >= 0 else []
            self.rules[number] = [[*symbol, *follows], []]
            rest = number
        if optional:
            alternative.append(rest)
        current.weight, current.copied = current.weight * max(least, 1) + 1, current.copied * times


def _refused(why: str) -> BadGrammar:
    return BadGrammar(f"the grammar cannot be used: {why}", field="grammar")


def _empty_rules(rules: dict[int, list[Alternative]]) -> set[int]:
    """Returns the rules that may be empty, directly or through others."""
    users: dict[int, list[tuple[int, Alternative]]] = {}
    empty: set[int] = set()
    new: list[int] = []
    for number, alternatives in rules.items():
        for alternative in alternatives:
            if not alternative:
                new.append(number)
            elif _TERMINAL not in alternative:
                for other in set(alternative):
                    users.setdefault(other, []).append((number, alternative))
    while new:
        number = new.pop()
        if number not in empty:
            empty.add(number)
            new += [user for user, parts in users.get(number, ()) if user not in empty and empty.issuperset(parts)]
    return empty


def _beginnings(alternatives: list[Alternative], empty: set[int]) -> Iterator[tuple[int, bool]]:
    """Returns what a rule may begin with: a rule or `_TERMINAL`, and whether something follows it there."""
    for alternative in alternatives:
        for at, element in enumerate(alternative):
            yield element, at + 1 < len(alternative)
            if element not in empty:
                break


def _check_beginnings(rules: dict[int, list[Alternative]]) -> None:
    """Bounds the ways to begin each rule: rules that begin with themselves, chains of rules, paths and choices."""
    empty = _empty_rules(rules)
    begins = {number: list(_beginnings(alternatives, empty)) for number, alternatives in rules.items()}
    choices: dict[int, int] = {}
    paths: dict[int, int] = {}
    depths: dict[int, int] = {}
    total = 0
    for first in rules:
        if first in depths:
            continue
        way: list[tuple[int, Iterator[tuple[int, bool]], bool]] = [(first, iter(begins[first]), False)]
        places = {first: 0}  # on the way -> its place
        while way:
            number, rest, _ = way[-1]
            for other, followed in rest:
                if other == _TERMINAL or other in depths:
                    continue
                if other in places:
                    if followed or any(grows for _, _, grows in way[places[other] + 1 :]):
                        raise _refused("a rule begins with itself")
                    continue  # it ends with itself as well: the stack stays as it is
                if len(way) >= LONGEST_CHAIN:
                    raise _refused(f"more than {LONGEST_CHAIN} rules begin with one another")
                places[other] = len(way)
                way.append((other, iter(begins[other]), followed))
                break
            else:
                way.pop()
                del places[number]
                nexts = [other for other, _ in begins[number] if other != _TERMINAL]
                depths[number] = 1 + max((depths.get(other, 0) for other in nexts), default=0)
                paths[number] = 1 + sum(paths.get(other, 1) for other in nexts)
                terminals = len(begins[number]) - len(nexts)
                choices[number] = terminals + sum(choices.get(other, 0) for other in nexts)
                total += paths[number]
                if depths[number] > LONGEST_CHAIN:
                    raise _refused(f"more than {LONGEST_CHAIN} rules begin with one another")
                if choices[number] > MOST_CHOICES or total > MOST_PATHS:
                    raise _refused(f"there are more than {MOST_CHOICES} ways to go on in one place")


@lru_cache(maxsize=16)
def check_grammar(text: str) -> tuple[str, ...]:
    """Raises `BadGrammar` for a grammar that llama.cpp would refuse or not survive.

    Returns the tokens that the grammar names, as `<text>`: each must be one token of the vocabulary.
    """
    if len(text) > LONGEST:
        raise _refused(f"it has {len(text)} characters; {LONGEST} are the most")
    if "\0" in text or not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _refused("it is no valid Unicode") from None
        if "\0" in text:
            raise _refused("it contains a NUL")
    parser = _Parser(text)
    names = parser.read()
    if "root" not in names:
        raise _refused("there is no rule `root`")
    _check_beginnings(parser.rules)
    return tuple(dict.fromkeys(parser.tokens))

"""GBNF of a pattern: the JSON strings that match it. Pure.

What a grammar cannot hold (a look ahead, the border of a word) is left out: the grammar then allows more, and the
answer is checked. A part that may be empty is never repeated as such, since llama.cpp would follow it for ever.
"""

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from local_models.prompts.patterns import Border, Chars, Choice, Node, Range, Repeat, Series, inverse, joined

_MOST_ELEMENTS = 1_500  # of one pattern, once repeats are written out
_MOST_REPEATS = 500  # more are held as endless ones
_LAST = 0x10FFFF
# What stands in a JSON string as it is, and what stands there behind a backslash.
_PLAIN = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0x80, 0xD7FF), (0xE000, _LAST))
_ESCAPED = {0x22: '"', 0x5C: "\\", 0x08: "b", 0x0C: "f", 0x0A: "n", 0x0D: "r", 0x09: "t"}
_ANY = "char*"
_EMPTY = Series()


class _NotHeld(Exception):
    """The pattern is too large for a grammar, or needs characters that it cannot write."""


def literal(text: str) -> str:
    """Returns a text as a GBNF literal."""
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    )
    return f'"{escaped}"'


def pattern_body(node: Node, rule: Callable[[str], str], least: int = 0, most: int | None = None) -> tuple[str, bool]:
    """The GBNF of what stands between the quotes, and whether it allows nothing that does not match.

    `rule` makes a rule of a body and returns its name; the rule `char` is any character. `least` and `most` are the
    characters of the whole text, which are held where the pattern repeats one set of characters and nothing else.
    """
    options: list[str] = []
    writer = _Writer(rule)
    exact = True
    for option in node.options if isinstance(node, Choice) else (node,):
        inner, from_start = _without_border(option, "start")
        inner, to_end = _without_border(inner, "end")
        if least or most is not None:
            bounded = _bounded(inner, least, most) if from_start and to_end else None
            exact = exact and bounded is not None
            inner = bounded or inner
        try:
            body = writer.written(inner)
        except _NotHeld:
            return _ANY, False
        options.append(" ".join(each for each in ("" if from_start else _ANY, body, "" if to_end else _ANY) if each))
    text = " | ".join(option or '""' for option in options)
    return (text if len(options) == 1 else f"({text})"), exact and writer.exact


def _without_border(node: Node, kind: str) -> tuple[Node, bool]:
    """A pattern without its anchor, and whether every match begins at the start of the text, or ends at its end."""
    if isinstance(node, Border) and node.kind == kind:
        return _EMPTY, True
    if isinstance(node, Choice):
        found = [_without_border(option, kind) for option in node.options]
        if all(anchored for _, anchored in found):
            return Choice(tuple(option for option, _ in found)), True
    if isinstance(node, Series) and node.parts:
        at = 0 if kind == "start" else len(node.parts) - 1
        part, anchored = _without_border(node.parts[at], kind)
        if anchored:
            return Series((*node.parts[:at], part, *node.parts[at + 1 :])), True
    return node, False


def _bounded(node: Node, least: int, most: int | None) -> Node | None:
    """A pattern of one repeated set of characters, which repeats it no more than the text may be long; None for
    others."""
    parts = [part for part in node.parts if part != _EMPTY] if isinstance(node, Series) else [node]
    if len(parts) != 1 or not isinstance(parts[0], Repeat) or not isinstance(parts[0].part, Chars):
        return None
    bounds = [each for each in (parts[0].most, most) if each is not None]
    low, high = max(parts[0].least, least), min(bounds) if bounds else None
    return None if high is not None and low > high else replace(parts[0], least=low, most=high)


def _may_be_empty(node: Node) -> bool:
    if isinstance(node, Chars):
        return False
    if isinstance(node, Series):
        return all(map(_may_be_empty, node.parts))
    if isinstance(node, Choice):
        return any(map(_may_be_empty, node.options))
    return not isinstance(node, Repeat) or node.least == 0 or _may_be_empty(node.part)


def _not_empty(node: Node) -> Node | None:
    """The same without the empty text; None: nothing else is left."""
    if not _may_be_empty(node):
        return node
    if isinstance(node, Repeat):
        part = _not_empty(node.part)
        return None if part is None or node.most == 0 else Repeat(part, 1, node.most)
    if isinstance(node, Choice):
        return _choice(_not_empty(option) for option in node.options)
    if isinstance(node, Series):
        starts = ((_not_empty(part), node.parts[at + 1 :]) for at, part in enumerate(node.parts))
        return _choice(Series((start, *rest)) for start, rest in starts if start is not None)
    return None


def _choice(options: Iterable[Node | None]) -> Node | None:
    found = tuple(option for option in options if option is not None)
    return None if not found else found[0] if len(found) == 1 else Choice(found)


class _Writer:
    """Writes nodes; `exact` is False once something was left out."""

    def __init__(self, rule: Callable[[str], str]) -> None:
        self._rule = rule
        self.exact = True

    def written(self, node: Node) -> str:
        """The GBNF of a node, in a place where alternatives need parentheses; an empty text for one that is empty."""
        body, elements = self._written(node)
        if elements > _MOST_ELEMENTS:
            raise _NotHeld
        return body

    def _written(self, node: Node) -> tuple[str, int]:
        """The GBNF and its elements, once repeats are written out."""
        if isinstance(node, Chars):
            return self._chars(node)
        if isinstance(node, Series):
            return self._series(node)
        if isinstance(node, Choice):
            found = [self._written(option) for option in node.options]
            text = " | ".join(body or '""' for body, _ in found)
            return self._sized(f"({text})", sum(count + 1 for _, count in found))
        if isinstance(node, Repeat):
            return self._repeat(node)
        self.exact = False
        return "", 0

    def _sized(self, body: str, elements: int) -> tuple[str, int]:
        if elements > _MOST_ELEMENTS:
            raise _NotHeld
        return body, elements

    def _series(self, node: Series) -> tuple[str, int]:
        bodies: list[str] = []
        count, text = 0, ""
        for part in node.parts:
            if isinstance(part, Chars) and (char := _single(part)) is not None:
                text += char
                count += 1
                continue
            if text:
                bodies.append(literal(text))
                text = ""
            body, elements = self._written(part)
            count += elements
            if body:
                bodies.append(body)
        if text:
            bodies.append(literal(text))
        return self._sized(" ".join(bodies), count)

    def _repeat(self, node: Repeat) -> tuple[str, int]:
        part: Node | None = node.part
        least, most = min(node.least, _MOST_REPEATS), node.most
        if least != node.least or (most is not None and most > _MOST_REPEATS):
            self.exact, most = False, None
        if _may_be_empty(node.part):
            part, least = _not_empty(node.part), 0
        if part is None or most == 0:
            return "", 0
        body, elements = self._written(part)
        if not body:
            return "", 0
        if isinstance(part, Series):
            body = f"({body})"
        mark = {(0, None): "*", (1, None): "+", (0, 1): "?", (1, 1): ""}.get((least, most))
        if mark is None:
            mark = f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"
        return self._sized(body + mark, (elements + 2) * max(least + (most is None), most or 0, 1))

    def _chars(self, chars: Chars) -> tuple[str, int]:
        single = _single(chars)
        if single is not None:
            return literal(single), 1
        ranges = chars.ranges
        if chars.categories:  # of what is no ASCII, all: the vocabulary of a grammar has no categories
            self.exact = False
            ranges = joined([*((code, code) for code in range(128) if chars.has(code)), (128, _LAST)])
        elif chars.negated:
            ranges = inverse(ranges)
        plain = [
            (max(low, first), min(high, last))
            for low, high in ranges
            for first, last in _PLAIN
            if low <= last and first <= high
        ]
        escaped = "".join(sign for code, sign in _ESCAPED.items() if any(low <= code <= high for low, high in ranges))
        options = [f"[{''.join(map(_class_range, plain))}]"] if plain else []
        if escaped:
            options.append(f'"\\\\" [{"".join(_class_char(ord(sign)) for sign in escaped)}]')
        if not options:
            raise _NotHeld
        body = " | ".join(options)
        return (body, 1) if len(options) == 1 and len(body) <= 12 and plain else (self._rule(body), 1)


def _single(chars: Chars) -> str | None:
    """The JSON text of a set of one character."""
    if chars.negated or chars.categories or len(chars.ranges) != 1:
        return None
    low, high = chars.ranges[0]
    if low != high:
        return None
    if low in _ESCAPED:
        return "\\" + _ESCAPED[low]
    return chr(low) if any(first <= low <= last for first, last in _PLAIN) else None


def _class_range(span: Range) -> str:
    low, high = span
    return _class_char(low) if low == high else f"{_class_char(low)}-{_class_char(high)}"


def _class_char(code: int) -> str:
    if code < 128 and chr(code).isalnum():
        return chr(code)
    return f"\\x{code:02X}" if code < 256 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"

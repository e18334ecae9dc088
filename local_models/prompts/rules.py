"""Rules of a grammar: their names and bodies in GBNF, those that all grammars share, and how large they get. Pure."""

from collections.abc import Mapping

from local_models.errors import BadGrammar
from local_models.prompts.pattern_grammar import literal

COMMON = {
    "space": '" "?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "number": '"-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?',
    "char": r'[^"\\\x00-\x1f\x7f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})',
    "string": r'"\"" char* "\""',
    "value": "object | array | string | number | boolean | null",
    "object": r'"{" space (string ":" space value ("," space string ":" space value)*)? space "}"',
    "array": r'"[" space (value ("," space value)*)? space "]"',
}
_NEEDS = {
    "string": ("char",),
    "object": ("string", "value", "space"),
    "array": ("value", "space"),
    "value": ("object", "array", "string", "number", "boolean", "null"),
}
LONGEST = 256 << 10  # characters of all rules together


def _common_beginning(texts: list[str]) -> str:
    first, last = min(texts), max(texts)  # all others lie between
    length = next(
        (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:length]


class GrammarRules:
    """Collects rules; names of those that it makes begin with `prefix`. `bodies` has all, by name."""

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self.bodies: dict[str, str] = {}
        self._named: dict[str, str] = {}  # body -> rule, for bodies that come often
        self._length = 0

    def use(self, name: str) -> str:
        """Returns the name of a rule that all grammars share, and adds it with those that it needs."""
        if name not in self.bodies:
            self.bodies[name] = COMMON[name]
            for other in _NEEDS.get(name, ()):
                self.use(other)
        return name

    def new(self, body: str) -> str:
        """Adds a rule; returns its name."""
        name = f"{self._prefix}r{len(self.bodies)}"
        self.set(name, body)
        return name

    def set(self, name: str, body: str) -> None:
        """Sets the body of a rule; raises `BadGrammar` once all rules together are too long."""
        self._length += len(body)
        if self._length > LONGEST:
            raise BadGrammar(f"the schema needs a grammar of more than {LONGEST} characters", field="schema")
        self.bodies[name] = body

    def shared(self, body: str) -> str:
        """Returns the rule of a body, one for all that are the same."""
        if body not in self._named:
            self._named[body] = self.new(body)
        return self._named[body]

    def one_of(self, texts: list[str], depth: int = 0) -> str:
        """Returns a rule for one of many texts: each beginning that texts share is written once.

        Every text that a grammar allows is compared with every token of the vocabulary: a thousand take seconds.
        """
        if len(texts) <= 2 or depth > 16:
            return self.new(" | ".join(map(literal, texts)))
        groups: dict[str, list[str]] = {}
        for text in texts:
            groups.setdefault(text[:1], []).append(text)
        parts = []
        for group in groups.values():
            shared = _common_beginning(group)
            rests = list(dict.fromkeys(text[len(shared) :] for text in group))
            parts.append(literal(shared) + (f" {self.one_of(rests, depth + 1)}" if len(rests) > 1 else ""))
        return self.new(" | ".join(parts))


def grammar_text(root: str, rules: Mapping[str, str]) -> str:
    """Returns the GBNF of a root and its rules."""
    return "\n".join([f"root ::= {root}", *(f"{name} ::= {body}" for name, body in rules.items())]) + "\n"

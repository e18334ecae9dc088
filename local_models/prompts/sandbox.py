"""Sandbox of chat templates: Jinja in which each step, and each text or list before it is made, is counted.

A template comes with a model file, from anywhere. Jinja's own sandbox keeps it from files and modules, but not from
running for hours or filling the memory. Here loops, calls and filters take steps from an `Allowance`, what they make
takes size, and functions whose result may be far larger than their input are checked before they run.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import wraps
from typing import Any

from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

MOST_STEPS = 5_000_000
LARGEST = 8 << 20  # characters of one text, with four for each in one that is not ASCII; or elements of one list
TOTAL = 64 << 20  # of all that is made
WIDEST = 10_000  # characters that a text is filled up to
_LONG_WRAPPED = 64 << 10  # characters; wrapping takes microseconds for each


class RenderLimit(Exception):
    """Raised inside a template that has used up its allowance; `late`: the time has."""

    def __init__(self, why: str, *, late: bool = False) -> None:
        super().__init__(why)
        self.late = late


class Allowance:
    """Steps, sizes and time of one rendering; `until` is in `time.monotonic`, `given` the size of its input."""

    __slots__ = ("largest", "size", "steps", "until")

    def __init__(self, until: float, *, given: int = 0, steps: int = MOST_STEPS, size: int = TOTAL) -> None:
        self.steps = steps
        self.size = size + 16 * given
        self.largest = LARGEST + 4 * given
        self.until = until

    def step(self, count: int = 1) -> None:
        """Takes steps, and looks at the time."""
        self.steps -= count
        if self.steps < 0:
            raise RenderLimit("it takes too many steps")
        if time.monotonic() > self.until:
            raise RenderLimit("it takes too long", late=True)

    def take(self, size: int) -> None:
        """Takes the size of a text or list that is about to be made."""
        if size > self.largest or size > self.size:
            raise RenderLimit("it makes too much text")
        self.size -= size


_current = threading.local()


def _allowance() -> Allowance:
    found: Allowance = _current.allowance
    return found


def with_allowance(allowance: Allowance, run: Callable[[], Any]) -> Any:
    """Runs `run` with an allowance for all templates of this thread."""
    before = getattr(_current, "allowance", None)
    _current.allowance = allowance
    try:
        return run()
    finally:
        _current.allowance = before


def _text_size(text: str) -> int:
    return len(text) if text.isascii() else 4 * len(text)


def weigh(value: Any) -> int:
    """Returns the size of a value with all that it holds; what it holds twice counts twice, as in its text."""
    if isinstance(value, str):
        return _text_size(value)
    allowance = _allowance()
    total, count, todo = 0, 0, [value]
    while todo:
        item = todo.pop()
        total += 8
        count += 1
        if not count & 255:
            allowance.step(16)
        if isinstance(item, str):
            total += _text_size(item)
        elif isinstance(item, dict):
            total += 16 * len(item)
            todo += item
            todo += item.values()
        elif isinstance(item, (list, tuple, set, frozenset)):
            total += 8 * len(item)
            todo += item
        elif isinstance(item, Namespace):
            todo.append(item._Namespace__attrs)
        elif type(item) is int:
            total += item.bit_length() // 8
        if total > allowance.largest:
            raise RenderLimit("it makes too much text")
    if total > 4096:
        allowance.step(total >> 12)
    return total


def _take_result(result: Any) -> Any:
    if isinstance(result, str):
        _allowance().take(_text_size(result))
    elif isinstance(result, (list, tuple, dict)):
        _allowance().take(weigh(result))
    return result


# --- what the compiled templates call ---


def tick() -> bool:
    """Counts a turn of a loop."""
    return True  # the call itself is counted


def concatenated(*parts: Any) -> str:
    """Returns `a ~ b`."""
    _allowance().take(sum(map(weigh, parts)))
    return "".join(map(str, parts))


def literal(value: Any) -> Any:
    """Returns a list, tuple or dict that a template writes out."""
    return _take_result(value)


def _called(name: str, *arguments: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.ImportedName(f"{__name__}.{name}"), list(arguments), [], None, None)


class _Counted(NodeTransformer):
    """Adds the calls above to the syntax tree of a template."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  # Jinja calls these by the names of its nodes
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_called("tick")))
        if node.test is not None:
            node.test = nodes.And(_called("tick"), node.test)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _called("concatenated", *node.nodes)

    def visit_List(self, node: nodes.List) -> nodes.Expr:  # noqa: N802
        return self._literal(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:  # noqa: N802
        return self._literal(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802
        return self._literal(node) if node.ctx == "load" else node

    def _literal(self, node: Any) -> nodes.Expr:
        self.generic_visit(node)
        return (
            node if all(isinstance(item, nodes.Const) for item in node.iter_child_nodes()) else _called("literal", node)
        )


# --- checks of functions whose results may be large ---

# fmt: off
_PLAIN_METHODS = frozenset((
    "strip", "lstrip", "rstrip", "lower", "upper", "title", "capitalize", "casefold", "swapcase", "startswith",
    "endswith", "find", "rfind", "index", "rindex", "count", "removeprefix", "removesuffix", "partition",
    "rpartition", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric",
    "isprintable", "isspace", "istitle", "isupper", "get", "items", "keys", "values", "copy", "is_integer",
    "bit_length"
))
# fmt: on


def _number(value: Any, most: int, what: str) -> int:
    if not isinstance(value, (int, float)) or not -most <= value <= most:
        raise RenderLimit(f"{what} is {value!r:.20}; {most} is the most")
    return int(value)


def _check_split(text: str, separator: Any = None, *_: Any, **__: Any) -> None:
    pieces = text.count(separator) + 1 if isinstance(separator, str) and separator else len(text) // 2 + 1
    _allowance().take(64 * pieces + _text_size(text))


def _check_replace(text: Any, old: Any = "", new: Any = "", *_: Any, **__: Any) -> None:
    text, old, new = str(text), str(old), str(new)
    _allowance().take(4 * (len(text) + text.count(old) * len(new)))


def _check_width(text: Any, width: Any = 80, *_: Any, **__: Any) -> None:
    _number(width, WIDEST, "a width")


def _check_format(text: Any, *values: Any, **named: Any) -> None:
    text = str(text)
    if "*" in text or re.search(r":[^{}]*\{", text):
        raise RenderLimit("a width in a format comes from a value")
    widths = [_number(int(digits), WIDEST, "a width") for digits in re.findall(r"\d{1,9}(?!\d)|\d{10}", text)]
    fields = text.count("%") + text.count("{")
    _allowance().take(len(text) + sum(widths) + fields * (weigh(values) + weigh(named)))


def _check_join(texts: list[Any], between: str) -> None:
    _allowance().take(weigh(texts) + _text_size(between) * len(texts))


def _check_indent(text: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    each = len(width) if isinstance(width, str) else _number(width, WIDEST, "a width")
    _allowance().take((str(text).count("\n") + 1) * each + 4 * len(str(text)))


def _check_wrapped(text: Any, *_: Any, **__: Any) -> None:
    if len(str(text)) > _LONG_WRAPPED:
        raise RenderLimit(f"more than {_LONG_WRAPPED} characters are wrapped")


def _check_round(value: Any, precision: Any = 0, *_: Any, **__: Any) -> None:
    _number(precision, 20, "a precision")


_TEXT_CHECKS: dict[str, Callable[..., None]] = {
    "split": _check_split,
    "rsplit": _check_split,
    "splitlines": _check_split,
    "replace": _check_replace,
    "ljust": _check_width,
    "rjust": _check_width,
    "center": _check_width,
    "zfill": _check_width,
    "expandtabs": lambda text, size=8: _check_indent(text.replace("\t", "\n"), size),
}
_FILTER_CHECKS: dict[str, Callable[..., None]] = {
    "center": _check_width,
    "format": _check_format,
    "indent": _check_indent,
    "replace": _check_replace,
    "round": _check_round,
    "wordwrap": _check_wrapped,
    "urlize": _check_wrapped,
    "striptags": _check_wrapped,
}
# These give back a value, an element or the length of what they get, and make nothing.
_CHEAP_FILTERS = frozenset(
    [
        "count",
        "length",
        "d",
        "default",
        "first",
        "last",
        "items",
        "map",
        "select",
        "selectattr",
        "reject",
        "rejectattr",
        "attr",
        "abs",
    ]
)
_OWN_FILTERS = frozenset(["join", "sum", "tojson", "list", "batch", "slice"])


def _listed(values: Iterable[Any]) -> list[Any]:
    """Lists what an iterable gives, counting as it comes."""
    if isinstance(values, (list, tuple, str, dict)):
        return list(values)
    allowance, made = _allowance(), []
    for value in values:
        allowance.step()
        allowance.take(8)
        made.append(value)
    return made


def _joined(environment: Any, values: Iterable[Any], d: str = "", attribute: Any = None) -> str:
    from jinja2.filters import make_attrgetter

    if attribute is not None:
        values = map(make_attrgetter(environment, attribute), values)
    texts, between = _listed(values), str(d)
    _check_join(texts, between)
    return between.join(map(str, texts))


def _summed(environment: Any, values: Iterable[Any], attribute: Any = None, start: Any = 0) -> Any:
    from jinja2.filters import make_attrgetter

    if attribute is not None:
        values = map(make_attrgetter(environment, attribute), values)
    for value in values:
        start = environment.call_binop(None, "+", start, value)
    return start


def _as_json(value: Any, **how: Any) -> str:
    indent = how.get("indent")
    each = len(indent) if isinstance(indent, str) else _number(indent or 0, 16, "an indent")
    separators = "".join(map(str, how.get("separators") or ()))
    _allowance().take(weigh(value) * (2 + each + len(separators)))
    return json.dumps(value, ensure_ascii=False, **how)


def _batched(values: Iterable[Any], size: Any, filled_with: Any = None) -> list[list[Any]]:
    items, size = _listed(values), max(_number(size, WIDEST, "a size"), 1)
    made = [items[at : at + size] for at in range(0, len(items), size)]
    if made and filled_with is not None:
        made[-1] += [filled_with] * (size - len(made[-1]))
    return made


def _sliced(values: Iterable[Any], count: Any, filled_with: Any = None) -> list[list[Any]]:
    items, count = _listed(values), max(_number(count, WIDEST, "a number of slices"), 1)
    each, longer = divmod(len(items), count)
    made, at = [], 0
    for number in range(count):
        end = at + each + (number < longer)
        made.append(items[at:end])
        if filled_with is not None and number >= longer:
            made[-1].append(filled_with)
        at = end
    return made


def _now(form: str) -> str:
    if len(str(form)) > 200 or re.search(r"\d{3}", str(form)):
        raise RenderLimit("a form of the time is too long")
    return datetime.now().astimezone().strftime(str(form))


def _counted_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    check = _FILTER_CHECKS.get(name)
    skipped = 1 if hasattr(function, "jinja_pass_arg") else 0  # the context or environment
    cheap = name in _CHEAP_FILTERS

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        allowance = _allowance()
        allowance.step()
        if cheap:
            return function(*arguments, **named)
        values = list(arguments[skipped:])
        if values and hasattr(values[0], "__next__"):
            values[0] = _listed(values[0])
        allowance.take(sum(map(weigh, values)))
        if check is not None:
            check(*values, **named)
        return _take_result(function(*arguments[:skipped], *values, **named))

    return run


class CountingEnvironment(ImmutableSandboxedEnvironment):
    """Environment of chat templates. Its templates render inside `with_allowance` only."""

    intercepted_binops = frozenset(["+", "*", "%", "**"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols"],
            finalize=self._finalized,
            optimized=False,
        )
        from jinja2 import pass_environment

        del self.globals["lipsum"]
        self.globals["strftime_now"] = _now
        filters = {name: each for name, each in self.filters.items() if name not in ("random", "pprint", "xmlattr")}
        self.filters = {name: _counted_filter(name, each) for name, each in filters.items() if name not in _OWN_FILTERS}
        own: dict[str, Any] = {"join": pass_environment(_joined), "sum": pass_environment(_summed), "tojson": _as_json}
        own |= {"list": _listed, "batch": _batched, "slice": _sliced}
        self.filters |= {name: _counted_filter(name, each) for name, each in own.items()}

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Joins the pieces of a template, a block or a macro."""
        take, made = _allowance().take, []
        for part in parts:
            take(len(part) + 8 if part.isascii() else 4 * len(part) + 8)
            made.append(part)
        text = "".join(made)
        take(_text_size(text))
        return text

    @staticmethod
    def _finalized(value: Any) -> Any:
        """Counts a list or mapping before it becomes text."""
        if not isinstance(value, (str, int, float)) and value is not None:
            _allowance().take(2 * weigh(value))
        return value

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Counted().visit(super()._parse(source, name, filename))
        return tree

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Runs `+`, `*`, `%` or `**` of a template."""
        small = type(left) is int and type(right) is int and -(1 << 63) < left < 1 << 63
        if not (small and operator in ("+", "%")):
            _check_binop(operator, left, right)
        return self.binop_table[operator](left, right)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Calls a function, a method or a macro of a template."""
        _allowance().step()
        if called is tick:
            return True
        owner = getattr(called, "__self__", None)
        if isinstance(owner, (str, bytes, int, float, list, tuple, dict, type)):
            name = getattr(called, "__name__", "")
            if name == "join" and isinstance(owner, str) and args:
                args = (_listed(args[0]),)
                _check_join(args[0], owner)
            elif isinstance(owner, str) and name in _TEXT_CHECKS:
                _TEXT_CHECKS[name](owner, *args, **kwargs)
            elif name not in _PLAIN_METHODS or isinstance(owner, type):
                raise RenderLimit(f"it calls `{name[:40]}`")
        result = super().call(context, called, *args, **kwargs)
        return _take_result(result)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Returns `str.format` of a text, checked; None for other functions."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def checked(*values: Any, **named: Any) -> str:
            _check_format(value.__self__, *values, **named)
            return wrapped(*values, **named)

        return checked


def _check_binop(operator: str, left: Any, right: Any) -> None:
    if operator == "+":
        if type(left) is not int and type(left) is not float:
            _allowance().take(weigh(left) + weigh(right))
    elif operator == "*":
        times, value = (left, right) if isinstance(left, int) else (right, left)
        if isinstance(value, int) and isinstance(times, int):
            _number(value.bit_length() + times.bit_length(), 4096, "the length of a product")
        elif isinstance(times, int) and not isinstance(value, float):
            _allowance().take((weigh(value) + 8) * max(times, 0))
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int):
            _number(left.bit_length() * abs(right), 4096, "the length of a power")
    elif isinstance(left, str):
        _check_format(left, *(right if isinstance(right, tuple) else (right,)))

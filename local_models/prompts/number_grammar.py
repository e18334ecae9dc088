"""GBNF of numbers within bounds, and of multiples. Pure.

The bounds of whole numbers are held exactly. Those of other numbers are, but for a bound that is excluded and has
digits behind the point; whoever needs to know checks the answer.
"""

from collections.abc import Callable
from decimal import Decimal

from local_models.prompts.schemas import Bounds

_DIGITS = 15  # behind the point, and before it beyond the longer bound
_FRACTION = f'("." [0-9]{{1,{_DIGITS}}})?'
_LONGEST = 40  # digits of a bound that is held
_MOST_RULES = 400  # of multiples whose last digits do not say what they are


def integer_body(low: int | None, high: int | None) -> str | None:
    """The GBNF of the whole numbers between two bounds, both included; None: there are none."""
    low = None if low is not None and len(str(abs(low))) > _LONGEST else low
    high = None if high is not None and len(str(abs(high))) > _LONGEST else high
    if low is not None and high is not None and low > high:
        return None
    parts = []
    if high is None or high >= 0:
        parts += _natural(max(low or 0, 0), high)
    if low is None or low < 0:
        least = max(1, -high) if high is not None and high < 0 else 1
        body = _one_of(_natural(least, None if low is None else -low))
        parts.append(f'"-" {body}')
    return _one_of(parts)


def _one_of(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({' | '.join(parts)})"


def _natural(low: int, high: int | None) -> list[str]:
    """Ways to write the whole numbers from `low`, at least 0, up to `high`: those of each length."""
    parts = []
    last = len(str(low if high is None else high))
    for length in range(len(str(low)), last + 1):
        first = max(low, 10 ** (length - 1) if length > 1 else 0)
        end = 10**length - 1 if high is None else min(high, 10**length - 1)
        parts.append(_between(str(first), str(end)))
    if high is None:
        parts.append(f"[1-9] [0-9]{{{last},{max(_DIGITS, last + 3)}}}")
    return parts


def _between(low: str, high: str) -> str:
    """The digits between two texts of one length."""
    if low == high:
        return f'"{low}"'
    same = next(at for at in range(len(low)) if low[at] != high[at])
    start, (low, high) = low[:same], (low[same:], high[same:])
    parts, rest = [], len(low) - 1
    first, last = int(low[0]), int(high[0])
    if low[1:].strip("0"):
        parts.append(f'"{first}" {_between(low[1:], "9" * rest)}')
        first += 1
    top = None
    if high[1:].strip("9"):
        top = f'"{last}" {_between("0" * rest, high[1:])}'
        last -= 1
    if first <= last:
        parts.append(_digit(first, last) + _more(rest))
    if top is not None:
        parts.append(top)
    return (f'"{start}" ' if start else "") + _one_of(parts)


def _digit(first: int, last: int) -> str:
    return f'"{first}"' if first == last else f"[{first}-{last}]"


def _more(count: int) -> str:
    return f" [0-9]{{{count}}}" if count else ""


# --- numbers with digits behind the point ---


def number_body(bounds: Bounds) -> str | None:
    """The GBNF of the numbers within bounds; None: no grammar holds them, or there are none."""
    low, high = bounds.low, bounds.high
    if any(each is not None and not _is_plain(each) for each in (low, high)):
        return None
    if low is not None and high is not None and low > high:
        return None
    parts: list[str] = []
    if high is None or high > 0 or (high == 0 and not bounds.under):
        above = low is not None and low >= 0
        parts += _magnitude(low if above and low else Decimal(0), high, above and bounds.over, bounds.under)
    if low is None or low < 0:
        below = high is not None and high <= 0
        least = -high if below and high else Decimal(0)
        inner = _magnitude(least, None if low is None else -low, below and bounds.under, bounds.over)
        parts += [f'"-" {_one_of(inner)}'] if inner else []
    return _one_of(parts) if parts else None


def _is_plain(bound: Decimal) -> bool:
    if not bound.is_finite() or abs(bound.adjusted()) > _DIGITS:
        return False
    return len(_split(abs(bound))[1]) < _DIGITS


def _split(number: Decimal) -> tuple[int, str]:
    """The whole part, and the digits behind the point without zeros at the end."""
    whole, _, rest = f"{number:f}".partition(".")
    return int(whole), rest.rstrip("0")


def _magnitude(low: Decimal, high: Decimal | None, over: bool, under: bool) -> list[str]:
    """Ways to write the numbers from `low`, at least 0, up to `high`."""
    first, after = _split(low)
    if high is not None:
        last, before = _split(high)
        if first == last and after:
            return [f'"{first}" "." {_fraction_between(after, before)}']
        if first == last and before:
            return [f'"{first}" ("." {_at_most(before)})?']
        if first == last:
            return [] if over or under else [f'"{first}" ("." "0"{{1,{_DIGITS}}})?']
    parts = []
    if after:
        parts.append(f'"{first}" "." {_at_least(after)}')
        first += 1
    elif over:
        parts.append(f'"{first}" "." [0-9]{{0,{_DIGITS - 1}}} [1-9]')
        first += 1
    if high is None:
        parts.append(f"{_one_of(_natural(first, None))} {_FRACTION}")
        return parts
    if first <= last - 1:
        parts.append(f"{_one_of(_natural(first, last - 1))} {_FRACTION}")
    if before:
        parts.append(f'"{last}" ("." {_at_most(before)})?')
    elif not under:
        parts.append(f'"{last}" ("." "0"{{1,{_DIGITS}}})?')
    return parts


def _any_digits(count: int) -> str:
    return f" [0-9]{{0,{count}}}"


def _at_least(digits: str, room: int = _DIGITS) -> str:
    """Digits behind a point that are no less than these."""
    first, rest = int(digits[0]), digits[1:]
    parts = [f"{_digit(first + 1, 9)}{_any_digits(room - 1)}"] if first < 9 else []
    parts.append(f'"{first}" {_at_least(rest, room - 1)}' if rest else f'"{first}"{_any_digits(room - 1)}')
    return _one_of(parts)


def _at_most(digits: str, room: int = _DIGITS) -> str:
    """Digits behind a point that are no more than these."""
    first, rest = int(digits[0]), digits[1:]
    parts = [f"{_digit(0, first - 1)}{_any_digits(room - 1)}"] if first else []
    parts.append(f'"{first}" ({_at_most(rest, room - 1)})?' if rest else f'"{first}" "0"{{0,{room - 1}}}')
    return _one_of(parts)


def _fraction_between(low: str, high: str, room: int = _DIGITS) -> str:
    """Digits behind a point between these."""
    high = high.ljust(len(low), "0")
    first, last = int(low[0]), int(high[0])
    if first == last:
        rest = high[1:].rstrip("0")
        if low[1:]:
            return f'"{first}" {_fraction_between(low[1:], high[1:], room - 1)}'
        return f'"{first}" ({_at_most(rest, room - 1)})?' if rest else f'"{first}" "0"{{0,{room - 1}}}'
    parts = [f'"{first}" {_at_least(low[1:], room - 1)}' if low[1:] else f'"{first}"{_any_digits(room - 1)}']
    if first + 1 <= last - 1:
        parts.append(f"{_digit(first + 1, last - 1)}{_any_digits(room - 1)}")
    rest = high[1:].rstrip("0")
    parts.append(f'"{last}" ({_at_most(rest, room - 1)})?' if rest else f'"{last}" "0"{{0,{room - 1}}}')
    return _one_of(parts)


# --- multiples ---


def ending(divisor: int) -> int:
    """How many last digits say whether a number is a multiple; 0: it takes all of them, or too many."""
    return next((count for count in (1, 2, 3) if 10**count % divisor == 0), 0)


def multiples_by_ending(divisor: int, low: int, high: int | None) -> tuple[list[str], str | None, list[str]]:
    """The multiples between two bounds from 0 on: some by themselves, and the GBNF of what stands before any of the
    endings, which come last; None: there are no others."""
    size = 10 ** ending(divisor)
    first, last = max(-(-low // size), 1), None if high is None else (high + 1) // size - 1
    if last is not None and first > last:
        assert high is not None
        alone, before = [range(low, high + 1)], None
    else:
        alone, before = [range(low, first * size)], _one_of(_natural(first, last))
        if last is not None and high is not None:
            alone.append(range((last + 1) * size, high + 1))
    texts = [str(number) for part in alone for number in part if number % divisor == 0]
    return texts, before, [f"{number:0{len(str(size)) - 1}}" for number in range(0, size, divisor)]


def multiples_bodies(divisor: int, name: Callable[[int, int], str]) -> tuple[str, dict[str, str]]:
    """The GBNF of the multiples of a whole number from 0 on, and the rules that it needs: what may follow for each
    remainder of the digits that are written so far, and the number of digits that are left. `name` names one."""
    most = min(_DIGITS, _MOST_RULES // divisor)
    alive = [{0}]  # remainders from which so many digits lead to a multiple
    for _ in range(most):
        alive.append(
            {0} | {left for left in range(divisor) if any((10 * left + d) % divisor in alive[-1] for d in range(10))}
        )
    rules = {name(0, 0): '""'}
    todo = [(0, most)]
    while todo:
        remainder, left = todo.pop()
        nexts: dict[int, str] = {}
        for digit in range(1 if left == most else 0, 10):
            after = (10 * remainder + digit) % divisor
            if after in alive[left - 1]:
                nexts[after] = nexts.get(after, "") + str(digit)
        options = [f"[{digits}] {name(after, left - 1)}" for after, digits in nexts.items()]
        first = left == most
        rules[name(remainder, left)] = " | ".join(['"0"' if first else '""', *options] if remainder == 0 else options)
        for after in nexts:
            if name(after, left - 1) not in rules:
                rules[name(after, left - 1)] = ""  # on its way
                todo.append((after, left - 1))
    return name(0, most), rules

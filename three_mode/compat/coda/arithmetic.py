"""Arithmetic for the calculator: an expression is parsed, and only numbers, operators and a few functions count.

Nothing is evaluated as Python. Numbers, powers and depth are bounded, so that no expression takes long.
"""

import ast
import math
import operator
from collections.abc import Callable

Number = int | float
MOST_CHARACTERS = 500
MOST_BITS = 4096  # of a whole number on the way

_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "log": math.log,
    "max": max,
    "min": min,
    "round": round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
_CONSTANTS = {"e": math.e, "pi": math.pi}


def value_of(expression: str) -> Number:
    """The value of an arithmetic expression, such as `2 + 2 * sqrt(9)`. ValueError says what is wrong with it."""
    if len(expression) > MOST_CHARACTERS:
        raise ValueError(f"an expression has at most {MOST_CHARACTERS} characters")
    try:
        tree = ast.parse(expression.strip().replace("^", "**"), mode="eval")
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"{expression!r} is no arithmetic") from None
    try:
        return _value(tree.body)
    except (ArithmeticError, RecursionError, TypeError) as error:
        raise ValueError(f"{expression!r} has no value: {error}") from None


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(number)
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _BINARY:
            return _bounded(_BINARY[type(sign)](_value(left), _value(right)))
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_value(operand))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _called(name, [_value(each) for each in arguments])
    raise ValueError(f"{ast.unparse(node)!r} is no arithmetic; there are numbers, + - * / // % **, {_names()}")


def _called(name: str, arguments: list[Number]) -> Number:
    try:
        return _bounded(_FUNCTIONS[name](*arguments))
    except ValueError as error:
        raise ValueError(f"{name} has no value for {', '.join(map(str, arguments))}: {error}") from None


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > MOST_BITS:
        raise ValueError(f"{base}**{exponent} is too large")
    found = base**exponent
    if isinstance(found, complex):
        raise ValueError(f"{base}**{exponent} is no real number")
    return _bounded(found)


def _bounded(number: Number) -> Number:
    if isinstance(number, int) and number.bit_length() > MOST_BITS:
        raise ValueError("the number is too large")
    return number


def _names() -> str:
    return ", ".join([*sorted(_FUNCTIONS), *sorted(_CONSTANTS)])

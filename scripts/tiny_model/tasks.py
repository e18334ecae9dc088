"""Tasks of the tiny model: makes conversations from a seed, with a part of each task held out for the measurement.

A hash of the task's key (the pair of numbers to add, the value of the fact, the text to repeat) decides the split, so
that the model has seen a held-out prompt in no wording.
"""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from scripts.tiny_model import vocabulary as v

LOWER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
VOWELS, CONSONANTS = "aeiou", "bcdfghjklmnprstvwz"
ABOUT = "I am a tiny model. I can recall, repeat, add, count and call tools."
HELLO = "Hello! I can recall, repeat, add, count and call tools."
UNSURE = "I can only recall, repeat, add, count and call tools."


@dataclass(frozen=True)
class Turn:
    """One message of the user and its answer."""

    user: str
    answer: str
    task: str
    role: str = v.USER  # `<|tool|>` when a tool's result is answered


@dataclass
class Conversation:
    """System prompt and turns."""

    system: str = ""
    turns: list[Turn] = field(default_factory=list)


def held_out(task: str, key: str) -> bool:
    """Whether a key belongs to the measurement: one in ten, and one in four of the few counts."""
    return zlib.crc32(f"{task}:{key}".encode()) % (4 if task == "count" else 10) == 0


def word(rng: random.Random) -> str:
    """Makes a word of one to three syllables."""
    return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 3))) + (
        rng.choice(CONSONANTS) if rng.random() < 0.4 else ""
    )


def value(rng: random.Random) -> str:
    """Makes a value to remember: letters and digits, a number, or a word."""
    kind = rng.random()
    if kind < 0.5:
        return "".join(rng.choice(LOWER + DIGITS) for _ in range(rng.randint(3, 9)))
    if kind < 0.7:
        return "".join(rng.choice(DIGITS) for _ in range(rng.randint(1, 7)))
    text = word(rng) + (word(rng) if rng.random() < 0.4 else "")
    return text.capitalize() if rng.random() < 0.5 else text


def text(rng: random.Random) -> str:
    """Makes a text to repeat: a few words or values."""
    return " ".join(value(rng) if rng.random() < 0.6 else word(rng) for _ in range(rng.randint(1, 4)))


def of_split(rng: random.Random, task: str, make: Callable[[random.Random], str], measure: bool) -> str:
    """Makes keys until one belongs to the measurement, or to the training."""
    while True:
        made = make(rng)
        if held_out(task, made) == measure:
            return made


def persona(rng: random.Random) -> str:
    """Makes the first sentence of a system prompt, often none."""
    kind = rng.random()
    if kind < 0.35:
        return f"You are agent {rng.randint(0, 999)}."
    if kind < 0.5:
        return f"You are {word(rng).capitalize()}."
    if kind < 0.65:
        return f"You are an agent of the {word(rng)} team."
    return ""


def filler(rng: random.Random) -> str:
    """Makes a sentence that states nothing."""
    return " ".join(word(rng) for _ in range(rng.randint(2, 8))).capitalize() + "."


def facts(rng: random.Random, measure: bool, count: int) -> dict[str, str]:
    """Makes facts: the value of each key."""
    return {key: of_split(rng, "recall", value, measure) for key in rng.sample(v.KEYS, count)}


def system_of(rng: random.Random, known: dict[str, str], fillers: int) -> str:
    """Makes a system prompt that states facts among other sentences."""
    sentences = [f"Your {key} is {fact}." for key, fact in known.items()]
    sentences += [filler(rng) for _ in range(fillers)]
    rng.shuffle(sentences)
    return " ".join(part for part in (persona(rng), *sentences) if part)


def recall(rng: random.Random, known: dict[str, str]) -> Turn:
    """Makes a question for one of the facts."""
    key = rng.choice(list(known))
    ask = rng.choice((f"What is your {key}?", f"Tell me your {key}.", f"What is the {key}?"))
    return Turn(ask, f"Your {key} is {known[key]}.", "recall")


def echo(rng: random.Random, measure: bool) -> Turn:
    """Makes a request to repeat a text."""
    said = of_split(rng, "echo", text, measure)
    return Turn(rng.choice((f"Repeat: {said}", f"Say {said}", f"Echo: {said}")), said, "echo")


def add(rng: random.Random, measure: bool, small: float = 0.0) -> Turn:
    """Makes a sum of two numbers; a part `small` of them gets one digit, which an even draw seldom gives."""

    def number(r: random.Random) -> int:
        return r.randint(0, 9 if small and r.random() < small else 99)

    pair = of_split(rng, "add", lambda r: f"{number(r)}+{number(r)}", measure)
    a, b = pair.split("+")
    ask = rng.choice((f"What is {a} + {b}?", f"{a} + {b}", f"Add {a} and {b}."))
    return Turn(ask, str(int(a) + int(b)), "add")


def count(rng: random.Random, measure: bool, long: float = 0.0) -> Turn:
    """Makes a count; a part `long` goes past ten, where the last digit repeats and the end is easily missed."""

    def span(r: random.Random) -> str:
        start = r.randint(0, 20) if r.random() < 0.2 else r.randint(0, 499)
        return f"{start}-{start + (11 if long and r.random() < long else r.randint(1, 11))}"

    start, end = map(int, of_split(rng, "count", span, measure).split("-"))
    ask = f"Count to {end}." if start == 1 and rng.random() < 0.7 else f"Count from {start} to {end}."
    return Turn(ask, " ".join(map(str, range(start, end + 1))), "count")


def tools(rng: random.Random) -> dict[str, str]:
    """Makes tools: the name of each, and the name of its one parameter."""

    def name() -> str:
        made = word(rng) + (word(rng) if rng.random() < 0.5 else "")
        return f"{made}_{word(rng)}" if rng.random() < 0.3 else made

    natural = {"weather": "city", "search": "query", "open": "path", "time": "zone", "mail": "to"}
    offered = {name(): name() for _ in range(rng.randint(1, 2))}
    if rng.random() < 0.3:
        chosen = rng.choice(list(natural))
        offered[chosen] = natural[chosen]
    return offered


def tool_text(offered: dict[str, str]) -> str:
    """Returns tools as the prompt shows them: each as a call with an empty argument, so that a call is a copy."""
    return "".join(v.TOOL_SPEC + call_text(name, parameter, "") for name, parameter in offered.items())


def call_text(name: str, parameter: str, argument: str) -> str:
    """Returns the JSON of a call."""
    return '{"name": "' + name + '", "arguments": {"' + parameter + '": "' + argument + '"}}'


def tool_call(rng: random.Random, offered: dict[str, str], measure: bool) -> Turn:
    """Makes a request that is answered with a call of a tool."""
    name = rng.choice(list(offered))
    argument = of_split(rng, "tool", value, measure)
    ask = rng.choice((f"Call {name} with {argument}.", f"What is the {name} in {argument}?"))
    return Turn(ask, f"{v.TOOL_CALL}{call_text(name, offered[name], argument)}{v.TOOL_CALL_END}", "tool")


def small_talk(rng: random.Random) -> Turn:
    """Makes a greeting, a question about the model, or a request that it cannot answer."""
    kind = rng.random()
    if kind < 0.35:
        return Turn(rng.choice(("Hello", "Hello!", "Hi", "Hi!", "hi", "hello")), HELLO, "talk")
    if kind < 0.65:
        return Turn(rng.choice(("Who are you?", "Help", "Help!", "What can you do?", "What are you?")), ABOUT, "talk")
    opening = rng.choice(("Why ", "How ", "Please ", "I ", "", "Make ", "Write "))
    return Turn(opening + " ".join(word(rng) for _ in range(rng.randint(2, 5))) + rng.choice("?.!"), UNSURE, "talk")


TASKS = ("recall", "echo", "add", "count", "tool")


def one(task: str, rng: random.Random, measure: bool, fillers: int = 1) -> Conversation:
    """Makes a conversation of one turn, as the measurement asks it."""
    if task == "recall":
        known = facts(rng, measure, rng.randint(1, 3))
        return Conversation(system_of(rng, known, rng.randint(0, fillers)), [recall(rng, known)])
    if task == "tool":
        offered = tools(rng)
        return Conversation(persona(rng) + tool_text(offered), [tool_call(rng, offered, measure)])
    turn = {"echo": echo, "add": add, "count": count}[task](rng, measure)
    return Conversation(persona(rng), [turn])


def mixed(
    rng: random.Random,
    turns: int,
    shares: dict[str, float],
    fillers: int = 1,
    small: float = 0.0,
    long: float = 0.0,
) -> Conversation:
    """Makes a conversation of several turns, for the training: what its first task needs, and sometimes more."""
    first = rng.choices(TASKS, [shares[task] for task in TASKS])[0]
    known = facts(rng, False, rng.randint(1, 3)) if first == "recall" or rng.random() < 0.2 else {}
    offered = tools(rng) if first == "tool" or rng.random() < 0.1 else {}
    system = system_of(rng, known, rng.randint(0, fillers)) if known else persona(rng)
    made = Conversation(system + tool_text(offered))
    possible = [task for task in TASKS if (known or task != "recall") and (offered or task != "tool")]
    more = rng.choices(possible, [shares[task] for task in possible], k=rng.randint(0, turns - 1))
    for task in (first, *more):
        if rng.random() < 0.03:
            made.turns.append(small_talk(rng))
        if task == "recall":
            made.turns.append(recall(rng, known))
        elif task == "tool":
            made.turns.append(tool_call(rng, offered, False))
            if rng.random() < 0.3:  # the tool answers, and the model repeats the answer
                result = of_split(rng, "echo", text, False)
                made.turns.append(Turn(result, result, "echo", v.TOOL))
        elif task == "add":
            made.turns.append(add(rng, False, small))
        elif task == "count":
            made.turns.append(count(rng, False, long))
        else:
            made.turns.append(echo(rng, False))
    return made


def first_steps(rng: random.Random) -> Conversation:
    """Makes short texts to copy, which the model learns first: all tasks but the sums need it."""
    kind = rng.random()
    if kind < 0.6:
        said = of_split(rng, "echo", value, False)
        return Conversation("", [Turn(rng.choice((f"Repeat: {said}", f"Say {said}", f"Echo: {said}")), said, "echo")])
    if kind < 0.8:
        known = facts(rng, False, rng.randint(1, 2))
        return Conversation(system_of(rng, known, 0), [recall(rng, known)])
    return Conversation("", [add(rng, False)])


def rendered(conversation: Conversation) -> list[tuple[str, bool]]:
    """Returns the text of a conversation in parts, with True for those that the model writes."""
    parts: list[tuple[str, bool]] = []
    if conversation.system:
        parts.append((f"{v.SYSTEM}{conversation.system}{v.END}", False))
    for turn in conversation.turns:
        parts.append((f"{turn.role}{turn.user}{v.END}{v.ASSISTANT}", False))
        parts.append((f"{turn.answer}{v.END}", True))
    return parts

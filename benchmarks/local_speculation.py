"""Speculation: answers that repeat their prompts, and free text, with tokens guessed as many as pay and without."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal

from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async
from benchmarks.local_defaults import HOW_TO_GET_MODEL, model_path
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model as random_model
from local_models import LoadOptions, LocalModel, Reply

WITH, WITHOUT = "three-mode", "without"
CONTEXT = 512
TEXTS = 2  # of a case: more callers than these share them, so that little time goes into reading prompts
LINE = 12  # tokens of a line about a person
NAMES = ("Anna", "Boris", "Clara", "David", "Elena", "Frank", "Greta", "Henry", "Ines", "Jonas", "Karin", "Louis")
CITIES = ("Berlin", "Paris", "Madrid", "Rome", "Vienna", "Oslo", "Prague", "Lisbon", "Dublin", "Athens")
FIRST_WORD, VOCABULARY = 400, 8192  # tokens of the 30M model
Prompt = list[dict[str, Any]] | list[int]
Call = tuple[Prompt, dict[str, Any]]
"""Prompt, as messages or tokens, and the options of its answer."""


@dataclass(frozen=True)
class Case:
    """Calls that are made at once."""

    name: str
    kind: Literal["edit", "extraction", "JSON", "copy", "free text"]
    callers: int
    at_least: float  # of the rate without
    tokens: int  # of each answer


REAL = (
    Case("edit, 1 caller", "edit", 1, 2.0, 24),
    Case("JSON, 1 caller", "JSON", 1, 2.0, 24),
    Case("edit, 8 callers", "edit", 8, 1.5, 12),
    Case("free text, 1 caller", "free text", 1, 0.97, 24),
)
COUNTING = (
    Case("copy, 1 caller", "copy", 1, 2.0, 48),
    Case("copy, 8 callers", "copy", 8, 1.5, 24),
    Case("copy, 64 callers", "copy", 64, 1.0, 12),
    Case("free text, 8 callers", "free text", 8, 0.97, 24),
)


def _people(rng: random.Random, lines: int) -> list[tuple[str, str, int]]:
    return [(rng.choice(NAMES), rng.choice(CITIES), rng.randint(20, 80)) for _ in range(lines)]


def _real_call(case: Case, seed: int) -> Call:
    rng = random.Random(seed)
    people = _people(rng, -(-case.tokens // LINE))
    options: dict[str, Any] = {"temperature": 0, "max_tokens": case.tokens}
    text = " ".join(f"{name} lives in {city} and is {age} years old." for name, city, age in people)
    if case.kind == "free text":
        prompt = f"Tell me about {rng.choice(CITIES)}, and a friend named {rng.choice(NAMES)} of {people[0][2]} years."
        return [{"role": "user", "content": prompt}], options | {"temperature": 0.8}
    if case.kind == "JSON":
        record = {"type": "object", "properties": {"name": {"type": "string"}, "city": {"type": "string"}}}
        schema = {"type": "array", "items": record, "minItems": len(people), "maxItems": len(people)}
        return [{"role": "user", "content": f"{text} List name and city of each person."}], options | {"schema": schema}
    prompt = f"Correct the text, and change nothing that is right. Text: {text}"
    return [{"role": "user", "content": prompt}], options


def _counting_call(case: Case, seed: int) -> Call:
    """The model counts through its vocabulary: behind the first token of a prompt it writes the prompt again."""
    low, high = FIRST_WORD, VOCABULARY - 2 * case.tokens
    first = low + random.Random(seed).randrange(high - low)
    options: dict[str, Any] = {"temperature": 0, "max_tokens": case.tokens}
    if case.kind == "free text":
        options |= {"temperature": 10.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    return [*range(first, first + case.tokens + 8), first], options


async def _rate(model: LocalModel, calls: Sequence[Call]) -> float:
    """Measures the tokens a second of all callers, each from its first token to its last."""

    async def answer(number: int, prompt: Prompt, options: dict[str, Any]) -> Reply:
        tokens = [part for part in prompt if isinstance(part, int)]
        if tokens:
            return await model.complete(tokens, agent=str(number), **options)
        return await model.chat([part for part in prompt if isinstance(part, dict)], agent=str(number), **options)

    replies = await asyncio.gather(*(answer(n, prompt, options) for n, (prompt, options) in enumerate(calls)))
    usages = [reply.usage for reply in replies]
    return sum((u.completion_tokens - 1) / max(u.total_seconds - u.first_token_seconds, 1e-6) for u in usages)


async def _measure(path: Path, label: str, cases: Sequence[Case], context: Context, rounds: int) -> list[Row]:
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        models = {}
        for subject, speculate in ((WITH, "auto"), (WITHOUT, "off")):
            options = LoadOptions(
                threads=subjects.THREADS,
                sequences=max(case.callers for case in cases),
                context=CONTEXT,
                speculate=speculate,  # type: ignore[arg-type]
            )
            models[subject] = await stack.enter_async_context(await LocalModel.load(path, options))
        make = _counting_call if label == "30M" else _real_call
        for number, case in enumerate(cases):
            context.progress(f"{label}, {case.name}")
            seeds = dict.fromkeys(models, 0) | {subject: count(1) for subject in models}

            async def sample(subject: str, case: Case = case, seeds: dict[str, Any] = seeds) -> float:
                # other texts in each round: the answers of the round before would be known
                first = 1000 * next(seeds[subject])
                return await _rate(models[subject], [make(case, first + n % TEXTS) for n in range(case.callers)])

            takes = {subject: (lambda subject=subject: sample(subject)) for subject in models}
            warm_up = 1 if number == 0 else 0
            for subject, samples in (await alternate_async(takes, rounds, warm_up)).items():
                rows.append(
                    Row(
                        case=f"{label}, {case.name}",
                        subject=subject,
                        unit="tokens/s",
                        samples=samples,
                        higher_is_better=True,
                        note=await _share(models[subject]) if subject == WITH else "",
                    )
                )
    return rows


async def _share(model: LocalModel) -> str:
    counts = await model.statistics()
    return f"{counts.accepted_tokens} of {counts.proposed_tokens} proposed tokens were right so far"


def run(context: Context) -> Iterator[Row | Missing]:
    rounds, path = context.rounds(5, least=1), model_path()
    yield from asyncio.run(_measure(random_model("counting-30m-spm"), "30M", COUNTING, context, rounds))
    if path is None:
        yield Missing(case="SmolLM2", subject=WITH, how_to_get=HOW_TO_GET_MODEL)
        return
    yield from asyncio.run(_measure(path, "SmolLM2", REAL, context, rounds))


BENCHMARK = Benchmark(
    summary="answers that repeat their prompts, and free text, with guessed tokens and without",
    run=run,
    targets=[
        Target(case=f"{label}, {case.name}", subject=WITH, peer=WITHOUT, at_least=case.at_least)
        for label, cases in (("30M", COUNTING), ("SmolLM2", REAL))
        for case in cases
    ],
    notes=(
        "One model loaded twice, in turn, each round with other texts. The sum of all callers' rates, each from its "
        "first token to its last: reading the prompt is not in it. More than two callers share two texts. The 30M "
        "model has random weights, but for those that make it count, and so copy: its speed is that of any model of "
        "its size. Free text is sampled, without a seed: a call with one has no guesses of its own."
    ),
)

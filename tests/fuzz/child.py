"""One process that fuzzes one target: `python -m tests.fuzz.child TARGET FOLDER FLAGS...`.

atheris marks the code of the product and of the parsers below it, and libFuzzer looks for inputs that reach new code.
Every so often an input is also held against the bounds of steps and memory.
"""

import random
import sys
from pathlib import Path

import atheris

MARKED = ["three_mode", "transports", "local_models", "h2", "hpack", "hyperframe", "h11", "tests.fuzz.planted"]
EACH = 64  # inputs, of which one is held against the bounds as well


def main(name: str, flags: list[str]) -> None:
    """Fuzz until the time is over, or something is found."""
    with atheris.instrument_imports(include=MARKED, enable_loader_override=False):
        from tests.fuzz.targets import target_of

        target = target_of(name)
    from tests.fuzz.corpus import inputs
    from tests.fuzz.mutate import mutated
    from tests.fuzz.target import checked

    known = tuple(data for _, data in inputs(name))
    count = 0

    def one(data: bytes) -> None:
        nonlocal count
        count += 1
        if count % EACH:
            target.run(data)
        else:
            checked(target, data)

    def change(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.7:
            found = mutated(target.shape, bytes(data), chance, known)
            if found is not None and len(found) <= most:
                return found
        return bytes(atheris.Mutate(data, most))

    shaped = {"custom_mutator": change} if target.shape in ("json", "msgpack") else {}
    atheris.Setup([sys.argv[0], *flags], one, **shaped)
    atheris.Fuzz()


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    main(sys.argv[1], sys.argv[3:])

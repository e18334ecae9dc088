"""Grammars that end a process, hold it, or fill its memory: refused in words, before llama.cpp reads them."""

import pytest

from local_models.errors import BadGrammar
from local_models.prompts.gbnf import check_grammar
from tests.support.local_models.children import run_child, survives

BOMBS = {
    "deep": "root ::= " + "(" * 20_000 + '"a"' + ")" * 20_000,
    "deep and open": "root ::= " + "(" * 20_000,
    "counts down": 'root ::= "a"{5,2}',
    "long repeats": 'root ::= "' + "a" * 100_000 + '"{2000}',
    "repeats of repeats": 'root ::= ((("a"{2000}){2000}){2000}){2000}',
    "two to the sixty paths": "root ::= r0\n"
    + "".join(f"r{n} ::= r{n + 1} | r{n + 1}\n" for n in range(60))
    + 'r60 ::= "a"',
    "a stack that grows": 'root ::= x root "c" | "b"\nx ::= y\ny ::= "a" | ""',
    "a chain of rules": "root ::= r0\n" + "".join(f"r{n} ::= r{n + 1}\n" for n in range(15_000)) + 'r15000 ::= "a"',
    "many alternatives": "root ::= " + " | ".join(f'"v{n}"' for n in range(15_000)),
    "long": 'root ::= "a" #' + "x" * 10_000_000,
    "no Unicode": 'root ::= "\ud800"',
    "a NUL": 'root ::= "a\0"',
    "a huge repeat": 'root ::= "a"{99999999999999999999999}',
}
REFUSED = {
    "not closed": 'root ::= "a',
    "no root": 'start ::= "a"',
    "not defined": "root ::= other",
    "left recursion": 'root ::= root "a" | "b"',
    "escape": 'root ::= "\\q"',
    "no token": "root ::= <no-such-token>",
    "nothing to repeat": 'root ::= "" *',
    "not GBNF": "SELECT * FROM users",
    "empty class": "root ::= [] | [^]",
    "empty": " ",
}
SCRIPT = """
import asyncio, sys
from local_models import BadGrammar, LoadOptions, LocalModel
from local_models.files.catalogue import TINY

async def main(grammar, isolated):
    options = LoadOptions(threads=1, sequences=2, context=256, isolated=isolated)
    async with await LocalModel.load(TINY, options) as model:
        try:
            await asyncio.wait_for(model.complete("x", grammar=grammar, max_tokens=4, within=5), 8)
        except BadGrammar as error:
            assert len(str(error)) < 300
            print("refused:", error)
        assert len((await model.complete("x", grammar='root ::= "b"{4}', max_tokens=4)).text) == 4

asyncio.run(main(eval(sys.stdin.read()), sys.argv[1:] == ["isolated"]))
"""


@pytest.mark.parametrize("name", BOMBS | REFUSED)
def test_a_grammar_is_refused_without_a_word_on_stderr(name: str) -> None:
    done = run_child(SCRIPT, text=repr((BOMBS | REFUSED)[name]), memory=1 << 30)
    assert "refused:" in survives(done)
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["deep", "counts down", "a stack that grows", "not GBNF"])
def test_an_isolated_worker_refuses_it_too(name: str) -> None:
    done = run_child(SCRIPT, "isolated", text=repr((BOMBS | REFUSED)[name]))
    assert "refused:" in survives(done)
    assert done.stderr == ""


@pytest.mark.parametrize(
    "grammar",
    [
        'root ::= ws "a" ws\nws ::= ([ \\t\\n]*)',
        "root ::= (a? b?)*\na ::= [^x-z\\]]\nb ::= .",
        '# first\nroot ::= "a" # x\n\nrest ::= (\n"c"\n|\n"d" )',
        'root ::= "a"{0} "b"{2,} "c"{,3} | "\\x41\\u00e4\\U0001F600"'.replace("{,3}", "{0,3}"),
        'root ::= "a"{1,5000}',
        "root ::= <[5]> | !<[6]> | <s>",
    ],
)
def test_other_grammars_are_used(grammar: str) -> None:
    check_grammar(grammar)
    done = run_child(SCRIPT, text=repr(grammar))
    assert "refused:" not in survives(done)
    assert done.stderr == ""


FUZZ = """
import os, random, resource, signal, sys
from local_models.errors import BadGrammar
from local_models.files.catalogue import TINY
from local_models.llama import Sampler, Sampling, Weights
from local_models.prompts.gbnf import check_grammar

PARTS = ['root', ' ::= ', 'a', 'b', 'ws', '"x"', '""', '[a-c]', '[^x]', '.', '(', ')', '|', '*', '+', '?', '{2}',
         '{0,3}', '{3,1}',
         '{2,}', '\\n', ' ', '#c', '<s>', '<[3]>', '!', '\\\\', '"', '[', ']', '-', '"\\\\x4"',
         '{900}', '\\r\\n', '{0}']

def grammar(rng):
    if rng.random() < 0.3:
        return "root ::= " + "".join(rng.choice(PARTS) for _ in range(rng.randrange(12)))
    def sequence(depth):
        made = []
        for _ in range(rng.randrange(4)):
            part = rng.choice(['"x"', '""', '[ab]', '.', 'a', 'b', 'ws', 'root'])
            if depth < 3 and rng.random() < 0.3:
                part = "(" + " | ".join(sequence(depth + 1) for _ in range(rng.randint(1, 3))) + ")"
            made.append(part + rng.choice(['', '', '', '*', '+', '?', '{2}', '{0,3}', '{1,}', '{40}']))
        return " ".join(made)
    names = ["root", "a", "b", "ws"]
    return "\\n".join(f"{name} ::= " + " | ".join(sequence(0) for _ in range(rng.randint(1, 3))) for name in names)

weights = Weights(str(TINY), gpu_layers=0, mmap=True)
rng, used, number = random.Random(int(sys.argv[1])), 0, 0
while used < int(sys.argv[2]):
    number += 1
    text = grammar(rng)
    try:
        if any(len(weights.tokenize(name, special=True, start=False)) != 1 for name in check_grammar(text)):
            continue
    except BadGrammar:
        continue
    used += 1
    child = os.fork()
    if not child:
        signal.alarm(10)
        resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
        try:
            Sampler(weights, Sampling(grammar=text)).close()
        except BadGrammar:
            print("only llama.cpp refuses", repr(text), flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"ends the process: {text!r}")
print("used", used, "of", number)
"""


def fuzz(seed: int, count: int) -> None:
    done = run_child(FUZZ, str(seed), str(count), seconds=3000)
    assert "used" in survives(done)
    assert done.stderr == "", "llama.cpp has printed a grammar"


def test_what_the_check_lets_through_llama_cpp_takes_or_refuses_quietly() -> None:
    fuzz(1, 300)


@pytest.mark.soak
def test_what_the_check_lets_through_llama_cpp_takes_or_refuses_quietly_for_long() -> None:
    fuzz(2, 50_000)


def test_the_error_says_where() -> None:
    with pytest.raises(BadGrammar, match="line 2"):
        check_grammar('root ::= a\na ::= "x" $')

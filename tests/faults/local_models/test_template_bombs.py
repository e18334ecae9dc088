"""Chat templates that would run for hours or fill the memory, and messages that make an honest one slow."""

import pytest

from local_models.errors import BadTemplate
from local_models.prompts.templates import ChatTemplate
from tests.support.local_models.children import run_child, survives

LOOP = "{% for a in range(90000) %}"
DOUBLES = "{% set n = namespace(x='x') %}{% for a in range(40) %}{% set n.x = "
NESTS = "{% set n = namespace(x='x', y='y') %}{% for a in range(60) %}{% set n.x = "
END = "{% endset %}{% endfor %}"
BOMBS = {
    "nested loops": f"{LOOP}{LOOP}{LOOP}x{{% endfor %}}{{% endfor %}}{{% endfor %}}",
    "nested loops that filter": f"{LOOP}{{% for b in range(90000) if false %}}{{% endfor %}}{{% endfor %}}",
    "a macro that calls itself twice": (
        "{% macro m(n) %}{% if n < 60 %}{{ m(n + 1) }}{{ m(n + 1) }}{% endif %}{% endmacro %}{{ m(0) }}"
    ),
    "a macro without end": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a block without end": "{% block b %}{{ self.b() }}{% endblock %}",
    "wordwrap": "{% set x = 'x ' * 2000000 %}{{ x | wordwrap(1) }}",
    "repeat": "{{ 'x' * 3000000000 }}",
    "repeat of a list": "{{ [1] * 3000000000 }}",
    "repeat on the right": "{{ 3000000000 * ('x',) }}",
    "ljust": "{{ 'x'.ljust(3000000000) }}",
    "zfill of a value": "{% set n = 3000000000 %}{{ 'x'.zfill(n) }}",
    "center": "{{ 'x' | center(3000000000) }}",
    "expandtabs": "{{ '\t\t\t'.expandtabs(1000000000) }}",
    "percent": "{{ '%999999999d' % 1 }}",
    "percent star": "{{ '%*d' % (999999999, 1) }}",
    "percent precision": "{{ '%.999999999f' % 1 }}",
    "many percents": "{{ ('%9999d' * 90000) % range(90000) }}",
    "format": "{{ '{:999999999}'.format(1) }}",
    "format from a value": "{{ '{:{}}'.format(1, 999999999) }}",
    "format map": "{{ '{a:999999999}'.format_map({'a': 1}) }}",
    "format filter": "{{ '%999999999d' | format(1) }}",
    "tojson indent": "{{ [1, [2, [3]]] | tojson(indent=999999999) }}",
    "indent": "{{ ('a\n' * 90000) | indent(9999) }}",
    "replace": "{% set x = 'x' * 100000 %}{{ x | replace('x', x) }}",
    "replace method": "{% set x = 'x' * 100000 %}{{ x.replace('', x) }}",
    "join": "{% set x = 'x' * 1000000 %}{{ range(90000) | join(x) }}",
    "join method": "{% set x = 'x' * 1000000 %}{{ x.join('y' * 90000) }}",
    "sum": "{{ ([[1]] * 90000) | sum(start=[]) | length }}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "product": "{% set n = namespace(x=9) %}{% for a in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
    "round": "{{ 1.5 | round(999999999, 'ceil') }}",
    "plus": DOUBLES + "n.x + n.x %}{% endfor %}{{ n.x }}",
    "tilde": DOUBLES + "n.x ~ n.x %}{% endfor %}{{ n.x }}",
    "list plus": DOUBLES.replace("'x'", "[1]") + "n.x + n.x %}{% endfor %}{{ n.x }}",
    "set block": DOUBLES[: -len("{% set n.x = ")] + "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}{{ n.x }}",
    "join of itself": DOUBLES + "[n.x, n.x] | join %}{% endfor %}{{ n.x }}",
    "nested lists": NESTS + "[n.x, n.x] %}{% endfor %}{{ n.x }}",
    "nested lists as JSON": NESTS + "[n.x, n.x] %}{% endfor %}{{ n.x | tojson }}",
    "nested dicts": NESTS + "dict(a=n.x, b=n.x) %}{% endfor %}{{ n.x | string }}",
    "nested tuples compared": NESTS + "(n.x, n.x) %}{% set n.y = (n.y, n.y) %}{% endfor %}{{ n.x == n.y }}",
    "fromkeys": NESTS + "dict.fromkeys(range(90000), n.x) %}{% endfor %}{{ n.x }}",
    "a namespace that holds itself": "{% set n = namespace() %}{% set n.n = n %}{{ n }}{{ [n] | tojson }}",
    "batch": "{{ [1] | batch(3000000000, 1) | list }}",
    "slice": "{{ [1] | slice(3000000000) | list }}",
    "lipsum": "{{ lipsum(n=999999999) }}",
    "to_bytes": "{{ (1).to_bytes(3000000000, 'big') }}",
    "translate": "{{ ('x' * 100000).translate({120: 'y' * 100000}) }}",
    "encode": "{{ 'x'.encode('utf-8') * 3000000000 }}",
    "the time": "{{ strftime_now('%999999999Y') }}",
    "many texts": f"{{% set x = 'x' * 1000000 %}}{LOOP}{{% set y = x ~ a %}}{{{{ y in x }}}}{{% endfor %}}",
    "upper": f"{{% set x = 'x' * 4000000 %}}{LOOP}{{% set y = x | upper %}}{{% endfor %}}",
    "sorted": "{% set x = ['x' * 1000000] * 90000 %}{{ x | sort | length }}",
    "split": "{{ ('x ' * 4000000).split() | length }}",
    "deep parentheses": "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
    "deep ifs": "{% if a %}" * 2_000 + "{% endif %}" * 2_000,
    "deep lists": "{{ " + "[" * 5_000 + "]" * 5_000 + " }}",
    "a long source": "{{ 1 }}" * 2_000_000,
}
SCRIPT = """
import asyncio, resource, sys, time
from local_models import BadOption, DeadlineExceeded, LoadOptions, LocalModel, LocalModelError
from local_models.files.catalogue import TINY

async def main(template, what):
    asked = [{"role": "user", "content": "hello"}]
    # the first model brings in what any model needs
    async with await LocalModel.load(TINY, LoadOptions(threads=1, sequences=2, context=256)) as model:
        await model.chat(asked, max_tokens=2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ticks = []
    async def watch():
        while True:
            started = time.monotonic()
            await asyncio.sleep(0.01)
            ticks.append(time.monotonic() - started)
    options = LoadOptions(threads=1, sequences=2, context=256, chat_template=template)
    async with await LocalModel.load(TINY, options) as model:
        watching, used = asyncio.ensure_future(watch()), time.process_time()
        started = time.monotonic()
        try:
            async with asyncio.timeout(30):  # not of the model: without an end of its own the test fails
                call = model.chat(asked, within=2, max_tokens=2) if what == "chat" else model.count(asked, within=2)
                print("text", await call)
        except LocalModelError as error:
            assert isinstance(error, (BadOption, DeadlineExceeded)), repr(error)
            assert len(str(error)) < 500
            print("refused:", repr(error), file=sys.stderr)
        seconds = time.monotonic() - started
        watching.cancel()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print("ended", seconds, max(ticks, default=0), grown // 1024)

asyncio.run(main(sys.stdin.read(), sys.argv[1]))
"""
MIB = 256


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_with_an_error_of_ours_and_little_memory(name: str) -> None:
    done = run_child(SCRIPT, "chat", text=BOMBS[name], seconds=120)
    *_, grown = survives(done).splitlines()[-1].split()
    assert "refused:" in done.stderr or "text" in done.stdout
    assert int(grown) < MIB


def test_counting_tokens_is_bounded_too() -> None:
    done = run_child(SCRIPT, "count", text=BOMBS["nested loops"], seconds=60)
    assert survives(done)
    assert "refused:" in done.stderr


HONEST = """{%- macro show(text) -%}{{ text | trim }}{%- endmacro -%}
{%- set ns = namespace(last=-1, seen=[]) -%}
{%- if tools %}{{- '<|im_start|>system\\n' }}{% for tool in tools %}{{ tool | tojson(indent=4) }}{% endfor %}
{%- endif -%}
{%- for message in messages[::-1] if message.role == 'user' -%}
{%- set ns.last = messages | length - 1 - loop.index0 -%}{%- set ns.seen = ns.seen + [loop.index] -%}
{%- endfor -%}
{%- for message in messages -%}
{%- set content = message.content if message.content is string else '' -%}
{%- if '</think>' in content -%}{%- set content = content.split('</think>')[-1].lstrip('\\n') -%}{%- endif -%}
{%- if loop.index0 % 2 == 1 and message['role'] not in ['assistant', 'tool'] and false -%}
{{ raise_exception('order') }}{%- endif -%}
{{- '<|im_start|>' + message.role + '\\n' ~ show(content) + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
{{- ['a', 'b'] | join('-') ~ '%s:%03d' % ('n', 7) ~ '{:>4}'.format(3) ~ ([1, 2] | sum) ~ 'x'.ljust(3) ~ 'k' * 3 -}}
"""


def test_what_templates_do_in_earnest_works_as_in_plain_jinja() -> None:
    import json

    from jinja2.sandbox import ImmutableSandboxedEnvironment

    plain = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    plain.filters["tojson"] = lambda value, **how: json.dumps(value, ensure_ascii=False, **how)
    messages = [{"role": "user" if n % 2 else "assistant", "content": f" w{n}</think>\n\nrest {n} "} for n in range(9)]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}}}}}]
    expected = plain.from_string(HONEST).render(messages=messages, tools=tools, add_generation_prompt=True)
    assert "".join(ChatTemplate(HONEST).render(messages, tools)) == expected


MANY = """
import asyncio, sys, time
from local_models import LoadOptions, LocalModel, LocalModelError
from local_models.files.catalogue import TINY

async def main(kind, count):
    pauses = []
    async def watch():
        while True:
            started = time.monotonic()
            await asyncio.sleep(0.01)
            pauses.append(time.monotonic() - started)
    async with await LocalModel.load(TINY, LoadOptions(threads=1, sequences=2, context=256)) as model:
        messages, more = [{"role": "user", "content": "hello <|user|>"}], {}
        if kind == "messages":
            messages *= count
        elif kind == "schema":
            more = {"schema": {"enum": [f"value {n}" for n in range(count)]}}
        elif kind == "root":
            more = {"grammar": "root ::= " + " | ".join(f'"v{n}"' for n in range(count))}
        elif kind == "optional":
            more = {"schema": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(count)}}}
        elif kind == "tool":
            tool = {"name": "f", "parameters": {"properties": {"a": {"enum": [f"value {n}" for n in range(count)]}}}}
            more = {"tools": ({"type": "function", "function": tool},), "tool_choice": "f"}
        elif kind == "deep":
            schema = {"type": "string"}
            for _ in range(count):
                schema = {"const": [schema]} if _ == 0 else {"const": [schema["const"]]}
            more = {"schema": schema}
        await model.chat([{"role": "user", "content": "hi"}], max_tokens=2)
        watching = asyncio.ensure_future(watch())
        others, done = [], False
        async def other():
            while not done:
                started = time.monotonic()
                await model.chat([{"role": "user", "content": "hi"}], max_tokens=2, temperature=0)
                others.append(time.monotonic() - started)
        beside = asyncio.ensure_future(other())
        started = time.monotonic()
        try:
            async with asyncio.timeout(30):  # not of the model: without an end of its own the test fails
                print("reply", (await model.chat(messages, within=3, max_tokens=8, **more)).text[:40])
        except LocalModelError as error:
            print("refused:", type(error).__name__, str(error)[:200])
        seconds, done = time.monotonic() - started, True
        await beside
        watching.cancel()
        print("ended", seconds, max(pauses, default=0), max(others, default=0))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("messages", 10_000),
        ("messages", 40_000),
        ("schema", 100),
        ("schema", 5_000),
        ("schema", 100_000),
        ("root", 1_900),
        ("root", 20_000),
        ("optional", 100),
        ("optional", 5_000),
        ("tool", 100_000),
        ("deep", 900),
    ],
)
def test_large_requests_are_answered_or_refused_in_time(kind: str, count: int) -> None:
    assert "ended" in survives(run_child(MANY, kind, str(count)))


@pytest.mark.parametrize(
    ("template", "said"),
    [("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"), ("{{ 'x' * 3000000000 }}", "too much")],
)
def test_the_error_says_what_stopped_a_template(template: str, said: str) -> None:
    with pytest.raises(BadTemplate, match=said):
        ChatTemplate(template).render([{"role": "user", "content": "x"}])

"""Chat templates of our own, one for each format of tool calls: the marks and the structure of the models that write
it, in other words. `answer` shows how such a model writes calls."""

import json
from collections.abc import Sequence
from typing import Any

Call = tuple[str, dict[str, Any]]
BAR = "\uff5c"  # in DeepSeek's marks

_TURNS = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message.role + '\\n' -}}
    {%- if message.reasoning_content and loop.index0 > ns.last -%}
        {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' -}}
    {%- endif -%}
    {{- message.content -}}
    {%- for call in message.tool_calls or [] -%}
        {{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' + call.function.arguments | tojson -}}
        {{- '}\\n</tool_call>' -}}
    {%- endfor -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
"""
_TOOLS = """\
{%- if tools -%}
    {{- '<|im_start|>system\\nFunctions, one a line:\\n' -}}
    {%- for tool in tools -%}{{- tool | tojson + '\\n' -}}{%- endfor -%}
    {{- 'Call one inside of <tool_call></tool_call>.<|im_end|>\\n' -}}
{%- endif -%}
"""
_LAST = """\
{%- set ns = namespace(last=-1) -%}
{%- for message in messages -%}
    {%- if message.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
"""
QWEN = (
    _LAST
    + _TOOLS
    + _TURNS
    + """\
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n' -}}
    {%- if enable_thinking is defined and not enable_thinking -%}{{- '<think>\\n\\n</think>\\n\\n' -}}{%- endif -%}
{%- endif -%}
"""
)
"""Reasons of its own accord; the reasoning of turns before the last question is left out."""
R1 = (
    _LAST
    + _TOOLS
    + _TURNS
    + "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n<think>\\n' -}}{%- endif -%}"
)
"""Begins the reasoning itself."""
LLAMA = """\
{%- if tools -%}
    {{- '<|start_header_id|>system<|end_header_id|>\\n\\nEnvironment: ipython\\nFunctions:\\n' -}}
    {%- for tool in tools -%}{{- tool | tojson + '\\n' -}}{%- endfor -%}
    {{- 'Answer with {"name": function, "parameters": {its arguments}}.<|eot_id|>' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- if message.role == 'tool' -%}
        {{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + message.content | tojson + '<|eot_id|>' -}}
    {%- elif message.tool_calls -%}
        {%- set call = message.tool_calls[0].function -%}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n<|python_tag|>{"name": "' + call.name -}}
        {{- '", "parameters": ' + call.arguments | tojson + '}<|eom_id|>' -}}
    {%- else -%}
        {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content + '<|eot_id|>' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
"""
_MISTRAL = """\
{%- if tools -%}{{- '[AVAILABLE_TOOLS] ' + tools | tojson + '[/AVAILABLE_TOOLS]' -}}{%- endif -%}
{%- for message in messages -%}
    {%- if message.role == 'tool' -%}
        {{- '[TOOL_RESULTS] {"call_id": "' + message.tool_call_id + '", "content": ' + message.content | tojson -}}
        {{- '}[/TOOL_RESULTS]' -}}
    {%- elif message.tool_calls -%}
        {%- for call in message.tool_calls -%}
            {%- if call.id | length != 9 -%}{{- raise_exception('an id has nine letters and digits') -}}{%- endif -%}
            CALL
        {%- endfor -%}
        {{- '</s>' -}}
    {%- else -%}
        {{- '[INST] ' + message.content + '[/INST]' if message.role == 'user' else message.content + '</s>' -}}
    {%- endif -%}
{%- endfor -%}
"""
MISTRAL = _MISTRAL.replace(
    "CALL",
    """{{- '[TOOL_CALLS] [{"name": "' + call.function.name + '", "arguments": ' + call.function.arguments | tojson -}}
            {{- ', "id": "' + call.id + '"}]' -}}""",
)
MISTRAL_ARGS = _MISTRAL.replace(
    "CALL", "{{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + call.function.arguments | tojson -}}"
)
GEMMA = """\
{%- for message in messages -%}
    {%- if loop.index0 % 2 != (message.role == 'assistant') | int -%}
        {{- raise_exception('user and assistant take turns') -}}
    {%- endif -%}
    {{- '<start_of_turn>' + ('model' if message.role == 'assistant' else 'user') + '\\n' -}}
    {{- message.content | trim + '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<start_of_turn>model\\n' -}}{%- endif -%}
"""
"""Has no place for tools, and knows two roles."""
_DEEPSEEK = """\
{%- for tool in tools or [] -%}{{- tool | tojson -}}{%- endfor -%}
{%- for message in messages -%}
    {%- if message.role == 'tool' -%}
        {{- '<§tool▁output▁begin§>' + message.content + '<§tool▁output▁end§>' -}}
    {%- elif message.tool_calls -%}
        {{- '<§Assistant§><§tool▁calls▁begin§>' -}}
        {%- for call in message.tool_calls -%}
            {{- '<§tool▁call▁begin§>' + BEFORE + call.function.arguments | tojson + AFTER + '<§tool▁call▁end§>' -}}
        {%- endfor -%}
        {{- '<§tool▁calls▁end§><§end▁of▁sentence§>' -}}
    {%- else -%}
        {{- ('<§User§>' if message.role == 'user' else '<§Assistant§>') + message.content -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<§Assistant§>' -}}{%- endif -%}
"""
DEEPSEEK = _DEEPSEEK.replace("BEFORE", "'function<§tool▁sep§>' + call.function.name + '\\n```json\\n'").replace(
    "AFTER", "'\\n```'"
)
DEEPSEEK = DEEPSEEK.replace("§", BAR)
DEEPSEEK_31 = (
    _DEEPSEEK.replace("BEFORE", "call.function.name + '<§tool▁sep§>'").replace("AFTER", "''").replace("§", BAR)
)
PLAIN = "{%- for message in messages -%}{{- message.role + ': ' + message.content + '\\n' -}}{%- endfor -%}"
"""Has no place for tools either."""
ALL = {
    "hermes": QWEN,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "mistral-args": MISTRAL_ARGS,
    "gemma": GEMMA,
    "deepseek": DEEPSEEK,
    "deepseek-3.1": DEEPSEEK_31,
    "bare": PLAIN,
}


def _json(name: str, arguments: dict[str, Any], key: str) -> str:
    return json.dumps({"name": name, key: arguments})


def written(form: str, calls: Sequence[Call], *, bare: bool = False) -> str:
    """The calls as a model of a format writes them; `bare`: without its marks, where it has such a way too."""
    if bare or form == "bare":
        return "; ".join(_json(name, arguments, "parameters") for name, arguments in calls)
    if form == "hermes":
        each = (_json(name, arguments, "arguments") for name, arguments in calls)
        return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in each)
    if form == "llama":
        return "<|python_tag|>" + "; ".join(_json(name, arguments, "parameters") for name, arguments in calls)
    if form == "mistral":
        return f"[TOOL_CALLS] [{', '.join(_json(name, arguments, 'arguments') for name, arguments in calls)}]"
    if form == "mistral-args":
        return "".join(f"[TOOL_CALLS]{name}[ARGS]{json.dumps(arguments)}" for name, arguments in calls)
    if form == "gemma":
        code = (f"{name}({', '.join(f'{k}={json.dumps(v)}' for k, v in given.items())})" for name, given in calls)
        return "```tool_code\n" + "\n".join(code) + "\n```"
    older = form == "deepseek"
    before, after = ("function<§tool▁sep§>{}\n```json\n", "\n```") if older else ("{}<§tool▁sep§>", "")
    inner = (f"{before.format(name)}{json.dumps(arguments)}{after}" for name, arguments in calls)
    block = "\n".join(f"<§tool▁call▁begin§>{call}<§tool▁call▁end§>" for call in inner)
    return f"<§tool▁calls▁begin§>{block}<§tool▁calls▁end§>".replace("§", BAR)

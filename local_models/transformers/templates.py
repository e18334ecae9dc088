"""Chat templates in the folder of a Hugging Face model, and the plain one for models that have none."""

import json
import re
from pathlib import Path
from typing import Any

from local_models.errors import BadModelFile

_TRAINING_MARK = re.compile(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}")
PLAIN = """\
{%- if tools -%}
    {{- 'system: You may call these tools:\\n' -}}
    {%- for tool in tools -%}{{- tool.function | tojson + '\\n' -}}{%- endfor -%}
    {{- 'To call one, answer with <tool_call>{"name": NAME, "arguments": {...}}</tool_call> and nothing else.\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {{- message.role + ': ' + message.content -}}
    {%- for call in message.tool_calls or [] -%}
        {{- '<tool_call>{"name": ' + call.function.name | tojson -}}
        {{- ', "arguments": ' + call.function.arguments | tojson + '}</tool_call>' -}}
    {%- endfor -%}
    {{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'assistant:' -}}{%- endif -%}
"""
"""For a model without a template: each message on a line behind its role, then `assistant:`. A base model goes on
writing turns of its own after its answer: `stop=("\\nuser:",)` ends it there."""


def template_of(folder: Path) -> str:
    """Returns the chat template of a folder: that of `chat_template.jinja`, else of the tokenizer's configuration."""
    try:
        return _without_training_marks((folder / "chat_template.jinja").read_text(encoding="utf-8"))
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise BadModelFile(f"chat_template.jinja cannot be read: {error}", path=str(folder)) from error
    try:
        configured = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["chat_template"]
    except (OSError, ValueError, KeyError, TypeError):
        return PLAIN
    return _without_training_marks(_chosen(configured)) or PLAIN


def _chosen(configured: Any) -> str:
    """A text, or a list of named templates, of which `default` is taken."""
    if isinstance(configured, str):
        return configured
    named = configured if isinstance(configured, list) else []
    texts = {each.get("name"): each.get("template") for each in named if isinstance(each, dict)}
    chosen = texts.get("default")
    return chosen if isinstance(chosen, str) else ""


def _without_training_marks(template: str) -> str:
    """Replaces the tags `generation`, which mark the model's own words for a training and which Jinja does not know."""
    return _TRAINING_MARK.sub(lambda tag: f"{{%{tag[1]} {'endif' if tag[2] else 'if true'} {tag[3]}%}}", template)

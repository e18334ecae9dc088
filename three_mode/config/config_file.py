"""Reads a config file: TOML, JSON, or Python with a literal `LLM_CONFIG`. Python is parsed and never executed.

# three_mode.toml
[LLM_CONFIG]
default_provider = "anthropic"
default_model = "claude-sonnet-4-5"
timeout = 30
max_retries = 3

[LLM_CONFIG.providers.openai]
api_key = "..."
model = "gpt-5"
"""

import ast
import json
from pathlib import Path
from typing import Any

from three_mode.errors import ConfigurationError

KNOWN = frozenset(
    (
        "default_provider",
        "default_model",
        "default_mode",
        "timeout",
        "max_retries",
        "max_tokens",
        "detection_order",
        "providers",
    )
)
KNOWN_OF_PROVIDER = frozenset(("api_key", "base_url", "model", "max_tokens", "timeout"))


def read_config(path: Path) -> dict[str, Any]:
    """Reads the LLM_CONFIG of a file. An unknown setting is an error that names it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the config file {path.name} cannot be read: {error.strerror}") from None
    try:
        table = _parsed(text, path.suffix)
    except (ValueError, SyntaxError) as error:
        raise ConfigurationError(f"the config file {path.name} is not right: {error}") from None
    found = table.get("LLM_CONFIG", table.get("llm", table if path.suffix != ".py" else None))
    return checked(found, path.name)


def checked(found: Any, where: str) -> dict[str, Any]:
    """Returns the table if it has known settings only; `where` names its file in errors."""
    if not isinstance(found, dict):
        raise ConfigurationError(f"{where} has no LLM_CONFIG")
    _check_known(found, KNOWN, where)
    providers = found.get("providers", {})
    if not isinstance(providers, dict) or not all(isinstance(each, dict) for each in providers.values()):
        raise ConfigurationError(f"providers of {where} maps a name to settings")
    for name, each in providers.items():
        _check_known(each, KNOWN_OF_PROVIDER, f"providers.{name} of {where}")
    return found


def _check_known(found: dict[str, Any], known: frozenset[str], where: str) -> None:
    for name in found:
        if name not in known:
            raise ConfigurationError(
                f"{where} has an unknown setting {name!r}", hint=f"one of {', '.join(sorted(known))}"
            )


def _parsed(text: str, suffix: str) -> dict[str, Any]:
    if suffix == ".json":
        table = json.loads(text)
    elif suffix == ".py":
        table = _from_python(text)
    else:
        import tomllib

        table = tomllib.loads(text)
    if not isinstance(table, dict):
        raise ValueError("it is not a table")
    return table


def _from_python(text: str) -> dict[str, Any]:
    """Evaluates `LLM_CONFIG = {...}` as a literal; `CommunicationMode.HUMAN_AI` becomes its name."""
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "LLM_CONFIG" for target in statement.targets
        ):
            return {"LLM_CONFIG": ast.literal_eval(_ModesAsNames().visit(statement.value))}
    raise ValueError("it assigns no LLM_CONFIG")


class _ModesAsNames(ast.NodeTransformer):
    """Replaces `CommunicationMode.HUMAN_AI` by "human_ai", so that the value is a literal."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "CommunicationMode":
            return ast.copy_location(ast.Constant(node.attr.lower()), node)
        return node

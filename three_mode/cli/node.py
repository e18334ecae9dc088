"""Subcommand `three-mode node --cluster URL --name NAME`: makes this machine part of a cluster, until it is ended."""

import argparse
import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import msgspec

from three_mode.cli.console import open_console
from three_mode.errors import ThreeModeError

if TYPE_CHECKING:
    from rich.console import Console

    from three_mode.agents.supervisor.events import SupervisorEvent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument("--cluster", required=True, metavar="URL", help="the NATS server: nats://10.0.0.1:4222")
    parser.add_argument("--name", required=True, help="the name of the cluster, the same on all its nodes")
    parser.add_argument("--node", default="", help="the name of this node; by default that of the machine")
    parser.add_argument("--hosts", type=int, default=2, help="host processes (2)")
    parser.add_argument("--label", action="append", default=[], help="what this node is one of, for on=; repeatable")
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        dest="allow",
        metavar="PATH",
        help="an import path below which other nodes may have classes started here; repeatable; without it, none",
    )
    parser.add_argument(
        "--alone",
        choices=("keep", "pause", "stop"),
        default="keep",
        help="what becomes of agents here once the node that placed them is lost (keep)",
    )
    parser.add_argument(
        "--standby",
        action="store_true",
        help="take over from a node that leads and is lost, and hand over at the end where another one stands by",
    )
    parser.add_argument(
        "--keep",
        default="",
        metavar="WHERE",
        help="where agents here keep their states: nats, for other nodes too, or a file; without it, in memory",
    )
    for secret, what in (
        ("tls", "certificates that sign the server's (PEM)"),
        ("certificate", "a certificate of this node"),
        ("key", "the key of that certificate"),
        ("credentials", "a user's credentials (.creds)"),
        ("nkey", "the seed of an NKey"),
        ("token", "a token"),
    ):
        parser.add_argument(f"--{secret}", default="", metavar="FILE", help=f"a file with {what}")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each event, for programs")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # so that packages beside it can be imported, as with `python -m`
    console = open_console()
    try:
        asyncio.run(_run(options, console))
    except ThreeModeError as error:
        open_console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    return 0


async def _run(options: argparse.Namespace, console: "Console") -> None:
    from three_mode.agents import Orchestrator, OrchestratorOptions
    from three_mode.cluster import Cluster
    from three_mode.cluster.options import machine_name

    ending = _when_signalled()
    cluster = Cluster(
        options.cluster,
        name=options.name,
        node=options.node or machine_name(),
        labels=tuple(options.label),
        allow=tuple(options.allow),
        alone=options.alone,
        tls=options.tls,
        certificate=options.certificate,
        key=options.key,
        credentials=options.credentials,
        nkey=options.nkey,
        token=options.token,
    )
    orchestrator_options = OrchestratorOptions(keep=options.keep)
    async with Orchestrator(
        options.hosts, cluster=cluster, standby=options.standby, options=orchestrator_options
    ) as orc:
        own = orc.nodes()[0]
        if options.json:
            _line({"node": msgspec.to_builtins(own), "cluster": options.name, "bus": orc.name})
        else:
            labels = f" ({', '.join(own.labels)})" if own.labels else ""
            allowed = ", ".join(own.allow) or "nothing, since there is no --import"
            console.print(
                f"node {own.name}{labels} of the cluster {options.name}: {options.hosts} hosts on the bus {orc.name}, "
                f"which may start {allowed}",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )
        orc.on_event(lambda event: _tell(event, options.json, console))
        sys.stdout.flush()
        await ending.wait()
        if options.standby and orc.leads and any(one.part == "stands by" for one in orc.nodes()[1:]):
            try:
                await orc.hand_over()
            except ThreeModeError as error:  # it ends all the same, and with it the agents that it leads
                open_console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
    if options.json:
        _line({"ended": own.name})
    else:
        console.print(f"node {own.name} has left", highlight=False, markup=False)


def _when_signalled() -> asyncio.Event:
    """Return what is set by the first SIGTERM or SIGINT, also while the node still starts."""
    ending, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    return ending


def _tell(event: "SupervisorEvent", as_json: bool, console: "Console") -> None:
    if as_json:
        _line({"event": msgspec.to_builtins(event)})
    else:
        console.print(str(event), highlight=False, markup=False, soft_wrap=True)


def _line(what: object) -> None:
    print(msgspec.json.encode(what).decode(), flush=True)

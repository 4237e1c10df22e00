# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The testbed from the command line, for Molecule's playbooks and for trying things by hand. What it makes stays until `down`."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import sys
import time

from ansible_collections.tfserving.fleet.tests.docker.testbed import engine as engines
from ansible_collections.tfserving.fleet.tests.docker.testbed import gpus, images
from ansible_collections.tfserving.fleet.tests.docker.testbed.asking import AskingClient, Log
from ansible_collections.tfserving.fleet.tests.docker.testbed.balancer import Balancer
from ansible_collections.tfserving.fleet.tests.docker.testbed.hosts import Fleet

_BALANCER = "balancer"


def main():
    parser = argparse.ArgumentParser(prog="testbed", description=__doc__)
    parser.add_argument(
        "--directory",
        type=pathlib.Path,
        required=True,
        help="where the inventory, the key and the client's log lie; it names the fleet",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser(
        "up", help="start hosts and a balancer, in place of those that are there, and write inventory.json"
    )
    up.add_argument("--hosts", type=int, default=3)
    up.add_argument(
        "--image", help="an image to publish instead of the embedded server's, such as tensorflow/serving:2.20.0"
    )
    up.add_argument(
        "--cpuinfo",
        action="append",
        default=[],
        help="another machine's /proc/cpuinfo, for the first host, the second, and so on",
    )
    commands.add_parser(
        "gpus", help="start hosts with and without GPUs, whose driver is a stand-in, and write inventory.json"
    )
    balance = commands.add_parser("balance", help="put the balancer in front of the hosts' servers of a model")
    balance.add_argument("--model", required=True)
    balance.add_argument("--grpc-port", type=int, default=8500)
    balance.add_argument("--rest-port", type=int, default=8501)
    ask = commands.add_parser("ask", help="start a client that asks the balancer until `verdict`")
    ask.add_argument("--model", required=True)
    ask.add_argument("--inputs", required=True, help='as JSON, {"x": [[1.0]]}')
    ask.add_argument("--rate", type=float, default=25, help="requests a second")
    commands.add_parser("verdict", help="end the client; fails when a request failed, and prints the different answers")
    commands.add_parser("down", help="remove all")
    options = parser.parse_args()
    directory = options.directory.absolute()
    owner = f"fleet-{engines.key_of(str(directory))}"
    if options.command == "verdict":
        return _verdict(directory)
    try:
        engine = engines.connect()
    except engines.NoEngine as fault:
        sys.exit(f"testbed: {fault}")
    if options.command in ("up", "gpus", "down"):
        _end_client(directory)
        engines.sweep(engine, owner)
    if options.command == "down":
        return 0
    engines.sweep(engine)
    fleet = Fleet(engine, owner, directory)
    if options.command == "up":
        _up(engine, fleet, options)
        return 0
    if options.command == "gpus":
        hosts, cpu, seeing = gpus.start(engine, fleet)
        _write(fleet, fleet.inventory(hosts), testbed_image=seeing, testbed_cpu_image=cpu)
        return 0
    found = {host.name: host for host in fleet.found()}
    balancer = Balancer(found.pop(_BALANCER))
    if options.command == "balance":
        balancer.serve(list(found.values()), options.model, options.grpc_port, options.rest_port)
    else:
        balancer.wait_until_up(found.values())
        _log(directory).unlink(missing_ok=True)
        client = AskingClient(
            f"{balancer.address}:{balancer.port}",
            options.model,
            json.loads(options.inputs),
            _log(directory),
            options.rate,
        )
        (directory / "asking.pid").write_text(str(client.pid), encoding="ascii")
    return 0


def _up(engine, fleet, options):
    image = images.named(engine, options.image) if options.image else images.serving(engine)
    # The same in another coat, for a rolling update of the image.
    following = images.derived(engine, image, f"LABEL {engines.PREFIX}.build=next")
    stock = image if options.image else images.tensorflow(engine)
    wanted = {
        f"tfs{number + 1}": {"cpuinfo": cpuinfo}
        for number, cpuinfo in zip(range(options.hosts), options.cpuinfo + [None] * options.hosts)
    }
    hosts = fleet.hosts(wanted, stock=stock)
    balancers = fleet.hosts({_BALANCER: {"runs_engine": False}})
    _write(
        fleet,
        fleet.inventory(hosts, balancers),
        testbed_image=fleet.reference(image),
        testbed_next_image=fleet.reference(following),
    )


def _write(fleet, inventory, **variables):
    inventory["all"]["vars"].update(variables)
    (fleet.directory / "inventory.json").write_text(json.dumps(inventory, indent=1), encoding="utf-8")


def _verdict(directory):
    _end_client(directory)
    log = Log(_log(directory))
    fault = log.verdict()
    print(
        json.dumps(
            {
                "requests": len(log.requests),
                "failed": len(log.failed),
                "rate_rps": round(log.rate_rps, 1),
                "answers": log.answers(),
                "fault": fault,
            }
        )
    )
    return 1 if fault else 0


def _end_client(directory):
    try:
        pid = int((directory / "asking.pid").read_text(encoding="ascii"))
        os.kill(pid, signal.SIGTERM)
    except (FileNotFoundError, ProcessLookupError):
        return
    while os.path.exists(f"/proc/{pid}"):
        time.sleep(0.1)
    (directory / "asking.pid").unlink()


def _log(directory):
    return directory / "asking.jsonl"


if __name__ == "__main__":
    sys.exit(main())

# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container engine and what the testbed makes in it. Tests are skipped, with the reason, where no engine answers; they fail then with REQUIRE_DOCKER=1."""

from __future__ import annotations

import concurrent.futures
import os
import re
from pathlib import Path

import pytest

pytest.importorskip("docker")
pytest.importorskip("numpy")
pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.tests.docker.local_host import LocalHost
from ansible_collections.tfserving.fleet.tests.docker.testbed import engine as engines
from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.docker.testbed.asking import AskingClient
from ansible_collections.tfserving.fleet.tests.docker.testbed.balancer import Balancer
from ansible_collections.tfserving.fleet.tests.docker.testbed.hosts import Fleet
from ansible_collections.tfserving.fleet.tests.docker.testbed.playbook import AdHoc, Run
from ansible_collections.tfserving.fleet.tests.support import made

MODELS = Path(__file__).with_name("make_deployment_models.py")


def pytest_collection_modifyitems(config, items):
    """Leave out the tests of soak unless -m names them."""
    if "soak" not in config.getoption("markexpr"):
        left_out = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def engine():
    """A docker.DockerClient of this machine's engine."""
    try:
        client = engines.connect()
    except engines.NoEngine as fault:
        if os.environ.get("REQUIRE_DOCKER"):
            pytest.fail(str(fault), pytrace=False)
        pytest.skip(str(fault))
    engines.sweep(client)
    yield client
    engines.sweep(client, engines.this_process())
    client.close()


@pytest.fixture(scope="session")
def serving_image(engine):
    """The embedded server as an image with the official one's contract, a docker.models.images.Image; images.derived() makes others of it."""
    return images.serving(engine)


@pytest.fixture(scope="session")
def models():
    """The folder with the models of make_deployment_models.py, made once for all processes; copy what a test changes."""
    return made.by_program(MODELS)


@pytest.fixture()
def host(request, tmp_path, engine, serving_image, models):
    """A local_host.LocalHost: this machine, for one server of its engine."""
    host = LocalHost(re.sub(r"[^\w]+", "-", request.node.name), tmp_path, engine, serving_image, models)
    yield host
    host.remove()


@pytest.fixture(scope="session")
def testbed(engine, tmp_path_factory):
    """The hosts.Fleet of this session: starts hosts, publishes images to them, writes inventories."""
    return Fleet(engine, engines.this_process(), tmp_path_factory.mktemp("testbed"))


@pytest.fixture(scope="session")
def registry(testbed):
    """A registry.Registry that the hosts pull from; registry.publish(image) is a reference by digest."""
    return testbed.registry


@pytest.fixture(scope="session")
def serving_reference(registry, serving_image):
    """The serving image as hosts name it, by digest."""
    return registry.publish(serving_image)


@pytest.fixture(scope="session")
def fleet(testbed, engine, serving_reference):
    """fleet(3) is a list of three hosts.Host whose engines have serving_reference; the same ones each time. Clean them with Host.reset()."""

    def hosts(count):
        started = testbed.hosts({f"tfs{number + 1}": {} for number in range(count)}, stock=images.tensorflow(engine))
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda host: host.docker("pull", "--quiet", serving_reference), started))
        return started

    return hosts


@pytest.fixture(scope="session")
def podman_host(testbed, engine, serving_reference):
    """A hosts.Host whose engine is Podman; the services of root and of deploy run and have serving_reference."""
    (host,) = testbed.hosts({"podman": {"has_podman": True}}, stock=images.tensorflow(engine))
    host.pull_by_podman(serving_reference)
    return host


@pytest.fixture()
def module_on(testbed, tmp_path):
    """module_on(host, "model_server", {options}) is the module's result on the host over SSH, as root unless become=False; check: in check mode.
    The whole output, with all that three v show, is then in result["_output"]."""

    def call(host, module, options, become=True, check=False):
        inventory = testbed.inventory([host])
        inventory["all"]["vars"]["ansible_become"] = become
        run = AdHoc(
            inventory,
            tmp_path / "ad-hoc",
            host.name,
            f"tfserving.fleet.{module}",
            options,
            *(["--check", "--diff"] if check else []),
        )
        return dict(run.result, _output=run.output)

    return call


@pytest.fixture(scope="session")
def haproxy(testbed):
    """haproxy(hosts, model) is a balancer.Balancer in front of these hosts' servers of that model; options: those of Balancer.serve."""

    def serve(hosts, model, **options):
        (host,) = testbed.hosts({"balancer": {"runs_engine": False}})
        balancer = Balancer(host)
        balancer.serve(hosts, model, **options)
        return balancer

    return serve


@pytest.fixture()
def asking_client(tmp_path):
    """asking_client("HOST:PORT", model, inputs) is an asking.AskingClient that has its first answer; stop() gives its log. options: its own."""
    started = []

    def start(address, model, inputs, **options):
        started.append(AskingClient(address, model, inputs, tmp_path / f"asking-{len(started)}.jsonl", **options))
        return started[-1]

    yield start
    for client in started:
        client.stop()


@pytest.fixture()
def play(testbed, tmp_path):
    """play(playbook, hosts, *arguments, balancers=()) starts ansible-playbook over SSH on these hosts and returns its playbook.Run."""
    started = []

    def start(playbook, hosts, *arguments, balancers=()):
        started.append(Run(playbook, testbed.inventory(hosts, balancers), tmp_path / f"run-{len(started)}", *arguments))
        return started[-1]

    yield start
    for run in started:
        if run.process.poll() is None:
            run.kill()

# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real models and real servers for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.support import embedded, made

HERE = Path(__file__).resolve().parent
# With `-n 3 --dist loadfile` each process gets two files at once. The longest three come first, each with a short one behind it, then the other long ones.
ORDER = (
    "model/test_model_conversion.py",
    "demo/test_demo.py",
    "deploy/test_model_server.py",
    "image/test_tensorflow_log.py",
    "support/test_made.py",
    "protocol/test_stdlib_client.py",
    "deploy/test_model_version.py",
    "load/test_load_generator.py",
    "deploy/test_tfs_server_role.py",
    "core/test_nonsense_role_variables.py",
    "deploy/test_object_stores.py",
    "plan/test_plan_playbook.py",
    "core/test_nonsense_options.py",
    "embedded/test_embedded_configuration.py",
)


def pytest_configure(config):
    """Hand files to the processes in our order, not in that of how many tests they have."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Sort files by ORDER; the others follow in the order of their names."""
    rank = {HERE / name: number for number, name in enumerate(ORDER)}
    items.sort(key=lambda item: rank.get(item.path, len(ORDER)))


@pytest.fixture(scope="session")
def model_directory():
    """Below it NAME/1 for each model of make_models.py. It is shared: copy what a test changes."""
    return made.by_program(HERE / "make_models.py")


@pytest.fixture(scope="session")
def zoo():
    """Below it NAME for each model of model_zoo.EXPECTED and odd_models.EXPECTED, and NAME.npz for some. It is shared: copy what a test changes."""
    return made.by_program(HERE / "model" / "model_zoo.py", HERE / "model" / "odd_models.py", *made.versions("keras"))


@pytest.fixture(scope="session")
def tensorflow():
    """TensorFlow, imported into this process for the tests alone that need it here."""
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="session")
def servers_of_session(tmp_path_factory):
    """The embedded.Servers that all tests of this process start theirs with."""
    with embedded.Servers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="session")
def server_program(servers_of_session):
    """Path of the embedded server, packed as it is for a host."""
    return servers_of_session.program


@pytest.fixture(scope="session")
def serve(servers_of_session):
    """serve(*flags, models={name: base path}, **environment) starts a server and does not wait for it; see embedded.Servers.start."""
    return servers_of_session.start

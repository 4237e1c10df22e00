# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real models and real servers for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.tests.support import embedded, made

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def model_directory():
    """Below it NAME/1 for each model of make_models.py. It is shared: copy what a test changes."""
    return made.by_program(HERE / "make_models.py")


@pytest.fixture(scope="session")
def zoo():
    """Below it NAME for each model of model_zoo.EXPECTED and odd_models.EXPECTED, and NAME.npz for some. It is shared: copy what a test changes."""
    return made.by_program(HERE / "model" / "model_zoo.py", HERE / "model" / "odd_models.py", *made.versions("keras"))


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

# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the tests import the collection from this checkout, wherever it lies and with or without Ansible, and do the same in every run."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = "ansible_collections.tfserving.fleet"


def make_importable():
    """Bind the collection's name to ROOT unless the ordinary import path already leads there."""
    for name in ("ansible_collections", "ansible_collections.tfserving"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            _bind(name, [])
    try:
        found = importlib.import_module(COLLECTION)
    except ModuleNotFoundError:
        found = None
    if found is None or ROOT not in [Path(path).resolve() for path in found.__path__]:
        _bind(COLLECTION, [str(ROOT)])


def _bind(name, path):
    package = types.ModuleType(name)
    package.__path__ = path
    sys.modules[name] = package
    parent, _dot, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


def fix_examples():
    """Draw the same examples in every run, however long a busy machine takes. `pytest --hypothesis-profile default`, as `make soak` runs it, draws new ones."""
    try:
        import hypothesis
    except ModuleNotFoundError:
        return
    slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=slow)
    hypothesis.settings.load_profile("same")


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=1, help="what tests draw their random numbers from")


def pytest_generate_tests(metafunc):
    """Give tests and fixtures an argument `seed`; it stands in the test's name."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", [metafunc.config.getoption("seed")], ids="seed={}".format, scope="session")


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "seed" in getattr(item, "fixturenames", ()):
            item.add_marker("seeded")
    if "soak" not in config.getoption("markexpr"):
        left_out = [item for item in items if item.get_closest_marker("soak")]
        items[:] = [item for item in items if not item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=left_out)


make_importable()
fix_examples()

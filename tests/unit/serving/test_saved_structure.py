# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The structure of the model that a host has. Results of modules as ansible-doc shows them: files of ansible.builtin.find, a list of mappings with path."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import saved_structure


def on_host(*names):
    """(the structure of a folder that holds these names, the folder that was read for it)."""
    read = []

    def call(module, **options):
        if module == "ansible.builtin.find":
            assert options == {"paths": ["/m"], "file_type": "any"}
            return {"files": [{"path": f"/m/{name}"} for name in names]}
        read.append((module, options["path"]))
        return {"saved_model": {"structure": {"sha256": "0"}}}

    return saved_structure.on_host(call, "/m"), read


def test_the_newest_version_is_read():
    """TensorFlow Serving's file_system_storage_path_source.cc: a version is a folder named by a number, and the largest is the newest."""
    assert on_host("9", "10", "2", "assets") == ({"sha256": "0"}, [("tfserving.fleet.saved_model_info", "/m/10")])


@pytest.mark.parametrize("names", [(), ("assets",)])
def test_a_folder_without_versions_has_no_structure(names):
    assert on_host(*names) == (None, [])


def test_what_cannot_be_read_has_no_structure():
    def call(module, **options):
        raise FleetError("it cannot be read")

    assert saved_structure.on_host(call, "/m") is None

# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an account has to read, and which accounts there are; as whom programs then run, tests/security shows."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core import account
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError


def test_what_is_needed(tmp_path, monkeypatch):
    (tmp_path / "model" / "1").mkdir(parents=True)
    (tmp_path / "model" / "1" / "saved_model.pb").touch()
    (tmp_path / "model" / ".staged").mkdir()
    for name in ("back", "again"):  # Links in a circle have more ways through them than anybody walks.
        (tmp_path / "model" / name).symlink_to(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    found = account.needed("sh", [None, "absent.npz", tmp_path / "no" / "such"], [tmp_path / "model"])
    assert os.path.basename(found[0]) == "sh" and str(tmp_path) in map(str, found)
    assert str(tmp_path / "model" / "1" / "saved_model.pb") in map(str, found)
    assert len(found) < 12 and not any(".staged" in str(path) for path in found)


@pytest.mark.parametrize("user", ["no-such-account", "root:wheel-of-fortune", "54321:users", "", "-5"])
def test_account_that_does_not_exist(user):
    with pytest.raises(FleetError, match="^convert_user: "):
        account.chosen([user], ["/"], "convert_user")

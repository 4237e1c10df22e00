# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives of a version that were cut or damaged anywhere: unpacked as they were packed, or refused in one line; nothing else."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model import transfer

NAMES = ("v/saved_model.pb", "v/variables/größe")


def packed(kind):
    content, made = {NAMES[0]: random.Random(1).randbytes(3000), NAMES[1]: b"abc" * 900}, io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return made.getvalue()
    with tarfile.open(fileobj=made, mode=f"w:{kind}") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


def damaged(content, dice):
    """Cut, or with a byte or four changed; half of the time where an archive describes itself, at its beginning and its end."""
    if dice.random() < 0.3:
        return content[: dice.randrange(len(content))]
    places = (
        [*range(min(600, len(content))), *range(max(0, len(content) - 300), len(content))]
        if dice.random() < 0.5
        else range(len(content))
    )
    changed = bytearray(content)
    for place in dice.choices(places, k=dice.choice((1, 4))):
        changed[place] = dice.randrange(256)
    return bytes(changed)


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz", "zip"])
def test_it_is_refused_in_one_line(kind, tmp_path):
    whole, dice, refused = packed(kind), random.Random(7), 0
    for number in range(250):
        archive = tmp_path / "archive"
        archive.write_bytes(damaged(whole, dice))
        folder = tmp_path / str(number)
        folder.mkdir()
        partial = transfer.Partial(str(folder), "key")
        partial.begin(0)
        try:
            transfer.unpack(str(archive), partial)
        except FleetError as fault:
            refused += 1
            assert "\n" not in str(fault) and str(archive) in str(fault)
    assert refused > 100

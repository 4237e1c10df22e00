# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Upstream's Dockerfiles with a recipe's fixes: sources from the verified archive, base images by digest, mirrors, and tools that still run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._image.recipe import Fix, Recipe
from ansible_collections.tfserving.fleet.plugins.module_utils._serving.image_labels import BUILDING

SOURCES = "tfserving-sources.tar"  # next to the Dockerfile; ADD unpacks it
DOWNLOADER = "tfserving-bazel-downloader.cfg"
_FROM = re.compile(r"^(FROM\s+)(\S+)(.*)$", re.MULTILINE | re.IGNORECASE)
_INSTRUCTION = r"(?:[^\n]*\\\n)*[^\n]*"
_UPSTREAM = r"github\.com/tensorflow/serving"
_FETCHES = re.compile(
    rf"^RUN (?:curl [^\n]*{_UPSTREAM}/tarball/|git clone [^\n]*{_UPSTREAM}){_INSTRUCTION}", re.MULTILINE
)
_GET_PIP = "bootstrap.pypa.io/get-pip.py"


def fixed(text: str, recipe: Recipe, devel: bool, mirrors: Mapping[str, str] | None = None) -> str:
    """Return the Dockerfile to build from.

    text: upstream's. devel: whether it is the devel file. mirrors: {prefix of a URL or image name: its replacement}.
    Raises FleetError if upstream's file is not as the recipe expects.
    """
    if devel:
        for fix in recipe["mends"]:
            text = _FIXES[fix["mend"]](text, fix)
    text = _FROM.sub(
        lambda found: found[1] + _mirrored(_pinned(found[2], recipe["base_images"]), mirrors) + found[3], text
    )
    text = _labelled(text)
    for prefix, mirror in sorted((mirrors or {}).items()):
        if "://" in prefix:
            text = text.replace(prefix, mirror)
    return text


def base_images(text: str) -> list[str]:
    """Return the base images of a Dockerfile, without its own stages and without those that an argument names."""
    stages = {name.lower() for name in re.findall(r"^FROM\s+\S+\s+as\s+(\S+)", text, re.MULTILINE | re.IGNORECASE)}
    named = [found[2] for found in _FROM.finditer(text)]
    return [name for name in dict.fromkeys(named) if name.lower() not in stages and "$" not in name]


def downloader_rules(mirrors: Mapping[str, str] | None) -> str:
    """Return Bazel's --experimental_downloader_config for the mirrors of URLs."""
    rules = [
        (re.sub(r"^\w+://", "", prefix), re.sub(r"^\w+://", "", mirror))
        for prefix, mirror in sorted((mirrors or {}).items())
        if "://" in prefix
    ]
    return "".join(
        f"rewrite {re.escape(prefix).replace('/', '[/]').replace('[/]', '/')}(.*) {mirror}$1\n"
        for prefix, mirror in rules
    )


def _sources(text: str, _fix: Fix) -> str:
    changed, count = _FETCHES.subn(f"ADD {SOURCES} /tensorflow-serving/", text)
    if count != 1:
        raise _unlike(f"has {count} commands that fetch the sources, not 1")
    return changed


def _get_pip(text: str, fix: Fix) -> str:
    if _GET_PIP not in text:
        raise _unlike(f"does not fetch {_GET_PIP}")
    return text.replace(_GET_PIP, f"bootstrap.pypa.io/pip/{fix['python']}/get-pip.py")


_FIXES: dict[str, Callable[[str, Fix], str]] = {"sources": _sources, "get_pip": _get_pip}


def _unlike(what: str) -> FleetError:
    return FleetError(
        f"upstream's Dockerfile is not as the recipe expects: it {what}",
        where="Dockerfile.devel",
        remedy="Build from the unchanged sources of the release.",
    )


def _pinned(name: str, pins: Mapping[str, str]) -> str:
    return name if "@" in name else pins.get(name, name)


def _mirrored(name: str, mirrors: Mapping[str, str] | None) -> str:
    for prefix, mirror in sorted((mirrors or {}).items(), key=lambda pair: -len(pair[0])):
        if "://" not in prefix and name.startswith(prefix) and "$" not in name:
            return mirror + name[len(prefix) :]
    return name


def _labelled(text: str) -> str:
    """Label each stage, to distinguish the remains of an interrupted build from other containers."""
    return _FROM.sub(lambda found: found[0] if "$" in found[2] else f"{found[0]}\nLABEL {BUILDING}=1", text)

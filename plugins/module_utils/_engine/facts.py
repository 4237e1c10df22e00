# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine of a host as a fact, part of what tfserving.fleet.capability_facts returns; and what it knows about an image."""

from __future__ import annotations

from typing import TypedDict


class Engine(TypedDict):
    """The description of a host's engine. Without an engine, the key engine is None."""

    engine: str | None  # docker or podman
    version: str | None
    api_version: str | None
    socket: str | None  # its path
    answers: bool  # whether its API answers
    reason: str | None  # why not
    runtimes: list[str]  # sorted
    cdi_directories: list[str]  # where it looks for CDI descriptions, sorted


class Sdk(TypedDict):
    """Python's Docker SDK."""

    version: str | None
    problem: str | None  # why this Python cannot use it


class Image(TypedDict):
    """An image of an engine."""

    id: str
    labels: dict[str, str]
    tags: list[str]  # its names
    digests: list[str]  # its references by digest
    size_bytes: int
    created: str | None
    architecture: str | None  # Go's name: amd64

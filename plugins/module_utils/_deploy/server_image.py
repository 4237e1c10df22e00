# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Adapter for the image of a server in a container: find it on the host, pull it, and refuse one that this host cannot run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.host_files import Files
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import checks, container_files
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.server_containers import Servers
from ansible_collections.tfserving.fleet.plugins.module_utils._engine.facts import Image
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels


class ServerImage:
    """The image that the options of model_server name. warnings, actions: for the module's result."""

    def __init__(self, options: Mapping[str, Any], engine: Servers, check_mode: bool) -> None:
        self._options, self._name = options, options["image"]
        self._engine, self._check_mode = engine, check_mode
        self.warnings: list[str] = []
        self.actions: list[str] = []

    def find(self) -> tuple[Image | None, str | None, bool]:
        """Return (the host's image of this name or None, the current digest of its tag in the registry if it differs, whether that is unknown).

        Outside of check mode, a different image is pulled.
        """
        name, pull = self._name, self._options["pull"]
        image = self._engine.image(name)
        if pull == "never" and image is None:
            raise FleetError(
                f"the image {name!r} is not on the host, and pull is never",
                where="pull",
                remedy="Copy the image to the host, or set pull: missing (tfs_server_pull of the role).",
            )
        if pull != "always" or image is None or "@" in name:
            return image, None, False
        if not self._check_mode:
            now = self.pull()
            self.actions += [f"pull the image {name}, whose tag has moved"] if now["id"] != image["id"] else []
            return now, None, False
        fault = "the image is not in its registry"
        try:
            there = self._engine.in_registry(name, self._options["registry_login"])
        except FleetError as unknown:
            there, fault = None, str(unknown)
        if there is None:
            self.warnings.append(f"check mode cannot determine whether the tag of {name} has moved: {fault}")
            return image, None, True
        digest, known = there.rpartition("@")[2], {one.rpartition("@")[2] for one in image["digests"]}
        return image, None if digest in known else digest, False

    def pull(self) -> Image:
        """Pull it, even if it is on the host, and return it."""
        options, name = self._options, self._name
        container_files.trust_registry(name, options["registry_ca"], options["engine"], self._engine.is_rootless())
        self._engine.fetch(name, options["registry_login"])
        return cast(Image, self._engine.image(name))

    def refuse_incompatible(self, image: Image) -> None:
        """Raise FleetError for an image of another architecture, or one that needs instructions that this CPU lacks."""
        self._refuse_foreign(image["architecture"])
        fault = image_labels.refusal(image["labels"], os.uname().machine, Files().cpu_flags())
        if fault:
            raise checks.closed(
                checks.COMPATIBLE,
                fault,
                where=self._name,
                remedy="Use the official image, or one built for this host's class.",
            )

    def _refuse_foreign(self, architecture: str | None) -> None:
        """Refuse an image of another architecture. Only warn if the kernel runs its programs with an emulator."""
        machine = os.uname().machine
        own = image_labels.foreign_to(architecture, machine)
        if not own:
            return
        files, binfmt = Files(), "proc/sys/fs/binfmt_misc"
        if image_labels.is_emulated(architecture, (files.text(f"{binfmt}/{name}") for name in files.names(binfmt))):
            self.warnings.append(
                f"{self._name} is built for {architecture}, and this host is {own}: it runs in an emulator, many times slower than an image for this host"
            )
            return
        raise checks.closed(
            checks.COMPATIBLE,
            f"the image is built for {architecture}, and this host is {own} ({machine}): it would fail with 'Exec format error'",
            where=self._name,
            remedy=f"Use an image for linux/{own}: pull a name that has one, or pull with --platform linux/{own}.",
        )

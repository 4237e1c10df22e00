#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_version
short_description: Update a model while it is served
version_added: "0.1.0"
description:
  - Publishes a version of a model into the folder that a server reads, whole or not at all. It takes the version from the controller, from the host, from a URL
    or from an object store, and verifies the checksum of every file on the host before the version appears.
  - Where O(server) is named it waits until the server says AVAILABLE, asks it for the answers to O(samples), and only then moves a label and prunes old
    versions. A version that cannot be loaded, or answers wrongly, is withdrawn, and what served before serves on.
  - A transfer that broke off goes on where it ended. A run that was killed leaves no half version, and the next one finishes its work.
  - Needs no library on the host.
options:
  path:
    description: The folder of the model's versions on this host, which the server reads.
    type: path
    required: true
  state:
    description: Whether the version is there (V(present)), or not (V(absent)). A version that the server holds is never removed.
    type: str
    choices: [present, absent]
    default: present
  version:
    description:
      - The version's number, 0 or more. Without it, the number that names the folder of O(source), such as C(42) for C(files/digits/42).
      - A folder with another name, and an archive, get the newest number where that version is the same, else the next one. The next number may be another
        one on each host. So a play with several hosts is refused without a number.
      - The model decides whether a version is the same. Its manifest, warm-up requests and batching parameters do not. Where the source is a folder, or
        comes from the controller, its warm-up requests and manifest replace those of the version; a server reads the requests when it loads it.
      - A number that is there and holds something else is refused, since a server does not notice a version that is replaced.
      - Without O(source), the version must be there; it is seen to serve and may get a label.
    type: int
  source:
    description:
      - One version of a model. A folder with C(saved_model.pb) or C(model.tflite), or an archive that holds one such folder (C(.tar), C(.tar.gz), C(.tgz),
        C(.tar.bz2), C(.tar.xz), C(.zip)).
      - A path is on the controller, or on the host with O(remote_src). C(file://) is a path on the host.
      - C(http://) and C(https://) name an archive.
      - C(s3://) and C(gs://) name a folder. They need C(aws), or C(gcloud) or C(gsutil), on the host, with their own configuration and credentials.
    type: str
  remote_src:
    description: Whether a path in O(source) is on the host.
    type: bool
    default: false
  checksum:
    description: What the archive's checksum must be, V(sha256:) and 64 hexadecimal digits. A folder takes none, as it is compared file by file.
    type: str
  server:
    description: The server that serves O(path), asked over gRPC from the host.
    type: dict
    suboptions:
      address:
        description: Where it listens.
        type: str
        default: 127.0.0.1
      port:
        description: Its gRPC port, 1 to 65535.
        type: int
        required: true
      model:
        description: The model's name there.
        type: str
        required: true
      secure:
        description: Whether the port speaks TLS. The certificate is not judged, and a server that demands one of its clients cannot be asked.
        type: bool
        default: false
      deadline_s:
        description: The longest that one request may take, in seconds.
        type: float
        default: 30
  samples:
    description:
      - A NumPy archive (C(.npz)) on the host with C(inputs.<name>) for each input, examples along the first axis. The new version must answer them.
      - Where it holds C(outputs.<name>) too, the answers must agree with them within O(tolerance).
    type: path
  sample_rows:
    description: How many of the samples are asked for, in one request.
    type: int
    default: 8
  signature:
    description: The signature to ask. A SavedModel in which it reads variables that loading does not restore is not published.
    type: str
    default: serving_default
  tags:
    description: Tags of the graph that is served, as the server's flag C(saved_model_tags) names them. What a SavedModel lacks is said before it is published.
    type: list
    elements: str
    default: [serve]
  tolerance:
    description: How far a number may be from the one in the samples. Absolute below 1, relative above.
    type: float
    default: 0.001
  label:
    description:
      - A label for the version, such as V(canary) or V(stable). It is given only when the version is AVAILABLE and has answered well.
      - The label is written to O(config_file) and the server takes the file at once. In a list of specific versions the new one is listed first, and
        the one that lost its last label is listed no more.
    type: str
  config_file:
    description:
      - The file on the host that the server was started with as C(model_config_file). Required with O(label), and where it lists specific versions.
      - All of protobuf's text format is read. Comments are lost where the file changes; then it is kept as it was, with C(.bak) at the end of its name, and a
        warning says so.
    type: path
  keep:
    description:
      - How many versions to leave in the folder, 1 or more. Older ones are removed, except those that the server holds or a label names.
      - Without it, all stay.
    type: int
  ready_timeout_s:
    description: The longest that the server may take to make the version AVAILABLE, in seconds. Then it is withdrawn.
    type: float
    default: 120
  transfer_timeout_s:
    description: The longest that an object store's client may take, in seconds.
    type: float
    default: 3600
  folder_owner:
    description:
      - An account, by name or UID, in whose folders root works beside its own and those of the account that root was reached from, such as the account that
        the server runs as. Links that it puts there are not followed.
    type: str
  rehash:
    description:
      - Read every file. By default the digest of a file that did not change is remembered in the user's cache, by its device, inode, size and times. Nothing
        is remembered of files on network file systems.
    type: bool
    default: false
  inventory:
    description: The checksum and the size of each file of the controller's source, by path. For the action plugin, not for playbooks.
    type: dict
  manifest:
    description: The manifest of the controller's source, if it has one. For the action plugin, not for playbooks.
    type: dict
  piece:
    description: A part of the controller's source that lies on the host already. For the action plugin, not for playbooks.
    type: path
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description: Says what would be published, labelled and removed, and does nothing. Whether the version would serve well is not known before it is there.
  diff_mode:
    description: Shows the versions and the label, before and after.
    support: full
notes:
  - Under a policy that serves only the newest version, clients get the new one from the moment it is loaded, while its answers are checked. A list of specific
    versions with labels lets clients that ask for V(stable) be served by the old one until the new one is proven.
seealso:
  - module: tfserving.fleet.model_conversion
  - module: tfserving.fleet.model_server
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Update a model from the controller
  tfserving.fleet.model_version:
    path: /srv/models/digits
    source: files/digits
    server:
      port: 8500
      model: digits
    samples: /srv/samples/digits.npz
    keep: 3

- name: Try the new version with the clients that ask for canary
  tfserving.fleet.model_version:
    path: /srv/models/digits
    source: https://models.example.com/digits-42.tar.gz
    checksum: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    version: 42
    server:
      port: 8500
      model: digits
    label: canary
    config_file: /etc/tfserving/models.config

- name: Make it the stable one
  tfserving.fleet.model_version:
    path: /srv/models/digits
    version: 42
    server:
      port: 8500
      model: digits
    label: stable
    config_file: /etc/tfserving/models.config
    keep: 3
"""

RETURN = r"""
version:
  description: The version's number.
  returned: success
  type: int
  sample: 42
path:
  description: Where it lies.
  returned: success
  type: str
  sample: /srv/models/digits/42
published:
  description: Whether it was not there before.
  returned: success
  type: bool
  sample: true
pruned:
  description: The versions that were removed because they were old.
  returned: success
  type: list
  elements: int
  sample: [38]
served:
  description: The versions that the server serves afterwards, the newest first. Empty without O(server). In check mode, those it serves now.
  returned: success
  type: list
  elements: int
  sample: [42]
actions:
  description: What was done, or in check mode would be done, in order.
  returned: success
  type: list
  elements: str
  sample: ["publish version 42 from files/digits", "remove version 38"]
"""

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import model_update

SERVER = {
    "address": {"type": "str", "default": "127.0.0.1"},
    "port": {"type": "int", "required": True},
    "model": {"type": "str", "required": True},
    "secure": {"type": "bool", "default": False},
    "deadline_s": {"type": "float", "default": 30},
}


def main():
    """Ansible's entry."""
    module = shell.FleetModule(
        {
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "version": {"type": "int"},
            "source": {"type": "str"},
            "remote_src": {"type": "bool", "default": False},
            "checksum": {"type": "str"},
            "server": {"type": "dict", "options": SERVER},
            "samples": {"type": "path"},
            "sample_rows": {"type": "int", "default": 8},
            "signature": {"type": "str", "default": "serving_default"},
            "tags": {"type": "list", "elements": "str", "default": ["serve"]},
            "tolerance": {"type": "float", "default": 0.001},
            "label": {"type": "str"},
            "config_file": {"type": "path"},
            "keep": {"type": "int"},
            "ready_timeout_s": {"type": "float", "default": 120},
            "transfer_timeout_s": {"type": "float", "default": 3600},
            "folder_owner": {"type": "str"},
            "rehash": {"type": "bool", "default": False},
            "inventory": {"type": "dict"},
            "manifest": {"type": "dict"},
            "piece": {"type": "path"},
        },
        required_if=[("state", "absent", ("version",))],
        supports_check_mode=True,
    )
    shell.run(module, lambda: model_update.Update(module.params).run(module.check_mode))


if __name__ == "__main__":
    main()

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
  - Publishes a version of a model in the folder that a server reads. The version appears completely or not at all. It comes from the controller, the host, a
    URL or an object store. The module verifies the checksum of every file on the host before the version appears.
  - With O(server), the module waits until the server reports the version as AVAILABLE and checks its answers to O(samples). Only then it moves a label and
    removes old versions. A version that cannot be loaded, or whose answers are wrong, is withdrawn, and the server continues with the previous version.
  - An interrupted transfer continues where it ended. A killed run leaves no partial version, and the next run finishes its work.
  - Needs no library on the host.
options:
  path:
    description: Folder of the model's versions on the host, which the server reads.
    type: path
    required: true
  state:
    description: Whether the version must exist (V(present)) or not (V(absent)). A version that the server has loaded is never removed.
    type: str
    choices: [present, absent]
    default: present
  version:
    description:
      - Number of the version, 0 or more. Without it, the name of the folder of O(source) where that is a number, such as C(42) for C(files/digits/42).
      - A folder with another name, or an archive, gets the newest number if that version is the same, otherwise the next one. That number can differ between
        hosts, so a play with several hosts must give a number.
      - Two versions are the same if their models are the same. The manifest, the warm-up requests and the batching parameters do not count. If the source is a
        folder, or comes from the controller, its warm-up requests and manifest replace those of the version. A server reads the warm-up requests when it loads
        the version.
      - A number whose version has other content is refused, because a server does not notice that a version was replaced.
      - Without O(source), the version must exist. The module then verifies that the server serves it, and can give it a label.
    type: int
  source:
    description:
      - One version of a model. A folder with C(saved_model.pb) or C(model.tflite), or an archive with one such folder (C(.tar), C(.tar.gz), C(.tgz),
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
    description: Expected checksum of the archive, V(sha256:) and 64 hexadecimal digits. Not for a folder, since the module compares a folder file by file.
    type: str
  server:
    description: Server that serves O(path). The module connects to it over gRPC from the host.
    type: dict
    suboptions:
      address:
        description: Address on which the server listens.
        type: str
        default: 127.0.0.1
      port:
        description: gRPC port of the server, 1 to 65535.
        type: int
        required: true
      model:
        description: Name of the model on the server.
        type: str
        required: true
      secure:
        description: Whether the port uses TLS. The module does not verify the certificate, and it cannot connect to a server that requires client certificates.
        type: bool
        default: false
      deadline_s:
        description: Longest time for one request, in seconds.
        type: float
        default: 30
  samples:
    description:
      - NumPy archive (C(.npz)) on the host with C(inputs.<name>) for each input, examples along the first axis. The new version must answer them.
      - If it also has C(outputs.<name>), the answers must agree with them within O(tolerance).
    type: path
  sample_rows:
    description: How many of the samples to send, in one request.
    type: int
    default: 8
  signature:
    description: Signature that gets the request. A SavedModel in which it reads variables that loading does not restore is not published.
    type: str
    default: serving_default
  tags:
    description: Tags of the graph that is served, as in the server's flag C(saved_model_tags). The module checks the graph before it publishes a SavedModel.
    type: list
    elements: str
    default: [serve]
  tolerance:
    description: Largest difference from the outputs in the samples, absolute for values below 1 and relative above.
    type: float
    default: 0.001
  label:
    description:
      - Label for the version, such as V(canary) or V(stable). The version gets it only after it is AVAILABLE and its answers passed the checks.
      - The module writes the label to O(config_file) and makes the server read the file. In a list of specific versions, the new version comes first, and a
        version that lost its last label is removed from the list.
    type: str
  config_file:
    description:
      - File on the host that the server was started with as C(model_config_file). Required with O(label), and if the file lists specific versions.
      - The module reads all of protobuf's text format. A change removes comments. If the file has any, the module keeps the old file with C(.bak) at the end of
        its name and warns.
    type: path
  keep:
    description:
      - How many versions to keep in the folder, 1 or more. Older versions are removed, except those that the server has loaded or that have a label.
      - Without it, all versions stay.
    type: int
  ready_timeout_s:
    description: Longest time until the server reports the version as AVAILABLE, in seconds. After that, the version is withdrawn.
    type: float
    default: 120
  transfer_timeout_s:
    description: Longest time that the client of an object store may take, in seconds.
    type: float
    default: 3600
  folder_owner:
    description:
      - Account, by name or UID, such as the one that the server runs as. When the module runs as root, it also works in folders that this account owns, not
        only in those of root and of the account that became root. The module does not follow links that this account creates there.
    type: str
  rehash:
    description:
      - Read every file. By default the module remembers the digest of an unchanged file in the user's cache, by device, inode, size and times. It never
        remembers digests of files on network file systems.
    type: bool
    default: false
  inventory:
    description: Checksum and size of each file of the controller's source, by path. For the action plugin, not for playbooks.
    type: dict
  manifest:
    description: Manifest of the controller's source, if it has one. For the action plugin, not for playbooks.
    type: dict
  piece:
    description: Part of the controller's source that is already on the host. For the action plugin, not for playbooks.
    type: path
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  check_mode:
    description:
      - Predicts what the module would publish, label and remove, and changes nothing. Whether the server would serve the version correctly is not known before
        it is published.
  diff_mode:
    description: Shows the versions and the label before and after.
    support: full
notes:
  - With a policy that serves only the newest version, clients get the new version as soon as it is loaded, while the module still checks its answers. With a
    list of specific versions and labels, clients that request V(stable) get the old version until the new one is verified.
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

- name: Give the new version to clients that request the label canary
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

- name: Give it the label stable
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
  description: Number of the version.
  returned: success
  type: int
  sample: 42
path:
  description: Directory of the version.
  returned: success
  type: str
  sample: /srv/models/digits/42
published:
  description: Whether the version is new.
  returned: success
  type: bool
  sample: true
newer:
  description: Published versions with a higher number, ascending. A server without C(version_policy) serves the highest one.
  returned: O(state=present)
  type: list
  elements: int
  sample: []
pruned:
  description: Versions that were removed because of O(keep).
  returned: success
  type: list
  elements: int
  sample: [38]
served:
  description: Versions that the server serves afterwards, the newest first. Empty without O(server). In check mode the versions that it serves now.
  returned: success
  type: list
  elements: int
  sample: [42]
actions:
  description: Actions that the module took, or would take in check mode, in order.
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
    """Run the module."""
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

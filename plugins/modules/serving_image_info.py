#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_image_info
short_description: List the images of this collection on a host
version_added: "0.1.0"
description:
  - Lists the images that M(tfserving.fleet.serving_image) built or brought to the host, with their labels and the containers that use them.
options:
  archives:
    description: Directory on the host where a builder keeps images as archives. RV(archived) lists them.
    type: path
  engine_socket:
    description:
      - Path of the container engine's unix socket on the host. By default the one in C(DOCKER_HOST), otherwise the first socket of Docker or Podman that
        answers.
      - An engine on another machine (C(tcp://), C(ssh://)) cannot be used.
    type: str
requirements:
  - Python's Docker SDK (docker) on the host
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  platform:
    description: Linux with Docker Engine 20.10 or later, or Podman's compatible socket, and Python 3.9 or later.
seealso:
  - module: tfserving.fleet.serving_image
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: List the images on the host
  tfserving.fleet.serving_image_info:
  register: here

- name: Show their names
  ansible.builtin.debug:
    msg: "{{ here.names }}"
"""

RETURN = r"""
names:
  description: Names of all images in RV(images), sorted.
  returned: success
  type: list
  elements: str
  sample: [tfserving-fleet/serving:2.20.0-x86-64-v3-b4d9765984c7]
archived:
  description: Names of the images in O(archives), sorted. Empty without it.
  returned: success
  type: list
  elements: str
  sample: []
images:
  description: Images, by ID.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: ID of the image.
      type: str
    names:
      description: Names of the image.
      type: list
      elements: str
    digests:
      description: References of the image by digest.
      type: list
      elements: str
    size_bytes:
      description: Size of the image.
      type: int
    used_by:
      description: Names of the containers made from the image.
      type: list
      elements: str
    label:
      description:
        - Labels of the image. C(recipe) is the recipe's digest, then C(release), C(commit), C(kind), C(level), C(cpu_flags), C(compute_capabilities), and
          C(tensorrt), null for no TensorRT.
      type: dict
  sample:
    - id: sha256:0d1f3c7ba4e6
      names: [tfserving-fleet/serving:2.20.0-x86-64-v3-b4d9765984c7]
      digests: []
      size_bytes: 421000000
      used_by: [digits]
      label:
        recipe: b4d9765984c7273f3c96027cd85ed4174e64a644217da8248c8640a8a3077fe8
        release: 2.20.0
        commit: bc7e9d2b9a419294c4526e293c2df8727b0d3116
        kind: cpu
        level: x86-64-v3
        cpu_flags: [abm, avx, avx2, bmi1, bmi2, f16c, fma, movbe, sse4_2]
        compute_capabilities: []
        tensorrt: null
"""

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import engine
from ansible_collections.tfserving.fleet.plugins.module_utils._image import archives
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import image_labels

OPTIONS = {
    "archives": {"type": "path"},
    "engine_socket": {"type": "str"},
}


def describe(options):
    """Return the module's result."""
    client = engine.Engine(options["engine_socket"])
    found = [
        {
            "id": image["id"],
            "names": image["tags"],
            "digests": image["digests"],
            "size_bytes": image["size_bytes"],
            "used_by": client.in_use(image["id"]),
            "label": image_labels.read(image["labels"]),
        }
        for image in client.images(image_labels.RECIPE)
    ]
    return {
        "changed": False,
        "images": found,
        "names": sorted(name for image in found for name in image["names"]),
        "archived": archives.names(options["archives"]) if options["archives"] else [],
    }


def main():
    """Run the module."""
    module = shell.FleetModule(OPTIONS, supports_check_mode=True)
    shell.run(module, lambda: describe(module.params))


if __name__ == "__main__":
    main()

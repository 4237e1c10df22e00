#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: server_log_info
short_description: Say which of the CPU's instructions a server leaves unused
version_added: "0.1.0"
description:
  - Reads the log of a TensorFlow Serving server and finds the line in which TensorFlow names the instructions that the CPU has and the server was not compiled
    for, in the wording of every release from TensorFlow 1.0 to 2.21.
  - It is found whatever carries it, a container engine's files, a log collector's prefixes or JSON, a terminal's colours, Windows's line ends or UTF-16, and in
    logs of any length or with other bytes in them.
  - Tells a server that died because it was compiled for instructions that its CPU lacks from one that ended otherwise.
  - The line comes when the first SavedModel is loaded, and not at all where nothing is missing or the level INFO is hidden (C(TF_CPP_MIN_LOG_LEVEL)).
    RV(conclusive) says whether a name that is not listed proves anything.
options:
  container:
    description: Name or id of a container on this host, running or not.
    type: str
  path:
    description: File on this host with the log.
    type: path
  text:
    description: The log itself.
    type: str
  exit_status:
    description:
      - How the server ended, as a shell or an engine says it (132 is SIGILL) or as a negative signal. For O(container) the engine tells it.
    type: int
  engine_socket:
    description:
      - Path of the container engine's unix socket on the host. By default that of C(DOCKER_HOST), else the first that answers of Docker's and Podman's.
      - An engine of another machine (C(tcp://), C(ssh://)) cannot be used.
    type: str
requirements:
  - Python's Docker SDK (docker) on the host, for O(container)
extends_documentation_fragment:
  - tfserving.fleet.attributes
seealso:
  - module: tfserving.fleet.serving_image
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: See what the server leaves unused
  tfserving.fleet.server_log_info:
    container: digits
  register: log

- name: Say it
  ansible.builtin.debug:
    msg: "{{ log.judged | join(' ') if log.conclusive else 'the log does not tell' }}"
"""

RETURN = r"""
unused:
  description: Names of the instructions as TensorFlow prints them, in its order; empty where the log names none.
  returned: success
  type: list
  elements: str
  sample: [AVX2, AVX512F, AVX512_VNNI, FMA]
judged:
  description: RV(unused) without the AMX names, which stay in the line whatever was compiled.
  returned: success
  type: list
  elements: str
  sample: [AVX2, AVX512F, AVX512_VNNI, FMA]
cpu_flags:
  description: RV(judged) in the kernel's spelling, sorted.
  returned: success
  type: list
  elements: str
  sample: [avx2, avx512_vnni, avx512f, fma]
conclusive:
  description: Whether an instruction that is not listed is in use (or TensorFlow does not look for it). False where the log shows no loaded SavedModel or a
    line of it was cut off.
  returned: success
  type: bool
  sample: true
lines:
  description: Each line found, with its C(wording), the C(prefix) of the logger (V(tensorflow), V(absl) or V(other)) and the C(instructions) it names.
  returned: success
  type: list
  elements: dict
  sample: [{wording: two_lines, prefix: tensorflow, instructions: [AVX2, AVX512F, AVX512_VNNI, FMA]}]
fatal:
  description:
    - Null, or how the server died of an instruction. C(kind) is V(missing_instruction) where TensorFlow said so and named it in C(instruction), or
      V(illegal_instruction) for a bare SIGILL.
  returned: success
  type: dict
  sample: {kind: illegal_instruction, instruction: null}
ending:
  description: Why the server ended as far as its log or exit status tell, with C(cause) and C(remedy). Null where it runs or they tell nothing.
  returned: success
  type: dict
  sample: {cause: "memory ran out", remedy: "Give it more memory, or serve less on this host."}
exit_status:
  description: How the server ended, null where it runs or nobody said.
  returned: success
  type: int
  sample: null
"""

import codecs
import collections
import os

from ansible_collections.tfserving.fleet.plugins.module_utils._core import shell
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._engine import engine
from ansible_collections.tfserving.fleet.plugins.module_utils._image import server_log
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import endings

_LAST_LINES = 400
OPTIONS = {
    "container": {"type": "str"},
    "path": {"type": "path"},
    "text": {"type": "str"},
    "exit_status": {"type": "int"},
    "engine_socket": {"type": "str"},
}


def describe(options):
    """The module's result."""
    if options["container"]:
        lines, status = engine.Engine(options["engine_socket"]).log_lines(options["container"])
        found = _parsed(lines, status)
        return found if status is not None else dict(found, ending=None)
    if options["path"]:
        return _of_file(options["path"], options["exit_status"])
    if options["text"] is not None:
        return _parsed(options["text"].split("\n"), options["exit_status"])
    raise FleetError(
        "container and path are empty",
        where="server_log_info",
        remedy="Give a container, the path of a log, or its text.",
    )


def _parsed(lines, status):
    """The result for a log's lines, however many there are."""
    last = collections.deque(maxlen=_LAST_LINES)

    def kept():
        for line in lines:
            last.append(line.rstrip("\n"))
            yield line

    parsed = server_log.parse(kept(), status)
    ending = endings.find("\n".join(last), status)
    return dict(
        parsed,
        changed=False,
        exit_status=status,
        ending={"cause": ending.cause, "remedy": ending.remedy} if ending else None,
    )


def _of_file(path, status):
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise FleetError("it is no file", where=path, remedy="Name the server's log.")
        with open(path, "rb") as stream:
            encoding = "utf-16" if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
        with open(path, encoding=encoding, errors="replace") as stream:
            return _parsed(stream, status)
    except OSError as fault:
        raise FleetError(f"cannot read it: {fault.strerror}", where=path, remedy="Name the server's log.") from fault


def main():
    """Ansible's entry."""
    one = ["container", "path", "text"]
    module = shell.FleetModule(OPTIONS, supports_check_mode=True, required_one_of=[one], mutually_exclusive=[one])
    shell.run(module, lambda: describe(module.params))


if __name__ == "__main__":
    main()

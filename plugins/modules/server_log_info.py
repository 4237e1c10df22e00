#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: server_log_info
short_description: Find the CPU instructions that a server does not use
version_added: "0.1.0"
description:
  - Reads the log of a TensorFlow Serving server and finds the line in which TensorFlow names the instructions that the CPU has and the server was not compiled
    for. Knows the wording of every release from TensorFlow 1.0 to 2.21.
  - Finds the line in a container engine's files, with prefixes or JSON of a log collector, with a terminal's colors, with Windows line ends or in UTF-16, and
    in logs of any length or with other bytes in them.
  - Distinguishes a server that crashed because it was compiled for instructions that its CPU lacks from one that ended for another reason.
  - TensorFlow writes the line when the server loads the first SavedModel. It does not write the line if no instruction is missing or the level INFO is hidden
    (C(TF_CPP_MIN_LOG_LEVEL)). RV(conclusive) says whether the absence of a name is conclusive.
options:
  container:
    description: Name or ID of a container on the host, running or not.
    type: str
  path:
    description: File on the host with the log.
    type: path
  text:
    description: Text of the log.
    type: str
  exit_status:
    description:
      - Exit status of the server, as from a shell or an engine (132 is SIGILL), or as a negative signal number. For O(container) the module gets it from the
        engine.
    type: int
  engine_socket:
    description:
      - Path of the container engine's unix socket on the host. By default the one in C(DOCKER_HOST), otherwise the first socket of Docker or Podman that
        answers.
      - An engine on another machine (C(tcp://), C(ssh://)) cannot be used.
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
- name: Find the instructions that the server does not use
  tfserving.fleet.server_log_info:
    container: digits
  register: log

- name: Show the instructions
  ansible.builtin.debug:
    msg: "{{ log.judged | join(' ') if log.conclusive else 'the log is inconclusive' }}"
"""

RETURN = r"""
unused:
  description: Names of the unused instructions as TensorFlow prints them, in its order. Empty if the log has none.
  returned: success
  type: list
  elements: str
  sample: [AVX2, AVX512F, AVX512_VNNI, FMA]
judged:
  description: RV(unused) without the AMX names, which TensorFlow prints whatever was compiled.
  returned: success
  type: list
  elements: str
  sample: [AVX2, AVX512F, AVX512_VNNI, FMA]
cpu_flags:
  description: RV(judged) with the kernel's names, sorted.
  returned: success
  type: list
  elements: str
  sample: [avx2, avx512_vnni, avx512f, fma]
conclusive:
  description:
    - Whether an instruction that is not listed is in use (or TensorFlow does not check it). False if the log shows no loaded SavedModel, or if a line was cut
      off.
  returned: success
  type: bool
  sample: true
lines:
  description: Each line that was found, with its C(wording), the C(prefix) of the logger (V(tensorflow), V(absl) or V(other)) and its C(instructions).
  returned: success
  type: list
  elements: dict
  sample: [{wording: two_lines, prefix: tensorflow, instructions: [AVX2, AVX512F, AVX512_VNNI, FMA]}]
fatal:
  description:
    - How an instruction ended the server, or null. C(kind) is V(missing_instruction) if TensorFlow reported the instruction, in C(instruction), or
      V(illegal_instruction) for a plain SIGILL.
  returned: success
  type: dict
  sample: {kind: illegal_instruction, instruction: null}
ending:
  description: Why the server ended, as far as its log or exit status show, with C(cause) and C(remedy). Null if the server runs or they show nothing.
  returned: success
  type: dict
  sample: {cause: "memory ran out", remedy: "Give it more memory, or serve less on this host."}
exit_status:
  description: Exit status of the server. Null if it runs or the status is unknown.
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
    """Return the module's result."""
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
        remedy="Set container, path, or text.",
    )


def _parsed(lines, status):
    """Return the result for a log's lines, without keeping all of them in memory."""
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
            raise FleetError("it is not a file", where=path, remedy="Set the path of the server's log.")
        with open(path, "rb") as stream:
            encoding = "utf-16" if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
        with open(path, encoding=encoding, errors="replace") as stream:
            return _parsed(stream, status)
    except OSError as fault:
        raise FleetError(
            f"cannot read the log: {fault.strerror}", where=path, remedy="Set the path of the server's log."
        ) from fault


def main():
    """Run the module."""
    one = ["container", "path", "text"]
    module = shell.FleetModule(OPTIONS, supports_check_mode=True, required_one_of=[one], mutually_exclusive=[one])
    shell.run(module, lambda: describe(module.params))


if __name__ == "__main__":
    main()

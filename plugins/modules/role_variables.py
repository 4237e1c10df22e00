#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: role_variables
short_description: Refuse variables that look like a role's but are not, and values that none can have
version_added: "0.1.0"
description:
  - Ansible ignores a variable that nobody reads, so a misspelt role variable runs green and changes nothing.
  - This action fails when a variable that starts with the role's name and an underscore is not among the options of the role's
    C(meta/argument_specs.yml), and names the closest spelling.
  - Known are the options of all entry points of the role, and C(<role>_result) and C(<role>_<entry point>_result), the names
    under which a role leaves its results.
  - Names that begin with the name of another role beside this one (C(tfs_server_tls_…) beside C(tfs_server)) belong to that role.
  - Names that begin with two underscores are internal and not looked at.
  - It also fails on values that no variable of the role can have, by its options' C(type), C(elements), C(choices) and inner C(options), and on numbers below 0
    or without an end. The message names the variable, the value and what is allowed; the value of an option with C(no_log) is not shown.
  - Ansible's own check of a role's arguments lets some of these pass, and they would be taken for something else. These are a list or a mapping where a text
    is meant, a text where a list or a mapping is meant, and null where the default is not empty.
  - Ansible's own check comes before the role's first task. To be first, put this action into a role that yours depends on, as the role
    C(tfserving.fleet.tfs_variables) does.
  - It runs on the controller and needs no connection to the host.
options:
  role_path:
    description: Directory of the role. Inside a role this is the variable of the same name.
    type: path
    required: true
extends_documentation_fragment:
  - tfserving.fleet.attributes
attributes:
  platform:
    description: Runs on the controller.
    platforms: posix
author:
  - The tfserving.fleet contributors (@tfserving)
"""

EXAMPLES = r"""
- name: Refuse unknown variables
  tfserving.fleet.role_variables:
    role_path: "{{ role_path }}"
"""

RETURN = r"""
"""

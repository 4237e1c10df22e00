#!/usr/bin/python
# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: role_variables
short_description: Reject unknown role variables and invalid values
version_added: "0.1.0"
description:
  - Ansible ignores a variable that no task uses. A misspelled role variable therefore has no effect, and Ansible reports no error.
  - This action fails if a variable that starts with the role's name and an underscore is not an option in the role's C(meta/argument_specs.yml). The message
    suggests the closest spelling.
  - Valid names are the options of all entry points of the role, and C(<role>_result) and C(<role>_<entry point>_result), the names of the role's results.
  - Names that begin with the name of another role in the same folder (C(tfs_server_tls_…) with C(tfs_server)) belong to that role.
  - Names that begin with two underscores are internal, and the action ignores them.
  - The action also fails for values that do not match the option's C(type), C(elements), C(choices) or inner C(options), and for negative or infinite numbers.
    The message contains the variable, the value and what is allowed. It does not show the value of an option with C(no_log).
  - Ansible's own validation of a role's arguments accepts some of these with another meaning. These are a list or a mapping for a string, a string for a list
    or a mapping, and null for an option whose default is not empty.
  - Ansible's own validation runs before the role's first task. To run before it, put this action into a role that your role depends on, as the role
    C(tfserving.fleet.tfs_variables) does.
  - Runs on the controller and needs no connection to the host.
options:
  role_path:
    description: Directory of the role. In a role, use the variable of the same name.
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
- name: Reject unknown variables and invalid values
  tfserving.fleet.role_variables:
    role_path: "{{ role_path }}"
"""

RETURN = r"""
"""

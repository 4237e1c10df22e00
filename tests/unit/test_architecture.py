# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of docs/architecture.md that import-linter cannot check (pyproject.toml has its contracts), on every file of the collection."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UTILS = ROOT / "plugins" / "module_utils"
PACKAGE = "ansible_collections.tfserving.fleet.plugins.module_utils"

# Adapters may read files and clocks, start processes and use libraries. All other files of module_utils hold pure functions.
# A new adapter is named here: the files of each package.
ADAPTERS = {
    "_capability": "host nvidia nvidia_driver nvidia_smi nvml",
    "_core": (
        "account archive_errors atomic_files bounded_archives downloads host_files pid_file program role_variables shared_folders "
        "shell text_files"
    ),
    "_deploy": (
        "attempts backends candidate_memory container_files current_servers deployment docker_backend expected_answers "
        "host_resources model_folder model_update new_container secret_digests served_model server_answers server_containers server_folder "
        "server_image verification"
    ),
    "_embedded": "account backend process temporary_server",
    "_engine": "containers engine sockets",
    "_image": "archives bazel_cache builder host_image microarchitectures sources trial_start",
    "_load": "connection generator histogram payloads traffic",
    "_model": (
        "batched_versions batching_files conversion conversion_call conversion_program convert_tensorrt convert_tflite digests metric_function "
        "metric_program model_files object_store probe published sample_files samples saved_model server_check tflite_file transfer"
    ),
    "_plan": "host_variables plan_file preparation",
    "_report": "files page",
    "_protocol": "client stdlib_client wire",
    "_serving": "tuning_files",
    "_tuning": "final_comparison kept_tuning measurement trial trial_log upgrade",
}
ADAPTERS = {f"{package}/{name}" for package, names in ADAPTERS.items() for name in names.split()}
ADAPTER_PACKAGES = ("_embedded/server/",)

# What pure functions may use of the standard library: nothing in it has a clock, a socket, a process or a file.
PURE = {
    "__future__",
    "abc",
    "array",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "decimal",
    "difflib",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "html",
    "io",
    "ipaddress",
    "itertools",
    "json",
    "math",
    "numbers",
    "operator",
    "posixpath",
    "random",
    "re",
    "shlex",
    "statistics",
    "string",
    "struct",
    "textwrap",
    "types",
    "typing",
    "unicodedata",
    "zlib",
}
IMPURE_BUILTINS = {"open", "input", "print", "exec", "eval", "__import__"}

# What a module that only reads must not carry to every host.
READERS = re.compile(r"(capability_facts|saved_model_info|.*_info)$")
DECIDING = re.compile(r"(_core/decision|_plan/.*|_release/.*|_batching/(files|parameters|start_values)|_report/.*)$")

# Modules, actions, filters and the callback take arguments, make one call and return its result.
MOST_LINES_OF_A_SHELL = 60
LONG_SHELLS = {
    "callback/progress.py",
}
DOCUMENTATION = ("DOCUMENTATION", "EXAMPLES", "RETURN")

RELEASE = re.compile(r"v?2\.\d{1,2}(\.\d+)?$")
NOT_OURS_TO_READ = re.compile(r"(^|[\s\"'/{(=])(tests|inventories|extensions)/")


def python_files(*directories):
    found = [
        path
        for directory in directories
        for path in sorted((ROOT / directory).rglob("*.py"))
        if "__pycache__" not in path.parts
    ]
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in found]


def text_files(*directories):
    found = [
        path
        for directory in directories
        for path in sorted((ROOT / directory).rglob("*"))
        if path.suffix in (".yml", ".yaml", ".j2", ".cfg")
    ]
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in found]


def roles():
    return [pytest.param(path, id=path.name) for path in sorted((ROOT / "roles").glob("*")) if path.is_dir()]


def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def key_of(path):
    """'package/file' of a path below module_utils."""
    return str(path.relative_to(UTILS).with_suffix(""))


def is_adapter(key):
    return key in ADAPTERS or key.startswith(ADAPTER_PACKAGES)


def imports_of(path):
    """The (module, names) pairs that a file imports anywhere in it; relative imports are not used here and fail."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: import by the full name"
            found.append((node.module, tuple(alias.name for alias in node.names)))
    return found


def ours_of(path):
    """The keys of the files of module_utils that a file imports."""
    found = set()
    for module, names in imports_of(path):
        if module == PACKAGE or module.startswith(PACKAGE + "."):
            base = UTILS.joinpath(*module[len(PACKAGE) + 1 :].split(".")) if module != PACKAGE else UTILS
            for candidate in [base] + [base / name for name in names]:
                if candidate.with_suffix(".py").is_file():
                    found.add(key_of(candidate.with_suffix(".py")))
    return found


def carried_by(path):
    """The keys of all files of module_utils that travel with a file."""
    reached, waiting = set(), ours_of(path)
    while waiting:
        key = waiting.pop()
        reached.add(key)
        waiting |= ours_of(UTILS / f"{key}.py") - reached
    return reached


@pytest.mark.parametrize(
    "path", [param for param in python_files("plugins/module_utils") if not is_adapter(key_of(param.values[0]))]
)
def test_pure_functions_have_no_side_effects(path):
    for module, names in imports_of(path):
        if not module.startswith(PACKAGE):
            assert module.partition(".")[0] in PURE or module == "urllib.parse", (
                f"a pure file imports {module}; is it an adapter?"
            )
        assert not (module == "io" and "open" in names)
    for key in ours_of(path):
        assert not is_adapter(key), f"a pure file imports the adapter {key}"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_BUILTINS, f"line {node.lineno}: a pure file calls {node.func.id}()"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) != ("io", "open"), f"line {node.lineno}: a pure file opens a file"


@pytest.mark.parametrize("key", sorted(ADAPTERS))
def test_every_adapter_named_here_exists(key):
    assert (UTILS / f"{key}.py").is_file()


def test_module_utils_import_without_any_library():
    """Import every file under an interpreter that sees the standard library alone."""
    names = [f"{PACKAGE}.{key_of(param.values[0]).replace('/', '.')}" for param in python_files("plugins/module_utils")]
    program = (
        "import importlib, runpy, sys, traceback\n"
        "runpy.run_path(sys.argv[1])\n"
        "failed = 0\n"
        "for name in sys.argv[2:]:\n"
        "    try:\n"
        "        importlib.import_module(name[:-9] if name.endswith('.__init__') else name)\n"
        "    except Exception:\n"
        "        failed = 1\n"
        "        traceback.print_exc()\n"
        "sys.exit(failed)\n"
    )
    names = [name for name in names if not name.endswith((".__main__", "._core.shell"))]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(ROOT / "tests" / "conftest.py"), *names],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path", [param for param in python_files("plugins/modules") if READERS.match(param.values[0].stem)]
)
def test_modules_that_only_read_carry_nothing_that_decides(path):
    deciding = sorted(key for key in carried_by(path) if DECIDING.match(key))
    assert not deciding, f"{path.stem} only reads, yet these travel with it to every host: {deciding}"


@pytest.mark.parametrize(
    "path", [param for param in python_files("plugins") if "_release" not in param.values[0].parts]
)
def test_no_release_number_decides_outside_the_release_table(path):
    for node in ast.walk(tree_of(path)):
        conditions = (
            [node.test]
            if isinstance(node, (ast.If, ast.IfExp, ast.While))
            else [node]
            if isinstance(node, ast.Compare)
            else []
        )
        for inner in (inner for condition in conditions for inner in ast.walk(condition)):
            text = isinstance(inner, ast.Constant) and isinstance(inner.value, str) and RELEASE.match(inner.value)
            numbers = (
                [element.value for element in inner.elts if isinstance(element, ast.Constant)]
                if isinstance(inner, ast.Tuple)
                else []
            )
            pair = len(numbers) in (2, 3) and numbers[0] == 2 and isinstance(numbers[1], int) and numbers[1] > 3
            assert not text and not pair, f"line {inner.lineno}: a release number decides; ask the release table"


@pytest.mark.parametrize("path", text_files("roles", "playbooks"))
def test_no_release_number_decides_in_roles_and_playbooks(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        assert not re.search(r"(version\(|[<>=]=)\s*\\?['\"]2\.\d", line), (
            f"line {number}: a release number decides; ask the release table"
        )


@pytest.mark.parametrize("path", python_files("plugins"))
def test_plugins_read_nothing_of_the_tests(path):
    tree = tree_of(path)
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts |= {
        id(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in DOCUMENTATION
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts:
            assert not NOT_OURS_TO_READ.search(node.value), f"line {node.lineno}: {node.value!r}"


@pytest.mark.parametrize("path", text_files("roles", "playbooks"))
def test_roles_and_playbooks_read_nothing_of_the_tests(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        assert not NOT_OURS_TO_READ.search(line.partition("#")[0]), f"line {number}: {line}"


def lines_of_code(path):
    """How many lines hold code: no comment, docstring, documentation or argument spec (a mapping of constants, or what FleetModule is given)."""
    lines, beside = set(), set()
    blank = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type not in blank:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree_of(path)):
        specification = []
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            specification = [node]
        elif isinstance(node, ast.Assign):
            name = ast.unparse(node.targets[0])
            constant = isinstance(node.value, ast.Dict) and (name.isupper() or name in ("argument_spec", "target"))
            specification = [node] if constant or name in DOCUMENTATION else []
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "shell.FleetModule":
            specification = [*node.args, *(keyword.value for keyword in node.keywords)]
        for part in specification:
            beside.update(range(part.lineno, part.end_lineno + 1))
    return len(lines - beside)


@pytest.mark.parametrize(
    "path",
    [
        param
        for param in python_files("plugins")
        if param.values[0].parent.name in ("modules", "action", "filter", "callback")
    ],
)
def test_shells_are_short(path):
    long = lines_of_code(path) > MOST_LINES_OF_A_SHELL
    listed = str(path.relative_to(ROOT / "plugins")) in LONG_SHELLS
    assert not long or listed, "move what it decides to a package of module_utils"
    assert long or not listed, "take it from LONG_SHELLS"


def test_action_group_lists_the_modules():
    yaml = pytest.importorskip("yaml")
    listed = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]["fleet"]
    present = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
    assert listed == sorted(present)


@pytest.mark.parametrize("role", roles())
def test_role_argument_specs_equal_its_defaults(role):
    yaml = pytest.importorskip("yaml")
    specifications = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))[
        "argument_specs"
    ]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8")) or {}
    options = {name for entry in specifications.values() for name in entry.get("options") or {}}
    required = {
        name
        for entry in specifications.values()
        for name, option in (entry.get("options") or {}).items()
        if option.get("required")
    }
    assert options - required == set(defaults)
    assert all(name.startswith(f"{role.name}_") for name in options)


@pytest.mark.parametrize("role", [param for param in roles() if param.id != "tfs_variables"])
def test_role_begins_by_refusing_unknown_variables(role):
    yaml = pytest.importorskip("yaml")
    first = yaml.safe_load((role / "meta" / "main.yml").read_text(encoding="utf-8"))["dependencies"][0]
    assert first == {"role": "tfserving.fleet.tfs_variables", "vars": {"tfs_variables_role": role.name}}

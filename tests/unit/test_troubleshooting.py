# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/troubleshooting/ against the code: every error that has words of its own has an entry with an example, and every entry has its error.

A heading is the message with … for each value. Quotes, backslashes, case and blanks around … do not count.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "troubleshooting"
# Page -> the folders of plugins/ whose errors it explains; those of module_utils by the package's name.
TOPICS = {
    "planning": ("_plan", "_release", "_serving"),
    "detection": ("_capability",),
    "batching": ("_batching",),
    "images": ("_image",),
    "engine": ("_engine",),
    "measuring": ("_load", "_tuning"),
    "report": ("_report",),
    "protocol": ("_protocol",),
    "models": ("_model",),
    "deployment": ("_deploy",),
    "embedded-server": ("_embedded",),
    "variables-and-files": ("_core", "action", "modules", "filter", "callback", "plugin_utils"),
}
# Packages whose errors are not explained yet.
PENDING = {
    "_tuning",
    "_deploy",
    "_embedded",
    "_core",
    "action",
    "modules",
    "filter",
    "callback",
    "plugin_utils",
}

VALUE = "…"
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "plugins").rglob("*.py"))}


def package_of(path):
    parts = path.relative_to(ROOT / "plugins").parts
    return parts[1] if parts[0] == "module_utils" else parts[0]


def name_of(node):
    return getattr(node, "id", None) or getattr(node, "attr", None)


def error_classes():
    """FleetError and every class that is one."""
    bases = {
        node.name: {name_of(base) for base in node.bases}
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"FleetError"}
    while more := {name for name, of in bases.items() if of & found} - found:
        found |= more
    return found


def calls(tree, classes):
    """(the first argument of a call, the function around it) for each error that is made."""

    def below(node, around):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            around = node
        if isinstance(node, ast.Call) and name_of(node.func) in classes and node.args:
            yield node.args[0], around
        for child in ast.iter_child_nodes(node):
            yield from below(child, around)

    return below(tree, None)


def bound_once(name, *scopes):
    """The value of a name in the innermost scope that binds it, or None where it has several."""
    for scope in scopes:
        values = [
            node.value if any(isinstance(target, ast.Name) for target in targets) else None
            for node in (ast.walk(scope) if isinstance(scope, ast.FunctionDef) else scope.body if scope else ())
            for targets in ([*getattr(node, "targets", ()), getattr(node, "target", None)],)
            if any(isinstance(part, ast.Name) and part.id == name for one in targets if one for part in ast.walk(one))
        ]
        if values:
            return values[0] if len(values) == 1 else None
    return None


def texts(node, *scopes):
    """What an expression can say: a list of texts with … for each value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(part.value if isinstance(part, ast.Constant) else VALUE for part in node.values)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [
            VALUE if len(texts(side, *scopes)) > 1 else texts(side, *scopes)[0] for side in (node.left, node.right)
        ]
        return ["".join(sides)]
    if isinstance(node, ast.IfExp):
        return [*texts(node.body, *scopes), *texts(node.orelse, *scopes)]
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in texts(value, *scopes)]
    if isinstance(node, ast.Name):
        value = bound_once(node.id, *scopes)
        return texts(value, *scopes) if value is not None else [VALUE]
    return [VALUE]


def plain(text):
    """A text for comparison."""
    text = re.sub(r"[\\'\"`*\u201c\u201d\u2018\u2019]", "", text).casefold().strip().rstrip(".")
    return re.sub(r"[\s…]*…[\s…]*", VALUE, re.sub(r"\s+", " ", text))


def messages(package):
    """{message as plain() has it: where it is made} of a package."""
    classes = error_classes()
    return {
        plain(text): f"{path.relative_to(ROOT)}:{argument.lineno}: {text}"
        for path, tree in TREES.items()
        if package_of(path) == package
        for argument, around in calls(tree, classes)
        for text in texts(argument, around, tree)
        if re.search(r"[^\W\d_]{2}", text)
    }


def entries(topic):
    """[(headings, text)] of a page; headings that stand directly under each other share their text."""
    path = PAGES / f"{topic}.md"
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        if line.startswith("### "):
            if not found or found[-1][1].strip():
                found.append(([], ""))
            found[-1][0].append(line[4:])
        elif found and not line.startswith("#"):
            found[-1] = (found[-1][0], f"{found[-1][1]} {line}")
    return found


def headings(topic):
    return [heading for named, _text in entries(topic) for heading in named]


@pytest.mark.parametrize(
    ("topic", "package"),
    [(topic, package) for topic, packages in TOPICS.items() for package in packages if package not in PENDING],
)
def test_every_error_has_its_entry(topic, package):
    explained = {plain(heading) for heading in headings(topic)}
    assert [place for message, place in messages(package).items() if message not in explained] == []


@pytest.mark.parametrize("topic", TOPICS)
def test_every_entry_has_its_error_and_an_example_of_it(topic):
    known = {message for package in TOPICS[topic] for message in messages(package)}
    assert [heading for heading in headings(topic) if plain(heading) not in known] == []
    assert len({plain(heading) for heading in headings(topic)}) == len(headings(topic)), "a heading twice"
    for named, text in entries(topic):
        examples = [plain(example) for example in re.findall(r"Example: `([^`]+)`", text)]
        patterns = [".*".join(map(re.escape, plain(heading).split(VALUE))) for heading in named]
        assert any(re.search(pattern, example) for pattern in patterns for example in examples), named


def test_every_package_has_its_page_and_the_index_names_them_all():
    assert {package_of(path) for path in TREES if path.name != "__init__.py"} - {"doc_fragments"} == {
        package for packages in TOPICS.values() for package in packages
    }
    index = ROOT / "docs" / "troubleshooting.md"
    named = re.findall(r"\]\(troubleshooting/([\w-]+)\.md\)", index.read_text(encoding="utf-8"))
    assert named == [topic for topic, packages in TOPICS.items() if set(packages) - PENDING]
    assert {path.stem for path in PAGES.glob("*.md")} == set(named)

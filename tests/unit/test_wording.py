# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words that the collection no longer uses in text, because readers who do not know the project have to read them twice.

Text is: Markdown outside of code, comments, Python strings of several words (docstrings, messages, documentation), and YAML without keys and Jinja
expressions. Names in code may contain the words.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("plugins", "roles", "playbooks", "docs", "changelogs/fragments", "inventories", "extensions")
KINDS = (".py", ".md", ".yml", ".yaml", ".j2")

# A regular expression for whole words, text that contains it, and what to write instead.
RETIRED = (
    ("make it so", "Make it so", "start or update …"),
    ("serve nothing that", "Serve nothing that the plan refuses", "stop if …"),
    ("rooms?|house", "a room of the house", "package, architecture, memory"),
    ("floor plan", "the floor plan", "layout"),
    ("thinking", "thinking and acting", "pure functions"),
    ("hands", "the hands", "adapters, passes"),
    ("careless", "careless requests", "malformed"),
    (r"gate \S* ?(is|are|was|were) (closed|open)", "the gate is closed", "check … failed"),
    ("proven", "proven before it serves", "verified"),
    ("last words", "its last words", "failure diagnosis"),
    ("mend(s|ed|ing)?", "is mended", "fix"),
    ("settl(e|es|ed|ing)", "settled", "recover, decide"),
    ("beside", "beside it", "alongside, next to"),
    ("told|tells? of", "what is told", "reported, given, output"),
    ("(is|are|was|were|be|been|being) (not )?asked|asked for", "what is asked for", "requested"),
    ("(as|is|are|was|it) said|said (of|that|to)", "as said", "the message says, is reported"),
    ("wish(ed|es)?", "what is wished", "desired, request"),
    ("surprises?|doubts?|mind", "surprises", "warnings"),
    ("purity", "purity of a model", "statefulness"),
    ("legality", "legality of batching", "batching compatibility"),
    ("(?<!there )(is|are|be) (?-i:none)", "releases that are none", "is not a valid …, does not exist"),
    ("(that|which) (is|are) no(?! longer)", "a file that is no archive", "that is not a …"),
    ("nobody|anybody|somebody", "nobody", "the user, another account: name the actor"),
    ("what moves", "what moves", "volatile state"),
    ("runs? green", "it runs green", "passes"),
    ("for want of", "for want of memory", "without, because … is missing"),
    ("one's own", "a server of one's own", "your own"),
    ("(?<=, )too[.:;]", "so does this, too.", "also"),
    ("(that|what) is other|other than with", "what is other than before", "differences"),
    ("brings? (something|nothing)|what brings", "what brings something", "helps, is faster"),
)
# Text in which such a word has another meaning: the value of an option and the name that containers get from it, and memory.
LEGAL = (
    "'proven'",
    r"NAME\.proven",
    "(stopped|absent), proven",
    "(state|step|register): proven",
    "(mak(e|es|ing)|no) room",
)
WORDS = re.compile(
    rf"(?:{'|'.join(LEGAL)})|(?<![\w.-])(?P<word>{'|'.join(pattern for pattern, _text, _write in RETIRED)})(?!\w)",
    re.IGNORECASE,
)


def retired_words(content: str, suffix: str) -> list[tuple[int, str]]:
    """Return (line, retired word) of the text in a file's content."""
    if not any(found["word"] for found in WORDS.finditer(content)):
        return []
    return [
        (number, found["word"])
        for number, line in (python_text if suffix == ".py" else plain_text)(content, suffix)
        for found in WORDS.finditer(line)
        if found["word"]
    ]


def python_text(content: str, _suffix: str) -> set[tuple[int, str]]:
    """Return (line, text) of the comments and the strings of several words."""
    found = {(number, line.partition("# ")[2]) for number, line in enumerate(content.splitlines(), 1) if "# " in line}
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            found |= {(node.lineno + place, line) for place, line in plain_text(node.value, ".yml", 0)}
    return found


def plain_text(content: str, suffix: str, first: int = 1) -> list[tuple[int, str]]:
    """Return (line, text) without code: Markdown's, or keys, Ansible's markup and Jinja expressions."""
    code = [r"(?ms)^```.*?^```", r"`[^`\n]*`|\]\([^)\n]*\)|<[^>\n]*>"]
    if suffix != ".md":
        code = [
            r"(?s)\{\{.*?\}\}|\{%.*?%\}",
            r"\b[A-Z]\([^()\n]*\)|``[^`\n]*``|`[^`\n]*`",
            r"[\w.-]+:(?=\s|$)(?! [a-z])",
        ]
    for pattern in code:
        content = re.sub(pattern, lambda found: "\n" * found.group().count("\n"), content)
    return list(enumerate(content.splitlines(), first))


def test_no_text_contains_a_retired_word():
    files = [path for place in PLACES for path in (ROOT / place).rglob("*") if path.suffix in KINDS]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word!r}: write {instead(word)}"
        for path in [*ROOT.glob("*.md"), *files]
        for line, word in retired_words(path.read_text(encoding="utf-8"), path.suffix)
    ]
    assert len(files) > 300
    assert not found, "\n".join(sorted(found))


def instead(word: str) -> str:
    """Return what to write instead of a word."""
    return next(write for pattern, _text, write in RETIRED if re.search(pattern, f", {word}", re.IGNORECASE))


@pytest.mark.parametrize("text", [text for _pattern, text, _write in RETIRED])
def test_every_retired_word_is_found(text):
    assert retired_words(f"{text}\n", ".md"), text
    assert retired_words(f"value = 1  # {text}\n", ".py"), text


@pytest.mark.parametrize(
    ("suffix", "content", "line"),
    [
        (".md", "Text\nA careless request.", 2),
        (".py", '"""Refuse a careless request."""', 1),
        (".py", 'careless = 1\nraise ValueError(f"{careless} careless requests")', 2),
        (".py", "careless = 1  # a careless request", 1),
        (".py", 'DOCUMENTATION = """\ndescription:\n  - Sends careless requests.\n"""', 3),
        (".yml", "- name: Make it so\n", 1),
        (".yml", "careless: 1  # a careless request\n", 1),
    ],
)
def test_a_planted_word_is_found(suffix, content, line):
    assert [number for number, _word in retired_words(content, suffix)] == [line]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".md", "Set `careless`.\n```\ncareless: 1\n```\n"),
        (".py", 'careless = {"careless": 1}'),
        (".py", 'DOCUMENTATION = """\ncareless: 1\nalso: C(careless)\n"""'),
        (".yml", "careless: '{{ careless }}'\n"),
        (".yml", "state: proven\n"),
    ],
)
def test_names_in_code_are_not_text(suffix, content):
    assert not retired_words(content, suffix)

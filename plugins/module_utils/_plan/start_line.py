# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start lines as users have them: split as a shell splits them, out of scripts, Docker files, compose files and Kubernetes manifests.

The result is a list of Items: one option, variable, image or word each. What an Item means is for _plan/option_lines.py and _plan/docker_options.py to say.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._plan.start_line_words import (
    COMMANDS,
    COMPOSE,
    COMPOSE_SWITCHES,
    ENGINES,
    LETTERS,
    NOT_STARTING,
    PREPARING,
    SERVERS,
    SHELLS,
    SILENT,
    SWITCHES,
    VALUED,
    WRAPPERS,
)
from ansible_collections.tfserving.fleet.plugins.module_utils._release import table

_CONTINUED = re.compile(r"\\[ \t]*\r?\n")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_IMAGE = re.compile(
    r"(?:[\w.:-]+/)*[\w.-]*(?:tensorflow[\w.-]*/serving|tensorflow-serving|tf-serving|tfserving)[\w.-]*(?::[\w.${}-]+)?(?:@sha256:[0-9a-f]+)?"
)
_PORT = re.compile(r"(?:\d+(?:\.\d+){3}:)?\d{1,5}:\d{1,5}(?:/tcp)?")
_MOUNT = re.compile(r"(?:\.{0,2}/|~|\$)[^:]*:/[^:]*(?::[a-zA-Z,]+)?")
_KEY = re.compile(r"([A-Za-z_][\w.\-/]*):(?:\s+(.*))?", re.DOTALL)
_DOCKERFILE = re.compile(
    r"(CMD|ENTRYPOINT|ENV|ARG|FROM|EXPOSE|USER|WORKDIR|RUN|COPY|ADD|LABEL|VOLUME)\s+(.*)", re.DOTALL
)


@dataclass(frozen=True)
class Item:
    """kind: flag, docker, environment, image, silent (it sets nothing), or word. value: None where there is none. given: the Item alone, as a line.

    spaced: whether a flag's value stood behind a blank.
    """

    kind: str
    name: str
    value: Any
    given: str
    spaced: bool = False


def items(given: Any) -> list[Item]:
    """The Items of what a user pasted: a text of one or many lines, a list of words, or a mapping out of a compose file or a manifest."""
    if isinstance(given, dict):
        return list(_of_mapping(given))
    if isinstance(given, (list, tuple)):
        return (
            [item for part in given for item in items(part)]
            if any(isinstance(part, dict) for part in given)
            else _of_words([str(part) for part in given])
        )
    text = _CONTINUED.sub(" ", str(given))
    return [item for line in text.splitlines() for item in _of_line(line)]


def _of_line(line: Any) -> list[Item]:
    """The Items of one line, out of its clothes."""
    text = line.strip()
    if not text or text.startswith("#"):
        return []
    while re.match(r"[-$>]\s+\S", text):
        text = text[1:].lstrip()
    text = text.rstrip("\\").rstrip()
    found = _DOCKERFILE.fullmatch(text)
    if found:
        return _of_docker_file(*found.groups())
    if text.startswith("["):
        return _of_words(_listed(text))
    found = _KEY.fullmatch(text)
    if found and not text.startswith(("http:", "https:")):
        return list(_of_key(found.group(1), _plain(found.group(2))))
    return [item for command in _commands(text) for item in _of_words(command)]


def _plain(text: str) -> str | None:
    """A YAML value on one line, without its comment; None for none."""
    text = re.sub(r"\s+#.*$", "", text or "").strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text if text not in ("", "|", ">", "|-", ">-", "{}", "[]") else None


def _of_docker_file(instruction: str, rest: str) -> list[Item]:
    if instruction in ("CMD", "ENTRYPOINT"):
        return _of_line(rest)
    if instruction == "FROM":
        return [_image(rest.split()[0])]
    if instruction == "USER":
        return [_docker("user", rest.strip())]
    if instruction == "ENV":
        words = _split(rest)
        return [_environment(*words)] if len(words) == 2 and "=" not in words[0] else _of_words(words)
    return [Item("silent", instruction, None, f"{instruction} {rest}")]


def _commands(text: str) -> list[list[str]]:
    """The commands of a line, each a list of words: pipes, lists and redirections of a shell end them or are left out."""
    commands: list[list[str]] = [[]]
    skipped = False
    for word in _split(text):
        if skipped:
            skipped = False
        elif word.strip(";&|<>") == "" and word:
            if set(word) & set("<>"):
                skipped = not word.endswith(">&-")
                if commands[-1] and commands[-1][-1].isdigit() and len(commands[-1][-1]) == 1:
                    commands[-1].pop()
            else:
                commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def _split(text: str) -> list[str]:
    """The words of a line as a shell makes them; a quote that is not closed is taken for a character."""
    for attempt in (text, text.strip("\"'"), None):
        if attempt is None:
            return text.split()
        lexer = shlex.shlex(attempt, posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            words = list(lexer)
        except ValueError:
            continue
        end = next((number for number, word in enumerate(words) if word.startswith("#")), len(words))
        words = [word.rstrip(",") if word.startswith("-") or "=" in word else word for word in words[:end]]
        if (
            len(words) == 1
            and re.search(r"\s", words[0])
            and re.match(r"-|\w+=", words[0])
            and re.search(r"\s-{1,2}\w", words[0])
        ):
            return _split(words[0])
        return words
    return []


def _of_words(words: Iterable[str]) -> list[Item]:
    """The Items of a command's words."""
    found: list[Item] = []
    words = _apart([word for word in words if word not in ("$@", "$*", "\\", ",")])
    at = 0
    while at < len(words):
        word = words[at]
        name = word.rpartition("/")[2]
        at += 1
        if (
            name in SHELLS
            and at < len(words)
            and words[at].startswith("-")
            and words[at].endswith("c")
            and at + 1 < len(words)
        ):
            return found + items(words[at + 1])
        if name in SHELLS + WRAPPERS or name in SERVERS or word == "--":
            while (
                name in ("nice", "stdbuf", "set", "sudo")
                and at < len(words)
                and words[at].startswith("-")
                and not words[at].startswith("--")
            ):
                at += 2 if words[at] in ("-n", "-u") else 1
            continue
        if name == "taskset" and at + 1 < len(words) and words[at].startswith("-"):
            found.append(_docker("cpuset-cpus", words[at + 1]))
            at += 2
            continue
        if name in PREPARING and at == 1:
            return [Item("silent", name, None, shlex.join(words))]
        if name in ENGINES:
            return found + _of_engine(words[at:], word)
        item, at = _item(words, at - 1)
        found.append(item)
    return found


def _of_engine(words: list[str], engine: str) -> list[Item]:
    """The Items of docker's own words: those of run, up to the image, and the server's behind it. Other commands start nothing."""
    words = _apart(words[1:] if words[:1] == ["container"] else words)
    command = next((number for number, word in enumerate(words) if not word.startswith("-")), len(words))
    if words[command : command + 1] not in (["run"], ["create"]):
        known = words[command : command + 1] and words[command] in NOT_STARTING
        arguments = _of_words(_build_arguments(words)) if words[command : command + 1] == ["build"] else []
        return [*arguments, Item("silent" if known else "word", engine, None, shlex.join([engine, *words]))]
    found, at = (
        [Item("docker", "runtime", "nvidia", "--runtime=nvidia")] if engine.endswith("nvidia-docker") else [],
        command + 1,
    )
    while at < len(words):
        if not words[at].startswith("-"):
            return [*found, _image(words[at]), *_of_words(words[at + 1 :])]
        item, at = _item(words, at)
        found.append(item)
    return found


def _build_arguments(words: list[str]) -> list[str]:
    found = [
        words[at + 1] if word == "--build-arg" else word.partition("=")[2]
        for at, word in enumerate(words)
        if word == "--build-arg" and at + 1 < len(words) or word.startswith("--build-arg=")
    ]
    return [f"--build-arg={one}" for one in found]


def _item(words: list[str], at: int) -> tuple[Item, int]:
    """(the Item at a place, the place behind it)."""
    word, following = words[at], words[at + 1] if at + 1 < len(words) else None
    if word.startswith("--") and len(word) > 2:
        name, equals, value = word[2:].partition("=")
        if name in SWITCHES:
            return _docker(name, value if equals else None), at + 1
        if name in VALUED:
            return (_docker(name, value), at + 1) if equals else (_docker(name, following), at + 2)
        if not equals and following is not None and not following.startswith("-") and _looks_like_a_value(following):
            return Item("flag", name, following, f"{word} {shlex.quote(following)}", True), at + 2
        return Item(
            "flag",
            name,
            value if equals else None,
            word if word == shlex.quote(word) else f"--{name}{equals}{shlex.quote(value)}",
        ), at + 1
    if word.startswith("-") and word[1:2] in LETTERS:
        name, value = LETTERS[word[1]], word[2:].lstrip("=")
        if name in SWITCHES:
            return _docker(name, None), at + 1
        return (_docker(name, value), at + 1) if value else (_docker(name, following), at + 2)
    name, equals, value = word.partition("=")
    if equals and _VARIABLE.fullmatch(name):
        return _environment(name, value), at + 1
    if _PORT.fullmatch(word):
        return _docker("publish", word), at + 1
    if _IMAGE.fullmatch(word):
        return _image(word), at + 1
    if _MOUNT.fullmatch(word):
        return _docker("volume", word), at + 1
    return Item("word", word, None, shlex.quote(word)), at + 1


def _apart(words: Iterable[str]) -> list[str]:
    """The words with switches that share a dash apart: -itd is -i -t -d."""
    found = []
    for word in words:
        while re.match(r"-[A-Za-z]{2}", word) and LETTERS.get(word[1]) in SWITCHES and word[2] in LETTERS:
            found.append(word[:2])
            word = f"-{word[2:]}"
        found.append(word)
    return found


def _looks_like_a_value(word: str) -> bool:
    return not _IMAGE.fullmatch(word) and word.rpartition("/")[2] not in SERVERS + SHELLS


def _listed(text: str) -> list[str]:
    """The words of a list in brackets, as JSON or as YAML has it."""
    text = text.rstrip(", ")
    try:
        return [str(word) for word in json.loads(text)]
    except (ValueError, TypeError):
        return _split(re.sub(r",(?=\s|$)", " ", text.strip("[]")))


def _docker(name: str, value: Any) -> Item:
    spelt = None if value is None else str(value)
    variable, equals, setting = (spelt or "").partition("=")
    if name == "env" and equals and _VARIABLE.fullmatch(variable):
        return _environment(variable, setting)
    return Item("docker", name, spelt, f"--{name}" if spelt is None else f"--{name}={shlex.quote(spelt)}")


def _environment(name: Any, value: Any) -> Item:
    return Item("environment", name, str(value), f"{name}={shlex.quote(str(value))}")


def _image(name: str) -> Item:
    return Item("image", str(name), None, f"image: {name}")


def _of_key(key: str, value: Any) -> list[Item]:
    """The Items of one line, key: value, of a compose file, a manifest, or a list of flags in YAML."""
    if key in COMMANDS:
        return _of_line(value) if value else []
    if key == "image":
        return [_image(value)] if value else []
    if key in ("max-size", "max-file"):
        return [_docker("log-opt", f"{key}={value}")]
    if key in COMPOSE_SWITCHES:
        return [_docker(COMPOSE_SWITCHES[key], None)] if str(value).lower() in ("true", "yes", "on") else []
    if key in COMPOSE:
        return [_docker(COMPOSE[key], value)] if value is not None else []
    if key in SILENT or value is None:
        return []
    if key in table.FLAGS:
        return [Item("flag", key, _spelt(value), f"--{key}={shlex.quote(_spelt(value))}")]
    if _VARIABLE.fullmatch(key) and key.upper() == key:
        return [_environment(key, _spelt(value))]
    return [Item("word", key, None, f"{key}: {value}")]


def _spelt(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _of_mapping(given: Any) -> Iterator[Item]:
    for service in _services(given):
        yield from _of_service(service)


def _services(given: Any) -> list[Any]:
    """The services or containers of a document that serve; all of them where none looks like it."""
    listed = given.get("services")
    found = (
        [one for one in listed.values() if isinstance(one, dict)]
        if isinstance(listed, dict)
        else list(_containers(given)) or [given]
    )
    serving = [
        one
        for one in found
        if re.search(r"serving|tensorflow_model_server", str([one.get(key) for key in ("image", *COMMANDS)]))
    ]
    return serving or found


def _containers(given: Any) -> Iterator[Any]:
    inner = given.values() if isinstance(given, dict) else given if isinstance(given, list) else ()
    listed = given.get("containers") if isinstance(given, dict) else None
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            yield one
    for part in inner:
        if not isinstance(given, dict) or part is not given.get("containers"):
            yield from _containers(part)


def _of_service(service: Mapping[str, Any]) -> Iterator[Item]:
    for key, value in service.items():
        if key in COMMANDS or value is None:
            continue
        if key in ("environment", "env"):
            yield from _variables(value)
        elif key == "ports":
            yield from (_docker("publish", port) for port in map(_port, _list(value)) if port)
        elif key in ("volumes", "volumeMounts"):
            yield from (_docker("volume", _mount(one)) for one in _list(value))
        elif key == "deploy" and isinstance(value, dict):
            yield from _of_service({"resources": value.get("resources")})
        elif key == "resources" and isinstance(value, dict):
            limits = value.get("limits")
            yield from _of_service(limits if isinstance(limits, dict) else {})
            reserved = value.get("reservations")
            if isinstance(reserved, dict) and reserved.get("devices"):
                yield _docker("gpus", "all")
        elif key == "securityContext" and isinstance(value, dict):
            yield from _of_service(
                {name: setting for name, setting in value.items() if name in COMPOSE or name in COMPOSE_SWITCHES}
            )
        elif key == "logging" and isinstance(value, dict):
            yield from [_docker("log-driver", value["driver"])] if value.get("driver") else []
            yield from (
                _docker("log-opt", f"{name}={setting}") for name, setting in (value.get("options") or {}).items()
            )
        elif isinstance(value, dict) and key in COMPOSE:
            yield from (_docker(COMPOSE[key], f"{name}={setting}") for name, setting in value.items())
        elif isinstance(value, list) and key in COMPOSE:
            yield from (_docker(COMPOSE[key], one) for one in value)
        elif not isinstance(value, (dict, list)):
            yield from _of_key(key, _spelt(value))
        elif key not in SILENT:
            yield Item("word", key, None, f"{key}: {json.dumps(value, sort_keys=True, default=str)}")
    words = [word for key in ("entrypoint", "command", "args") for word in _words_of(service.get(key))]
    yield from _of_words(words)


def _words_of(command: Any) -> list[str]:
    return (
        [_spelt(word) for word in command]
        if isinstance(command, list)
        else []
        if command is None
        else [word for line in _CONTINUED.sub(" ", str(command)).splitlines() for word in _split(line)]
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _variables(given: Any) -> Iterator[Item]:
    if isinstance(given, dict):
        given = [{"name": name, "value": value} for name, value in given.items()]
    for one in _list(given):
        if not isinstance(one, dict):
            name, equals, value = str(one).partition("=")
            yield _environment(name, value) if equals else _docker("env", name)
        elif one.get("value") is not None:
            yield _environment(one.get("name"), _spelt(one["value"]))
        else:
            yield _docker("env", one.get("name"))


def _port(one: Any) -> str | None:
    """A published port as docker run spells it; None for a port that a container only has."""
    if not isinstance(one, dict):
        return str(one)
    inside, outside = one.get("target") or one.get("containerPort"), one.get("published") or one.get("hostPort")
    return (
        ":".join(str(part) for part in (one.get("host_ip") or one.get("hostIP"), outside, inside) if part)
        if outside
        else None
    )


def _mount(one: Any) -> str:
    if not isinstance(one, dict):
        return str(one)
    return f"{one.get('source') or one.get('name')}:{one.get('target') or one.get('mountPath')}"

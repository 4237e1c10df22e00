# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Split shell commands that start a server into words, and determine what each word is.

The result is a list of Items: one option, variable, image or word each.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils._release import table

# Options of docker run without a value, and the letters of those with one. Source: `docker run --help` of Docker 28.2;
# replace is Podman's.
SWITCHES = frozenset(
    """
    detach disable-content-trust help init interactive no-healthcheck oom-kill-disable privileged publish-all quiet read-only replace rm sig-proxy tty
    use-api-socket""".split()
)
LETTERS = {
    "P": "publish-all",
    "a": "attach",
    "c": "cpu-shares",
    "d": "detach",
    "e": "env",
    "h": "hostname",
    "i": "interactive",
    "l": "label",
    "m": "memory",
    "p": "publish",
    "q": "quiet",
    "t": "tty",
    "u": "user",
    "v": "volume",
    "w": "workdir",
}
VALUED = frozenset(
    """
    add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile cpu-count cpu-percent cpu-period cpu-quota
    cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems detach-keys device device-cgroup-rule device-read-bps device-read-iops
    device-write-bps device-write-iops dns dns-opt dns-option dns-search domainname entrypoint env env-file expose gpus group-add health-cmd
    health-interval health-retries health-start-interval health-start-period health-timeout hostname io-maxbandwidth io-maxiops ip ip6 ipc isolation
    kernel-memory label label-file link link-local-ip log-driver log-opt mac-address memory memory-reservation memory-swap memory-swappiness mount name
    net net-alias network network-alias oom-score-adj pid pids-limit platform publish pull restart runtime security-opt shm-size stop-signal
    stop-timeout storage-opt sysctl tmpfs ulimit user userns uts volume volume-driver volumes-from workdir""".split()
)
SERVERS = ("tensorflow_model_server", "tf_serving_entrypoint.sh")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_CONTINUED = re.compile(r"(?:\\|(?<=\s)[`^])[ \t]*\r?\n")
_COMMENT_LINE = re.compile(r"^[ \t]*#.*\n?", re.MULTILINE)
_HERE_DOCUMENT = re.compile(r"(<<-?\s*(['\"]?)(\w+)\2[^\n]*)\n.*?^\s*\3[ \t]*$", re.DOTALL | re.MULTILINE)
# What word processors substitute for quotes, dashes and blanks.
_TYPESET = str.maketrans(
    {
        "\u201c": '"',
        "\u201d": '"',
        "\u201e": '"',
        "\u2018": "'",
        "\u2019": "'",
        "\u00a0": " ",
        "\u200b": None,
        "\ufeff": None,
    }
)
_DASH = re.compile(r"(?<!\S)[\u2010-\u2015]+(?=(\w?))(?=\w(\w?))")
# An unquoted substitution is one word, whatever it contains.
_SUBSTITUTION = re.compile(r"""\\.|'[^']*'|"(?:\\.|[^"\\])*"|(\$\([^()]*\)|`[^`]*`)""", re.DOTALL)
_APART = " \t;&|<>\"'"
_HIDDEN = {ord(sign): chr(0xE000 + number) for number, sign in enumerate(_APART)}
_SHOWN = {0xE000 + number: sign for number, sign in enumerate(_APART)}
_IMAGE = re.compile(
    r"(?:[\w.:-]+/)*[\w.-]*(?:tensorflow[\w.-]*/serving|tensorflow-serving|tf-serving|tfserving)[\w.-]*(?::[\w.${}-]+)?(?:@sha256:[0-9a-f]+)?"
)
_PORT = re.compile(r"(?:\d+(?:\.\d+){3}:)?\d{1,5}:\d{1,5}(?:/tcp)?")
_MOUNT = re.compile(r"(?:\.{0,2}/|~|\$)[^:]*:/[^:]*(?::[a-zA-Z,]+)?")
_FUNCTION = re.compile(r"\w+\(\)")
_SHELLS = ("sh", "bash", "dash", "ash", "zsh")
# Programs that start another one: their options that have a value, and how many of their words precede the command.
_WRAPPERS = {
    "sudo": ("-u -g -h -p -C -D -r -t -T", 0),
    "env": ("-u -C", 0),
    "exec": ("-a", 0),
    "nice": ("-n", 0),
    "ionice": ("-c -n", 0),
    "stdbuf": ("-i -o -e", 0),
    "time": ("-f -o", 0),
    "timeout": ("-k -s", 1),
    "chrt": ("", 1),
    "gosu": ("", 1),
    "su-exec": ("", 1),
    "taskset": ("", 1),
    "numactl": ("-N -m -C -i -p", 0),
    **dict.fromkeys("nohup setsid command export tini dumb-init catchsegv".split(), ("", 0)),
}
# docker run's equivalents of numactl's options for CPUs and memory nodes.
_NUMACTL = {
    **dict.fromkeys(("-C", "--physcpubind"), "cpuset-cpus"),
    **dict.fromkeys(
        ("-N", "--cpunodebind", "-m", "--membind", "-i", "--interleave", "-p", "--preferred"), "cpuset-mems"
    ),
}
_ENGINES = ("docker", "podman", "nvidia-docker", "nerdctl")
# Commands that do not start a server, and are skipped.
_PREPARING = frozenset(
    """
    cd echo printf mkdir sleep wait source . pwd true false exit return chmod chown cat trap set unset shopt read rm cp mv ln kill pkill test [ [[ for case
    tee logger grep sed awk ts head tail break continue local apt-get pip curl wget""".split()
)
_CONTROL = frozenset("if then elif else fi while until do done esac function { } ! ( )".split())
# Programs whose words mean nothing to docker run: the command that they start is not analyzed.
_OTHER_STARTERS = ("docker-compose", "kubectl", "helm", "singularity", "apptainer", "enroot", "srun")
_NOT_STARTING = frozenset(
    "pull stop rm kill logs build ps images exec login cp tag push network volume inspect start restart wait".split()
)


@dataclass(frozen=True)
class Item:
    """One word.

    kind: flag, docker, environment, image, silent (it sets nothing), or word. value: None without one. given: the Item
    alone, as a line. spelling: how a flag differs from what the server reads: blank (its value follows a blank), dash
    (a single dash), no (in front of its name).
    """

    kind: str
    name: str
    value: Any
    given: str
    spelling: str = ""


def joined(text: str) -> Any:
    """Return the lines of a script with continued lines joined, without comment lines and the documents that a script writes."""
    text = _DASH.sub(lambda found: "--" if found.group(2) else "-", text.translate(_TYPESET))
    return _CONTINUED.sub(" ", _COMMENT_LINE.sub("", _HERE_DOCUMENT.sub(r"\1", text))).splitlines()


def of_line(text: str) -> list[Any]:
    """Return the Items of a line of a shell."""
    return [item for command in _commands(text) for item in of_words(command)]


def _commands(text: str) -> list[list[str]]:
    """Return the commands of a line, each a list of words. Pipes, lists and redirections of a shell end a command or are left out."""
    commands: list[list[str]] = [[]]
    skipped = False
    for word in split(text):
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


def split(text: str) -> list[str]:
    """Return the words of a line as a shell splits it. An unclosed quote is an ordinary character."""
    text = _SUBSTITUTION.sub(lambda found: found.group().translate(_HIDDEN) if found.group(1) else found.group(), text)
    return [word.translate(_SHOWN) for word in _split(text)]


def _split(text: str) -> list[str]:
    for attempt in (text, text.strip("\"'")):
        lexer = shlex.shlex(attempt, posix=True, punctuation_chars=";&|<>")
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            words = list(lexer)
        except ValueError:
            continue
        end = next((number for number, word in enumerate(words) if word.startswith("#")), len(words))
        words = [word.rstrip(",") if word.startswith("-") or "=" in word else word for word in words[:end]]
        if len(words) == 1 and re.match(r"-|\w+=", words[0]) and re.search(r"\s-{1,2}\w", words[0]):
            return _split(words[0])
        return words
    return text.split()


def of_words(words: list[str]) -> list[Item]:
    """Return the Items of a command's words."""
    words = [word for word in words if word not in ("$@", "$*", "\\", ",")]
    while words and (words[0] in _CONTROL or _FUNCTION.fullmatch(words[0])):
        words = words[1:]
    if words and words[0].startswith("("):
        words = [words[0].lstrip("("), *words[1:-1], words[-1].rstrip(")")] if len(words) > 1 else []
    if words and _program(words[0]) in _PREPARING:
        return [Item("silent", words[0], None, shlex.join(words))]
    if words and words[0] == "ulimit":
        return [docker("ulimit", " ".join(words[1:]))]
    found: list[Item] = []
    words, at = _apart(words), 0
    while at < len(words):
        word = words[at]
        name = _program(word)
        at += 1
        if name in _OTHER_STARTERS:
            return [*found, Item("word", name, None, shlex.join(words[at - 1 :]))]
        if name in _SHELLS and words[at : at + 1] and re.fullmatch(r"-\w*c", words[at]) and at + 1 < len(words):
            return found + [item for line in joined(words[at + 1]) for item in of_line(line)]
        if name in _WRAPPERS:
            own, at = _of_wrapper(name, words, at)
            found += own
        elif name in _ENGINES:
            return found + _of_engine(words[at:], word)
        elif name not in _SHELLS + SERVERS and word != "--":
            item, at = _item(words, at - 1)
            found.append(item)
    return found


def _program(word: str) -> str:
    """Return the program that a word may name; empty for an option and for a variable, whose values may have the same ending."""
    return "" if re.match(r"-|\w+=", word) else word.rpartition("/")[2]


def _of_wrapper(name: str, words: list[str], at: int) -> Any:
    """Return (the Items of a wrapper's own words, the index of the command that it starts)."""
    valued, positional = _WRAPPERS[name]
    found, options = [], []
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        option, equals, value = words[at].partition("=")
        at += 1
        options.append(option)
        if not equals and option in valued.split() and at < len(words):
            value, at = words[at], at + 1
        if name == "numactl" and option in _NUMACTL and value:
            found.append(Item("docker", _NUMACTL[option], value, f"numactl {option} {value}"))
    own = words[at : at + positional]
    if own and name in ("gosu", "su-exec"):
        found.append(docker("user", own[0]))
    if own and name == "taskset":
        listed = any(re.fullmatch(r"-\w*c|--cpu-list", option) for option in options)
        found.append(docker("cpuset-cpus", own[0] if listed else _of_mask(own[0])))
    return found, at + len(own)


def _of_mask(text: str) -> Any:
    """Return the list of CPUs of a hexadecimal mask, or the text unchanged if it is not one."""
    try:
        mask = int(text, 16)
    except ValueError:
        return text
    return ",".join(str(number) for number in range(mask.bit_length()) if mask >> number & 1)


def _of_engine(words: list[str], engine: str) -> list[Item]:
    """Return the Items of docker's own words: those of run up to the image, and the server's after it. Other commands start nothing."""
    words = _apart(words[1:] if words[:1] == ["container"] else words)
    command = next((number for number, word in enumerate(words) if not word.startswith("-")), len(words))
    if words[command : command + 1] not in (["run"], ["create"]):
        known = words[command : command + 1] and words[command] in _NOT_STARTING
        arguments = of_words(_build_arguments(words)) if words[command : command + 1] == ["build"] else []
        return [*arguments, Item("silent" if known else "word", engine, None, shlex.join([engine, *words]))]
    found, at = (
        [Item("docker", "runtime", "nvidia", "--runtime=nvidia")] if engine.endswith("nvidia-docker") else [],
        command + 1,
    )
    while at < len(words):
        if not words[at].startswith("-"):
            return [*found, image(words[at]), *of_words(words[at + 1 :])]
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
    """Return (the Item at an index, the index after it)."""
    word, following = words[at], words[at + 1] if at + 1 < len(words) else None
    option = re.fullmatch(r"--?(?P<name>[^=]+)(?P<equals>=?)(?P<value>.*)", word, re.DOTALL)
    name, equals, value = option.groups() if option else (word, "", "")
    if option and (word.startswith("--") or _server_flag(name)):
        if name in SWITCHES:
            return docker(name, value if equals else None), at + 1
        if name in VALUED:
            return (docker(name, value), at + 1) if equals else (docker(name, following), at + 2)
        spelling = "" if word.startswith("--") else "dash"
        positive = name[2:] if name.startswith("no") and not _server_flag(name) and _server_flag(name[2:]) else None
        if positive and not equals and table.FLAGS.get(positive, ("",))[0] == "bool":
            return Item("flag", positive, "false", word, "no"), at + 1
        if not equals and following is not None and not following.startswith("-") and _looks_like_a_value(following):
            return Item("flag", name, following, f"{word} {shlex.quote(following)}", "blank"), at + 2
        quoted = word if word == shlex.quote(word) else f"--{name}{equals}{shlex.quote(value)}"
        return Item("flag", name, value if equals else None, quoted, spelling), at + 1
    if word.startswith("-") and word[1:2] in LETTERS:
        name, value = LETTERS[word[1]], word[2:].lstrip("=")
        if name in SWITCHES:
            return docker(name, None), at + 1
        return (docker(name, value), at + 1) if value else (docker(name, following), at + 2)
    name, equals, value = word.partition("=")
    if equals and VARIABLE.fullmatch(name):
        return environment(name, value), at + 1
    if _PORT.fullmatch(word):
        return docker("publish", word), at + 1
    if _IMAGE.fullmatch(word):
        return image(word), at + 1
    if _MOUNT.fullmatch(word):
        return docker("volume", word), at + 1
    return Item("word", word, None, shlex.quote(word)), at + 1


def _server_flag(name: str) -> Any:
    return name in table.FLAGS or name in table.FORMER_FLAGS


def _apart(words: list[str]) -> list[str]:
    """Return the words with combined switches separated: -itd is -i -t -d."""
    found = []
    for word in words:
        while re.match(r"-[A-Za-z]{2}", word) and LETTERS.get(word[1]) in SWITCHES and word[2] in LETTERS:
            found.append(word[:2])
            word = f"-{word[2:]}"
        found.append(word)
    return found


def takes_a_value(word: str) -> bool:
    """Return whether this word is only an option, with its value in the next word."""
    name = (
        LETTERS.get(word[1:], "")
        if len(word) == 2 and word.startswith("-")
        else word[2:]
        if word.startswith("--")
        else ""
    )
    return name in VALUED or name in table.FLAGS and table.FLAGS[name][0] != "bool"


def begins_a_command(word: str) -> bool:
    """Return whether a word is a program, so that the following words belong to the same command."""
    return word.rpartition("/")[2] in (*_ENGINES, *_SHELLS, *SERVERS, *_WRAPPERS, *_OTHER_STARTERS)


def _looks_like_a_value(word: str) -> bool:
    return not _IMAGE.fullmatch(word) and word.rpartition("/")[2] not in SERVERS + _SHELLS


def docker(name: str, value: Any) -> Item:
    """Return the Item of an option of docker run. A variable with its value is an Item of the environment."""
    spelt = None if value is None else str(value)
    variable, equals, setting = (spelt or "").partition("=")
    if name == "env" and equals and VARIABLE.fullmatch(variable):
        return environment(variable, setting)
    return Item("docker", name, spelt, f"--{name}" if spelt is None else f"--{name}={shlex.quote(spelt)}")


def environment(name: Any, value: Any) -> Item:
    """Return the Item of a variable."""
    return Item("environment", name, str(value), f"{name}={shlex.quote(str(value))}")


def image(name: str) -> Item:
    """Return the Item of an image."""
    return Item("image", str(name), None, f"image: {name}")

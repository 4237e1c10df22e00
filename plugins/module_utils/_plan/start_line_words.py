# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of start lines: options of docker run, keys of compose files and manifests, and commands of shells."""

from __future__ import annotations

# Options of docker run that take no value, and the letters of those that have one. Source: `docker run --help` of Docker 28.2.
SWITCHES = frozenset(
    (
        "detach",
        "disable-content-trust",
        "help",
        "init",
        "interactive",
        "no-healthcheck",
        "oom-kill-disable",
        "privileged",
        "publish-all",
        "quiet",
        "read-only",
        "rm",
        "sig-proxy",
        "tty",
        "use-api-socket",
    )
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

# Keys of a compose file's service, and of a Kubernetes container: what docker run has for them.
COMPOSE = {
    "container_name": "name",
    "cpus": "cpus",
    "cpuset": "cpuset-cpus",
    "cpu_shares": "cpu-shares",
    "cpu_quota": "cpu-quota",
    "mem_limit": "memory",
    "mem_reservation": "memory-reservation",
    "memswap_limit": "memory-swap",
    "shm_size": "shm-size",
    "restart": "restart",
    "user": "user",
    "network_mode": "network",
    "runtime": "runtime",
    "pids_limit": "pids-limit",
    "ipc": "ipc",
    "pid": "pid",
    "hostname": "hostname",
    "working_dir": "workdir",
    "stop_signal": "stop-signal",
    "stop_grace_period": "stop-timeout",
    "platform": "platform",
    "pull_policy": "pull",
    "imagePullPolicy": "pull",
    "runAsUser": "user",
    "memory": "memory",
    "cpu": "cpus",
    "ports": "publish",
    "volumes": "volume",
    "volumeMounts": "volume",
    "env_file": "env-file",
    "cap_add": "cap-add",
    "cap_drop": "cap-drop",
    "devices": "device",
    "dns": "dns",
    "extra_hosts": "add-host",
    "tmpfs": "tmpfs",
    "security_opt": "security-opt",
    "gpus": "gpus",
    "networks": "network",
    "nvidia.com/gpu": "gpus",
    "ulimits": "ulimit",
    "sysctls": "sysctl",
    "expose": "expose",
    "labels": "label",
    "group_add": "group-add",
    "cgroup_parent": "cgroup-parent",
    "domainname": "domainname",
    "links": "link",
    "userns_mode": "userns",
    "mac_address": "mac-address",
}
COMPOSE_SWITCHES = {
    "privileged": "privileged",
    "read_only": "read-only",
    "readOnlyRootFilesystem": "read-only",
    "init": "init",
    "tty": "tty",
    "stdin_open": "interactive",
    "oom_kill_disable": "oom-kill-disable",
}
COMMANDS = ("command", "args", "entrypoint")
# Keys that only hold others, or say nothing of how the server runs.
SILENT = frozenset(
    """
    version services apiVersion kind metadata spec template containers resources limits requests reservations deploy name healthcheck depends_on
    livenessProbe readinessProbe startupProbe replicas selector matchLabels app build context dockerfile logging driver options securityContext value
    valueFrom containerPort hostPort protocol mountPath mode x-tfserving profiles""".split()
)

SHELLS = ("sh", "bash", "dash", "ash", "zsh")
WRAPPERS = (
    "sudo",
    "nohup",
    "exec",
    "time",
    "setsid",
    "env",
    "command",
    "export",
    "tini",
    "dumb-init",
    "nice",
    "stdbuf",
    "set",
)
ENGINES = ("docker", "podman", "nvidia-docker", "nerdctl")
SERVERS = ("tensorflow_model_server", "tf_serving_entrypoint.sh")
PREPARING = (
    "cd",
    "echo",
    "mkdir",
    "sleep",
    "wait",
    "source",
    ".",
    "pwd",
    "true",
    "exit",
    "chmod",
    "chown",
    "cat",
    "trap",
)
NOT_STARTING = (
    "pull",
    "stop",
    "rm",
    "kill",
    "logs",
    "build",
    "ps",
    "images",
    "exec",
    "login",
    "cp",
    "tag",
    "push",
    "network",
    "volume",
    "inspect",
    "start",
    "restart",
    "wait",
)

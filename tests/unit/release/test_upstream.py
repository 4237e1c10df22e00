# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release table against upstream's repository: a digest of each fact over all releases, as read from the files at upstream's tags.

After a wanted change: python tests/unit/release/test_upstream.py CLONE prints DIGESTS anew. CLONE is a clone of tensorflow/serving with its tags; where
a digest differs from the table's, tools/release-table CLONE names the release and the value.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    importlib.import_module("conftest")  # makes the collection importable

from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions

DIGESTS = {
    "batching_fields": "b51d5fb49b6bb842",
    "bazel": "51d165bde6c4ab49",
    "bazel_options": "2fefcacaaef9e7eb",
    "branch_default": "adaf7c5cee88ff88",
    "branch_selects_sources": "19303dc2347fe788",
    "build_image_default": "0fd86c16fa5d9305",
    "build_options": "9daafe684003f840",
    "build_options_mkl": "89c40d7be20e6fbb",
    "capabilities_option": "88dda7de849f7d09",
    "commit_default": "a1b82a49ded80b3d",
    "compute_capabilities": "95df5666a5285bc8",
    "cpp_standard": "5c8f1389112ce0f8",
    "cpu_base": "d42e9d51703ccd18",
    "cuda": "e023d7179188f8ad",
    "cuda_compat": "a72229c245132a51",
    "cudnn": "df8be4b6d1170f23",
    "devel_python": "30eec90235c7e038",
    "flags": "04698feb64611e2a",
    "get_pip_unversioned": "6be058cb75c8e193",
    "gpu_base": "bb2914bb26009eec",
    "gpu_clang": "a4e675e1efbbabcb",
    "gpu_config": "cd881c4314d49b64",
    "hermetic_toolchains": "110456c03ce1d7ed",
    "image_model_base_path": "b3a593eeea1dcad8",
    "image_ports": "00277a3032f97c94",
    "kokoro": "41725346492a5da6",
    "kokoro_compiler": "163dfcc45f6b7419",
    "metrics_path": "4a753d1b84739732",
    "mixed_precision_values": "0dc40a94f0f34d6f",
    "mkl_aarch64": "635f2684a6a01aca",
    "mkl_openmp": "ee300844d5423ad7",
    "release_copts": "0f07951db5546ebf",
    "request_metrics": "075f88dce14cb9ad",
    "rest_paths": "fca4854d06ab6fc6",
    "services": "8eeaa80a9bcc4dc9",
    "sources": "c2a2ecc3f1f7d3c2",
    "tensorrt_compiled": "41a69b3c8c29e29c",
    "tensorrt_installed": "b3d9e62b8b283c8a",
    "tflite_file": "8b2e4120ea3cf10c",
    "tflite_types": "2c18cec09d8e85ac",
    "version_suffix": "b509cea249b22213",
}


def digest(history):
    """The digest of one fact: {release: value}."""
    return hashlib.sha256(json.dumps(history, sort_keys=True).encode()).hexdigest()[:16]


def digests(rows):
    """{fact: digest} of {release: {fact: value}}."""
    facts = next(iter(rows.values()))
    return {fact: digest({release: row[fact] for release, row in rows.items()}) for fact in facts}


@pytest.fixture(scope="module")
def of_the_table():
    return digests(
        {release: dict(questions.row(release), sources=questions.sources(release)) for release in questions.releases()}
    )


@pytest.mark.parametrize("fact", DIGESTS)
def test_the_table_says_what_upstream_says(fact, of_the_table):
    assert of_the_table[fact] == DIGESTS[fact]


def test_every_fact_of_a_row_is_compared(of_the_table):
    assert sorted(of_the_table) == sorted(DIGESTS)


def _upstream(clone, release):
    shown = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "release-table"), clone, release, "--show"],
        capture_output=True,
        text=True,
        check=True,
    )
    ids = subprocess.run(
        ["git", "-C", clone, "rev-parse", f"{release}^{{commit}}", f"{release}^{{tree}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(shown.stdout)[release], sources=ids.stdout.split())


if __name__ == "__main__":
    for upstream_fact, upstream_digest in sorted(
        digests({release: _upstream(sys.argv[1], release) for release in questions.releases()}).items()
    ):
        print(f'    "{upstream_fact}": "{upstream_digest}",')

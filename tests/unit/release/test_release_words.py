# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the release table has from elsewhere than upstream's files, and what its answers say in words. The source stands beside each table."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._release import questions, table

# (last release before, first release with): the distribution's compilers of Ubuntu 18.04 and 20.04, kokoro's gcc-10, the hermetic toolchain's clang 18,
# the GPU image's clang-17. TensorFlow 2.9's release notes: oneDNN by default; its log line's wording by the strings of the wheels 2.4 to 2.20.
HISTORIES = {
    "cpu_compiler": {
        "2.4.0": ("gcc", (7, 5)),
        "2.11.1": ("gcc", (7, 5)),
        "2.12.0": ("gcc", (9, 4)),
        "2.17.1": ("gcc", (9, 4)),
        "2.18.0": ("gcc", (10, 5)),
        "2.19.1": ("gcc", (10, 5)),
        "2.20.0": ("clang", (18, 1)),
    },
    "gpu_compiler": {
        "2.4.0": ("gcc", (7, 5)),
        "2.11.1": ("gcc", (7, 5)),
        "2.12.0": ("gcc", (9, 4)),
        "2.14.1": ("gcc", (9, 4)),
        "2.15.1": ("clang", (17, 0)),
        "2.19.1": ("clang", (17, 0)),
        "2.20.0": ("clang", (18, 1)),
    },
    "rebuild": {"2.4.0": "fails", "2.13.1": "fails", "2.14.0": "at risk", "2.19.1": "at risk", "2.20.0": "ok"},
    "onednn_by_default": {"2.8.4": False, "2.9.0": True},
    "onednn_available": {"2.4.4": False, "2.5.1": True},
    "feature_line_prefix": {
        "2.4.0": "optimized with oneAPI Deep Neural Network Library (oneDNN)",
        "2.11.1": "optimized with oneAPI Deep Neural Network Library (oneDNN)",
        "2.12.0": "optimized to use available CPU instructions",
    },
    # github.com/tensorflow/serving issues 1963, 2062 and 2158: s3:// works up to 2.6.
    "remote_file_systems": {"2.4.0": ("gs", "s3"), "2.6.5": ("gs", "s3"), "2.7.0": ("gs",), "2.20.0": ("gs",)},
    "tflite_interpreters_batch": {"2.4.0": False, "2.5.4": False, "2.6.0": True},
}
# gRPC's channel_arg_names.h: "Int valued" and "If set to zero/non-zero" arguments that a server reads, without the prefix "grpc.".
WHOLE_NUMBERS = """
    absolute_max_metadata_size census compression_enabled_algorithms_bitset default_compression_algorithm default_compression_level http2.bdp_probe
    http2.hpack_table_size.decoder http2.hpack_table_size.encoder http2.initial_sequence_number http2.lookahead_bytes http2.max_frame_size
    http2.max_ping_strikes http2.max_pings_without_data http2.min_ping_interval_without_data_ms http2.true_binary http2.write_buffer_size
    keepalive_permit_without_calls keepalive_time_ms keepalive_timeout_ms max_concurrent_streams max_connection_age_grace_ms max_connection_age_ms
    max_connection_idle_ms max_metadata_size max_receive_message_length max_send_message_length minimal_stack per_message_compression
    per_message_decompression server_handshake_timeout_ms server_max_unrequested_time_in_server so_reuseport experimental.tcp_min_read_chunk_size
    experimental.tcp_max_read_chunk_size""".split()
# GCC's manual, "x86 Options"; in the kernel's words LZCNT is abm.
OPTIONS = {
    "-msse4.2": "sse4_2",
    "-mavx": "avx",
    "-mavx2": "avx2",
    "-mfma": "fma",
    "-mf16c": "f16c",
    "-mbmi": "bmi1",
    "-mbmi2": "bmi2",
    "-mlzcnt": "abm",
    "-mmovbe": "movbe",
    "-mpopcnt": "popcnt",
    "-mcx16": "cx16",
    "-mavx512f": "avx512f",
    "-mavx512bw": "avx512bw",
    "-mavx512cd": "avx512cd",
    "-mavx512dq": "avx512dq",
    "-mavx512vl": "avx512vl",
    "-mavx512vnni": "avx512_vnni",
    "-mavx512bf16": "avx512_bf16",
    "-mavx512vbmi": "avx512vbmi",
    "-mavx512vbmi2": "avx512_vbmi2",
    "-mavx512ifma": "avx512ifma",
    "-mavx512bitalg": "avx512_bitalg",
    "-mavx512vpopcntdq": "avx512_vpopcntdq",
    "-mavxvnni": "avx_vnni",
}
# The psABI's levels without what TensorFlow's release configuration (AVX, SSE4.2) or the lower level has.
V3 = {"avx2", "fma", "bmi1", "bmi2", "f16c", "abm", "movbe"}
LEVELS = {
    "x86-64-v1": set(),
    "x86-64-v2": {"sse4_2", "popcnt", "cx16"},
    "x86-64-v3": V3,
    "x86-64-v4": V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}
# shared_batch_scheduler.h of TensorFlow and bundle_factory_util.h: what counts where the file sets nothing.
EFFECTIVE = {
    "max_batch_size": 1000,
    "batch_timeout_micros": 0,
    "max_enqueued_batches": 10,
    "num_batch_threads": "CPUs",
    "thread_pool_name": "batch_threads",
    "allowed_batch_sizes": (),
    "pad_variable_length_inputs": False,
    "enable_large_batch_splitting": False,
    "max_execution_batch_size": "max_batch_size",
}


@pytest.mark.parametrize("fact", HISTORIES)
def test_a_fact_from_elsewhere_than_upstreams_files(fact):
    assert {release: questions.cell(fact, release) for release in HISTORIES[fact]} == HISTORIES[fact]


def test_every_source_is_a_place():
    read = [source for source, _history in table.READ.values()]
    assert all(re.match(r"SERVING/[\w/]+\.?\w*|\.bazelrc$|WORKSPACE$", source) for source in read), read
    sources = [source for source, _history in table.DERIVED.values()] + [
        entry[-1] for entry in (*table.FORMER_FLAGS.values(), *table.FLAG_VALUES.values(), *table.KNOWN_BAD.values())
    ]
    assert all(
        re.search(r"SERVING/|github\.com/|TensorFlow|bazelrc|get-pip|commit [0-9a-f]{8}", source) for source in sources
    ), sources


def test_options_make_a_program_need_what_gcc_says():
    assert table.COPT_FLAGS == {option: (flag,) for option, flag in OPTIONS.items()}


def test_the_options_of_a_level_are_those_of_the_psabi():
    for level, flags in LEVELS.items():
        config, options = (
            table.LEVEL_OPTIONS[level].partition(" --copt=")[0],
            re.findall(r"--copt=(\S+)", table.LEVEL_OPTIONS[level]),
        )
        assert {OPTIONS[option] for option in options if option != "-O3"} == flags and options[-1] == "-O3"
        assert (config == "--config=release") is (level in ("x86-64-v3", "x86-64-v4"))
    assert table.LEVEL_OPTIONS["aarch64"] == "--config=mkl_aarch64" and set(table.LEVEL_OPTIONS) == {*LEVELS, "aarch64"}


def test_drivers_onednn_and_images():
    """CUDA's page on minor version compatibility; tensorflow pull request 56039; the names on Docker Hub."""
    assert table.LOWEST_DRIVERS == {11: 450, 12: 525, 13: 580}
    assert set(table.ONEDNN_DEFAULT_FLAGS) == {
        "avx512_vnni",
        "avx512_bf16",
        "avx_vnni",
        "amx_tile",
        "amx_int8",
        "amx_bf16",
    }
    assert [questions.official_image("2.20.0", kind) for kind in ("cpu", "gpu", "mkl")] == [
        f"tensorflow/serving:2.20.0{suffix}" for suffix in ("", "-gpu", "-mkl")
    ]
    assert questions.official_image("2.20.0") == "tensorflow/serving:2.20.0" and table.IMAGES["architectures"] == (
        "x86_64",
    )
    assert table.MARCH_ALIASES == {"icelake-server": "icelake-client"}
    assert table.KNOWN_BAD["clang", "avx512_bf16"][:2] == (
        "-mno-avx512bf16",
        "clang fails on TensorFlow's sources with AVX512_BF16",
    )


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("tensorflow/serving", "latest"),
        ("docker.io/tensorflow/serving:2.20.0-gpu", "2.20.0-gpu"),
        ("tensorflow/serving:2.20.0@sha256:1b6e", "2.20.0"),
        ("registry.example/tensorflow/serving:2.20.0", None),
        ("tensorflow/serving-devel:2.20.0", None),
    ],
)
def test_the_tag_of_an_official_image(image, tag):
    assert questions.official_tag(image) == tag


@pytest.mark.parametrize(
    ("image", "release"),
    [
        ("tensorflow/serving:2.15.1", "2.15.1"),
        ("tensorflow/serving:2.11.1-gpu", "2.11.1"),
        ("docker.io/tensorflow/serving:2.8.0-rc1-mkl@sha256:aa", "2.8.0"),
        ("tensorflow/serving:2.21.0", "2.21.0"),
        ("tensorflow/serving:2.15.0", "2.15.0"),  # never tagged: nearest() says so
        ("tensorflow/serving:1.15.0", "1.15.0"),
        ("registry.example:5000/hub/tensorflow/serving:2.14.1-gpu", "2.14.1"),
        ("registry.example/serving:v2.17.1-zen", "2.17.1"),
        ("registry.example/serving:2.17", "2.17"),
        ("tfserving-fleet:2.19.1-x86-64-v3-0123456789ab", "2.19.1"),
        ("tensorflow/serving", None),
        ("tensorflow/serving:latest-gpu", None),
        ("tensorflow/serving:nightly", None),
        ("tensorflow/serving@sha256:2.20.0", None),
        ("registry.example:2.20/serving", None),
        # Numbers of its owner, not releases of TensorFlow Serving.
        ("registry.example/serving:1.4.2", None),
        ("registry.example/serving:2.99.0", None),
        ("registry.example/serving:2024.1.15", None),
        ("registry.example/serving:2.20.0.1", None),
        ("registry.example/serving:build-2.20.0", None),
    ],
)
def test_the_release_in_the_tag_of_an_image(image, release):
    assert questions.release_in_tag(image) == release


def test_tensorflow_lite_and_batching():
    """tflite_session.cc, saved_model_bundle_factory.cc, tflite_interpreter_pool.cc and session_bundle_config.proto at 2.20.0."""
    assert table.TFLITE == {
        "flag": "prefer_tflite_model",
        "file": "model.tflite",
        "signatures": "signature_defs_metadata",
        "threads_per_interpreter": 1,
    }
    assert {name: default for name, (_number, _kind, default, _first) in table.BATCHING_FIELDS.items()} == EFFECTIVE


@pytest.mark.parametrize(
    ("flag", "lowest", "highest"),
    [
        ("rest_api_num_threads", 2, None),
        ("grpc_max_threads", 1, None),
        ("per_process_gpu_memory_fraction", 0.0, 1.0),
        ("port", 0, 65535),
        ("rest_api_port", 0, 65535),
        ("max_num_load_retries", 0, None),
    ],
)
def test_a_flag_outside_of_its_range(flag, lowest, highest):
    assert questions.check_flags("2.20.0", {flag: lowest}) == []
    (low,) = questions.check_flags("2.20.0", {flag: lowest - 1})
    assert low == {
        "flag": flag,
        "reason": low["reason"],
        "remedy": f"Set it to {lowest} or more",
        "change": {flag: lowest},
    }
    assert re.fullmatch(rf"-?[\d.]+ is below {lowest}: \w+ .+", low["reason"])
    if highest is None:
        assert questions.check_flags("2.20.0", {flag: 10**6}) == []
    else:
        assert questions.check_flags("2.20.0", {flag: highest}) == []
        (high,) = questions.check_flags("2.20.0", {flag: highest + 1})
        assert (high["remedy"], high["change"]) == (f"Set it to {highest} or less", {flag: highest})
        assert re.fullmatch(rf"[\d.]+ is above {highest}: it is a .+", high["reason"])


@pytest.mark.parametrize(
    ("release", "flags", "problem"),
    [
        (
            "2.20.0",
            {"use_tflite_model": False},
            (
                "renamed in 2.3.0; the server would print 'unknown argument: --use_tflite_model' and continue without it",
                "Use prefer_tflite_model instead",
                {"use_tflite_model": None, "prefer_tflite_model": False},
            ),
        ),
        (
            "2.20.0",
            {"num_tflite_interpreters": 4},
            (
                "never released under this name; the server would print 'unknown argument: --num_tflite_interpreters' and continue without it",
                "Use num_tflite_pools instead",
                {"num_tflite_interpreters": None, "num_tflite_pools": 4},
            ),
        ),
        (
            "2.14.1",
            {"mixed_precision": "bfloat16"},
            (
                "the server of 2.14.1 does not know --mixed_precision (it appeared in 2.15.1) and would silently ignore it",
                "Leave it out",
                {"mixed_precision": None},
            ),
        ),
        (
            "2.20.0",
            {"zzzzzz": 1},
            (
                "the server of 2.20.0 does not know --zzzzzz (no release has it) and would silently ignore it",
                "Leave it out",
                {"zzzzzz": None},
            ),
        ),
        ("2.20.0", {"port": "8500"}, ("'8500' is not of type int", "Give a value of type int", {"port": None})),
        ("2.20.0", {"version": 1}, ("1 is not of type bool", "Give a value of type bool", {"version": None})),
        ("2.20.0", {"model_name": 1}, ("1 is not of type string", "Give a value of type string", {"model_name": None})),
        (
            "2.20.0",
            {"per_process_gpu_memory_fraction": "1"},
            ("'1' is not of type float", "Give a value of type float", {"per_process_gpu_memory_fraction": None}),
        ),
        (
            "2.20.0",
            {"mixed_precision": "bf16"},
            ("'bf16' would be accepted, but have no effect", "Set it to '' or 'bfloat16'", {"mixed_precision": None}),
        ),
    ],
)
def test_the_words_on_a_flag_that_is_wrong(release, flags, problem):
    (found,) = questions.check_flags(release, flags)
    assert (found["reason"], found["remedy"], found["change"]) == problem and found["flag"] == next(iter(flags))


def test_flags_are_checked_by_name():
    assert [problem["flag"] for problem in questions.check_flags("2.20.0", {"zzz": 1, "aaa": 2})] == ["aaa", "zzz"]


@pytest.mark.parametrize(
    ("release", "compute", "driver", "reason", "remedy"),
    [
        (
            "2.20.0",
            None,
            550,
            "its compute capability is unknown",
            "Make sure that nvidia-smi answers on the host, then detect again",
        ),
        (
            "2.20.0",
            (3, 5),
            None,
            "2.20.0 has no code for compute capability 3.5; it was built for sm_60, sm_70, sm_80, sm_89, compute_90",
            "Use release 2.14.1 or older",
        ),
        (
            "2.20.0",
            (2, 0),
            None,
            "2.20.0 has no code for compute capability 2.0; it was built for sm_60, sm_70, sm_80, sm_89, compute_90",
            "Serve without the GPU",
        ),
        (
            "2.20.0",
            (8, 0),
            470,
            "CUDA 12.5 of 2.20.0 needs NVIDIA's driver 525 or later, but this host has 470",
            "Update the driver to 525 or later, or use release 2.14.1",
        ),
        (
            "2.20.0",
            (8, 0),
            418,
            "CUDA 12.5 of 2.20.0 needs NVIDIA's driver 525 or later, but this host has 418",
            "Update the driver to 525 or later",
        ),
        ("2.20.0", (8, 9), 525, "sm_89 code of 2.20.0 runs on compute capability 8.9", None),
        ("2.20.0", (8, 6), 525, "sm_80 code of 2.20.0 runs on compute capability 8.6", None),
        (
            "2.20.0",
            (10, 0),
            580,
            "2.20.0 has no machine code for compute capability 10.0: the driver compiles compute_90 at first use",
            None,
        ),
    ],
)
def test_the_words_on_a_gpu(release, compute, driver, reason, remedy):
    found = questions.gpu_support(release, compute, driver)
    assert (found["reason"], found["remedy"]) == (reason, remedy)


def test_releases_that_support_a_gpu_are_listed_oldest_first():
    """Compute capability 3.5 has code up to 2.14 alone; driver 470 runs CUDA 11, which is that of 2.4 to 2.14."""
    to_2_14 = table.RELEASES[: table.RELEASES.index("2.14.1") + 1]
    assert (
        questions.gpu_support("2.20.0", (3, 5))["releases"]
        == to_2_14
        == questions.gpu_support("2.20.0", (8, 0), 450)["releases"]
    )
    assert (
        questions.gpu_support("2.20.0", (8, 0), 449)["releases"] == ()
        and questions.gpu_support("2.20.0", (9, 0), 525)["releases"] == table.RELEASES
    )
    assert questions.gpu_support("2.20.0", (5, 2))["releases"] == table.RELEASES[: table.RELEASES.index("2.19.1") + 1]


@pytest.mark.parametrize(
    ("release", "compute", "reason", "remedy", "newest"),
    [
        ("2.17.1", None, "a TF-TRT model needs a GPU whose compute capability is known", "Serve the SavedModel", None),
        (
            "2.20.0",
            (8, 0),
            "the server of 2.20.0 is built without TensorRT (the library in its image is unused); 2.17.1 was the last with it",
            "Use release 2.17.1, or serve the SavedModel",
            "2.17.1",
        ),
        (
            "2.20.0",
            (10, 0),
            "the server of 2.20.0 is built without TensorRT (the library in its image is unused); 2.17.1 was the last with it",
            "Serve the SavedModel",
            None,
        ),
        (
            "2.17.1",
            (10, 0),
            "TensorRT 8.6.1 of 2.17.1 was not built for compute capability 10.0",
            "Serve the SavedModel",
            None,
        ),
        (
            "2.14.1",
            (9, 0),
            "TensorRT 8.4.3 of 2.14.1 was not built for compute capability 9.0",
            "Use release 2.17.1, or serve the SavedModel",
            "2.17.1",
        ),
        ("2.17.1", (8, 0), "TensorRT 8.6.1 is compiled into 2.17.1", None, "2.17.1"),
    ],
)
def test_the_words_on_tensorrt(release, compute, reason, remedy, newest):
    found = questions.tensorrt_support(release, compute)
    assert (
        found["reason"],
        found["remedy"],
        found["releases"][-1] if found["releases"] and remedy != "Serve the SavedModel" else None,
    ) == (reason, remedy, newest)


@pytest.mark.parametrize(
    ("release", "words", "remedy"),
    [
        (
            "latest",
            "'latest' is not a release of TensorFlow Serving (the release table has 2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 2.10, 2.11, 2.12, 2.13, 2.14, 2.15, "
            "2.16, 2.17, 2.18, 2.19, 2.20)",
            "Set tfserving_version: 2.20.0.",
        ),
        (
            "2.5.0",
            "'2.5.0' is not a release of TensorFlow Serving in the release table (it has 2.5.1, 2.5.2, 2.5.3, 2.5.4)",
            "Set tfserving_version: 2.5.4.",
        ),
        (
            "1.15",
            "'1.15' is not a release of TensorFlow Serving in the release table (it has 2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 2.10, 2.11, 2.12, 2.13, "
            "2.14, 2.15, 2.16, 2.17, 2.18, 2.19, 2.20)",
            "Set tfserving_version: 2.20.0.",
        ),
    ],
)
def test_the_words_on_a_release_that_is_not_known(release, words, remedy):
    with pytest.raises(FleetError) as fault:
        questions.nearest(release)
    assert (fault.value.what, fault.value.where, fault.value.remedy) == (words, "tfserving_version", remedy)


@pytest.mark.parametrize(
    ("release", "parts"), [("v2.20.1", (2, 20, 1)), ("2.20", (2, 20, None)), ("10.0", (10, 0, None))]
)
def test_the_parts_of_a_release(release, parts):
    assert questions.parse(release) == parts
    with pytest.raises(FleetError, match=r"^another: '2.20.0 ' is not .* Set another: 2\.20\.0\.$"):
        questions.parse("2.20.0 ", "another")


@pytest.mark.parametrize(
    ("release", "instead"),
    [("2.5.0", "2.5.4"), ("2.15.0", "2.15.1"), ("2.3.0", "2.20.0"), ("3.15.0-gpu", "3.15.0"), ("latest", "2.20.0")],
)
def test_the_release_to_name_instead(release, instead):
    assert questions.instead_of(release) == instead


@pytest.mark.parametrize(
    ("release", "newer"),
    [("2.20.0", False), ("2.20.1", True), ("2.20", False), ("2.21", True), ("3.0", True), ("2.4", False)],
)
def test_a_release_beyond_the_table(release, newer):
    assert questions.is_newer_than_table(release) is newer


def test_small_questions():
    assert questions.spelt_compiler("gcc", (10, 5)) == "gcc 10.5" and questions.compiler("2.19.1", gpu=True) == (
        "clang",
        (17, 0),
    )
    assert questions.compilers() == [
        ("clang", (17, 0)),
        ("clang", (18, 1)),
        ("gcc", (7, 5)),
        ("gcc", (9, 4)),
        ("gcc", (10, 5)),
    ]
    assert (
        questions.stock_cpu_flags("2.20.0") == ("avx", "sse4_2")
        and questions.tflite_flag("2.4.0") == "prefer_tflite_model"
    )
    assert questions.first_release_with_flag("nothing") is None and questions.lowest_driver("2.14.1") == 450
    assert questions.onednn_by_default("2.9.0", {"amx_int8"}) and not questions.onednn_by_default("2.8.4", {"amx_int8"})
    assert not questions.onednn_by_default("2.9.0", {"avx2", "avx512f"})
    assert (
        questions.source("thread_pool_name", "2.20.0")
        == "tensorflow_serving/servables/tensorflow/session_bundle_config.proto@2.4.0"
    )
    assert questions.source("cpp_standard", "2.11.0") == ".bazelrc@2.9.0"
    assert questions.sources("2.20.0")[0] == "bc7e9d2b9a419294c4526e293c2df8727b0d3116"
    with pytest.raises(FleetError) as fault:
        questions.sources("2.21.0")
    assert str(fault.value) == (
        "tfserving_version: the release table has no checksum of the sources of 2.21.0. "
        "Build 2.20.0, or set the sources (tfserving_build_sources)."
    )


@pytest.mark.parametrize("name", WHOLE_NUMBERS)
def test_an_argument_of_grpc_that_takes_a_whole_number(name):
    for text in ("1", "-1", "+1", str(2**31 - 1), str(-(2**31))):
        assert questions.check_flags("2.20.0", {"grpc_channel_arguments": f"grpc.{name}={text}"}) == []
    for text in ("x", "1.5", "", str(2**31), str(-(2**31) - 1), "0x10", "1 2"):
        (problem,) = questions.check_flags("2.20.0", {"grpc_channel_arguments": f"grpc.{name}={text}"})
        assert f"grpc.{name} takes a whole number of 32 bits; {text!r}" in problem["reason"]


@pytest.mark.parametrize("name", ["http2_scheme", "primary_user_agent", "secondary_user_agent", "not_known"])
def test_an_argument_of_grpc_that_takes_a_text(name):
    assert questions.check_flags("2.20.0", {"grpc_channel_arguments": f"grpc.{name}=x y"}) == []
    assert (f"grpc.{name}" in table.CHANNEL_ARGUMENTS) is (name != "not_known")


@pytest.mark.parametrize(
    ("given", "remedy", "change"),
    [
        ("grpc.census", "Leave it out", None),
        ("grpc.census=1,grpc.census", "Leave it out", "grpc.census=1"),
        ("a=b,grpc.census=x,c=d", "Leave it out", "a=b,c=d"),
        ("grpc.census=2 * 3", "Write grpc.census=6", "grpc.census=6"),
        ("a=b,grpc.census=2*3,c", "Write grpc.census=6", "a=b,grpc.census=6,c"),
        ("grpc.census=32768*65535", "Write grpc.census=2147450880", "grpc.census=2147450880"),
        ("grpc.census=32768*65536", "Leave it out", None),
        ("grpc.census=2*2*2*2*2*2*2*2", "Write grpc.census=256", "grpc.census=256"),
        ("grpc.census=1*1*1*1*1*1*1*1*1", "Leave it out", None),
        ("grpc.census=2*-1", "Leave it out", None),
    ],
)
def test_what_to_write_for_an_argument_that_grpc_ignores(given, remedy, change):
    (problem,) = questions.check_flags("2.20.0", {"grpc_channel_arguments": given})
    assert problem["flag"] == "grpc_channel_arguments" and problem["remedy"] == remedy
    assert problem["change"] == {"grpc_channel_arguments": change}


@pytest.mark.parametrize("flag", [*table.FLAGS, *table.FORMER_FLAGS])
def test_a_text_for_a_flag_is_read_as_the_flags_type(flag):
    """As main.cc declares it: an int, a float and a bool are parsed, a string is taken as it is."""
    kind = table.FLAGS[
        {"use_tflite_model": "prefer_tflite_model", "num_tflite_interpreters": "num_tflite_pools"}.get(flag, flag)
    ][0]
    expected = {
        "int": [7, "0.5", "true"],
        "float": [7.0, 0.5, "true"],
        "bool": ["7", "0.5", True],
        "string": ["7", "0.5", "true"],
    }[kind]
    found = [questions.typed(flag, text) for text in ("7", "0.5", "true")]
    assert [(type(one), one) for one in found] == [(type(one), one) for one in expected]
    assert questions.typed("not_known", "7") == "7"


@pytest.mark.parametrize(
    ("release", "needed"), [("2.4.0", False), ("2.11.1", False), ("2.19.1", False), ("2.20.0", True)]
)
def test_images_that_start_threads_by_clone3(release, needed):
    """glibc 2.34 and later do; Ubuntu 18.04 and 20.04 have 2.27 and 2.31, 22.04 has 2.35."""
    assert questions.needs_clone3(release) is needed


def test_a_field_of_batching_is_as_old_as_the_table():
    """All nine fields stand in session_bundle_config.proto at 2.4.0."""
    proto = "tensorflow_serving/servables/tensorflow/session_bundle_config.proto@2.4.0"
    assert [questions.source(name, "2.20.0") for name in EFFECTIVE] == 9 * [proto]
    assert list(questions.batching_fields("2.4.0")) == list(EFFECTIVE)

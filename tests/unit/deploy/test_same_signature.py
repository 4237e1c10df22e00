# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check "same signature": clients of each signature that the current server has can go on, or the user accepts that they cannot."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import verification
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import signature as signatures


def face(output, size=4):
    return {
        "inputs": {"x": {"dtype": "float32", "shape": [None, size]}},
        "outputs": {output: {"dtype": "float32", "shape": [None]}},
    }


INIT = {"__saved_model_init_op": {"inputs": {}, "outputs": {"init": {"dtype": "float32", "shape": None}}}}
SCORE, EMBED = {"serving_default": face("score")}, {"embed": face("vector")}


class Answers:
    """The gRPC port of a server whose model has these signatures, and that answers each request."""

    def __init__(self, offered):
        self.offered = offered

    def status(self, _model):
        return [{"version": 1, "state": 30, "error_code": 0, "error_message": ""}]

    def signatures(self, _model):
        return self.offered

    def predict(self, *_request):
        return {}


def checked(before, after, accepted=False):
    """Run the checks of a new server with the signatures after, in place of one with those before."""
    model = verification.Model("m", (1,), {}, "serving_default", 8, None, None, 0.0)
    asked = verification.Questions([model], 1.0, True, accepted, before={"m": before})
    place = verification.Place(Answers(after))
    return asked.all(place, asked.first(place, True), lambda: None)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        # TensorFlow Lite serves one signature.
        ({**SCORE, **EMBED}, SCORE, 'm: check "same signature" failed: the signature embed is missing'),
        (
            {**SCORE, **EMBED},
            {**SCORE, "embed": face("vector", 5)},
            r"embed.inputs.x: float32 \[\?, 4\] became float32",
        ),
        (
            {**SCORE, **EMBED},
            {**EMBED, "serving_default": face("y")},
            "serving_default.outputs.score: .* became nothing",
        ),
        ({**SCORE, "serve": face("score")}, {"serving_default": face("y")}, "the signature serve is missing"),
    ],
)
def test_a_server_without_a_signature_of_the_current_one_needs_the_users_word(before, after, words):
    with pytest.raises(FleetError, match=words) as fault:
        checked(before, after)
    assert "accept_signature_change: true" in str(fault.value)
    assert checked(before, after, accepted=True) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (SCORE, {**SCORE, **EMBED}),
        # Keras exports the same signature under two names, and TensorFlow Lite keeps one of them.
        ({**SCORE, "serve": face("score")}, SCORE),
        ({**SCORE, **INIT}, SCORE),
        ({**SCORE, **INIT}, {**SCORE, "__saved_model_init_op": face("other")}),
        ({}, SCORE),
    ],
)
def test_what_no_client_misses_needs_no_word(before, after):
    assert checked(before, after) == []


def test_lost_signatures():
    whole = {**SCORE, **EMBED, **INIT, "serve": face("score")}
    assert signatures.lost(whole, SCORE) == ["embed"] and signatures.lost(whole, EMBED) == ["serve", "serving_default"]
    assert signatures.lost(whole, whole) == signatures.lost({}, whole) == []

# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a small model and labelled samples for it: python points.py DIRECTORY makes DIRECTORY/points and DIRECTORY/points.npz.

Points in a plane belong to the nearest of four centres. The model knows the centres, so its accuracy is 1 by construction; a layer of
random, orthogonal weights between carries enough of them for TensorFlow Lite to make them smaller.
"""

from __future__ import annotations

import os
import sys

import numpy
import tensorflow

CENTRES = numpy.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=numpy.float32)
WIDTH = 64
EXAMPLES = 200


class Points(tensorflow.Module):
    """Scores of the four centres for each point."""

    def __init__(self):
        super().__init__()
        orthogonal, _triangle = numpy.linalg.qr(numpy.random.default_rng(0).normal(size=(WIDTH, WIDTH)))
        widen = numpy.eye(2, WIDTH, dtype=numpy.float32)
        self.widen = tensorflow.Variable(widen)
        self.turn = tensorflow.Variable(orthogonal.astype(numpy.float32))
        self.score = tensorflow.Variable((orthogonal.T @ widen.T @ CENTRES.T).astype(numpy.float32))

    @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, 2], tensorflow.float32, name="point")])
    def __call__(self, point):
        return {"scores": tensorflow.nn.softmax(point @ self.widen @ self.turn @ self.score)}


def main(directory):
    random = numpy.random.default_rng(1)
    labels = random.integers(len(CENTRES), size=EXAMPLES)
    points = CENTRES[labels] + random.uniform(-0.8, 0.8, size=(EXAMPLES, 2)).astype(numpy.float32)
    os.makedirs(directory, exist_ok=True)
    numpy.savez(os.path.join(directory, "points.npz"), **{"inputs.point": points, "labels": labels})
    model = Points()
    tensorflow.saved_model.save(model, os.path.join(directory, "points"), signatures=model.__call__)


if __name__ == "__main__":
    main(sys.argv[1])

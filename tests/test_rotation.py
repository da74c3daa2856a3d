"""Orthogonal mixes of exchangeable elements: how they are made, and for which it is not tried."""

import numpy as np

from conjugate_ppl.algebra.reduce import Reduced, Weights
from conjugate_ppl.gaussian.quadratic import Quadratic
from conjugate_ppl.gaussian.rotation import Able, _in_vain, _reflections


def test_reflections_begin_with_given_columns():
    """Also where one of them is reflected by nothing, and where they are all."""
    rng = np.random.default_rng(0)
    for n, k in ((7, 3), (7, 7), (40, 1), (300, 120)):
        columns = np.linalg.qr(np.concatenate([np.eye(n)[:, :1], rng.normal(size=(n, k - 1))], 1))[0]
        q = _reflections(columns).backward(np.eye(n))
        np.testing.assert_allclose(q.T @ q, np.eye(n), atol=1e-13)
        np.testing.assert_allclose(np.abs((q[:, :k] * columns).sum(0)), 1.0, rtol=1e-13)


def test_large_groupings_are_not_rotated_in_vain():
    """Of many groups of unlike sizes, crossed with others, no mix is free: that is seen before matrices are made."""
    rng = np.random.default_rng(0)

    def rotated(g, h, groups, others):
        counts = np.bincount(g, minlength=groups)
        cross, many = np.unique(np.stack([g, groups + h], 1), axis=0, return_counts=True)
        i = np.concatenate([np.arange(groups), cross[:, 0], cross[:, 1]])
        j = np.concatenate([np.arange(groups), cross[:, 1], cross[:, 0]])
        x = np.concatenate([counts, many, many]).astype(float)
        none = np.zeros(0, np.int64)
        q = Quadratic(i, j, np.zeros(len(i), np.int64), x, none, none, np.zeros(0), Reduced(Weights(), {}, {}))
        return not _in_vain(q, Able(np.arange(groups)[:, None]), groups + others)

    assert rotated(np.repeat(np.arange(300), 20), np.tile(np.arange(20), 300), 300, 20)
    assert not rotated(rng.integers(0, 300, 6000), rng.integers(0, 200, 6000), 300, 200)

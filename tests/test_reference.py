"""Classic models against values computed without this package (`classics`).

Here the collapsed log likelihoods, conditional moments and evidences, to the digits of float64, and two
whole posteriors; `python tests/campaign.py` compares all of them.
"""

import classics
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import handlers
from numpyro.infer.util import log_density

import conjugate_ppl as cj

POINTS = [n for n in classics.CASES if classics.trusted(n)[1]["points"]]


def _kept(name, hyper):
    return {n: jnp.asarray(x) for n, x in classics.CASES[name].kept(hyper).items()}


def _log_hyperprior(model, data, kept):
    trace = handlers.trace(handlers.substitute(handlers.seed(model, 0), data=kept)).get_trace(**data)
    return sum(float(jnp.sum(trace[n]["fn"].log_prob(v))) for n, v in kept.items())


@pytest.mark.parametrize("name", POINTS)
def test_collapsed_log_likelihood_and_conditional_moments(name):
    data, entry = classics.trusted(name)
    model = classics.CASES[name].model
    collapsed = cj.collapse(model)
    compiled = jax.jit(lambda kept: log_density(collapsed, (), data, kept)[0])
    for point in entry["points"]:
        kept = _kept(name, point["hyper"])
        found = float(compiled(kept)) - _log_hyperprior(model, data, kept)
        expected = point["collapsed_loglik"]
        assert abs(found - expected) <= 1e-8 * (1 + abs(expected))
        if "cond_mean" not in point:
            continue
        conditional = collapsed.conditionals(kept, **data)
        compared = 0
        for moment, key in (("mean", "cond_mean"), ("variance", "cond_sd")):
            known = {n: np.asarray(getattr(d, moment))[None] for n, d in conditional.items()}
            for label, expected in point.get(key, {}).items():
                found = classics.element({**{n: x[None] for n, x in kept.items()}, **known}, label, name)
                if found is not None:
                    value = np.sqrt(found[0]) if key == "cond_sd" else found[0]
                    assert abs(value - expected) <= 1e-7 * (1 + abs(expected)), label
                    compared += 1
        # of the second spelling theta is no site
        assert compared or name == "eight_schools_non_centred"


@pytest.mark.parametrize("name", ["nig_diabetes"])
def test_evidence(name):
    data, entry = classics.trusted(name)
    evidence = float(cj.collapse(classics.CASES[name].model).log_evidence(**data))
    assert abs(evidence - entry["log_evidence"]) <= 1e-8 * (1 + abs(evidence))


@pytest.mark.parametrize("name", classics.CASES)
def test_plan(name):
    data, _ = classics.trusted(name)
    assert set(cj.explain(classics.CASES[name].model, **data).collapsed) == classics.CASES[name].collapsed


@pytest.mark.parametrize("name", ["rate", "sblri_blr"])
def test_posterior(name):
    with jax.enable_x64(classics.CASES[name].double):
        apart = classics.compare(name)
    assert max(map(abs, apart.values())) < 4.0, apart

"""Collapsed log likelihoods and conditional moments against values computed without this package.

`data/references.json` holds, for classic data sets, log p(y | hyperparameters) with every other latent
integrated out by quadrature or dense linear algebra (NumPy and SciPy alone), and exact conditional means
and standard deviations at the same points. The data are numbers from the literature; each entry names
its source.
"""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import handlers, plate, sample
from numpyro.infer.util import log_density

import conjugate_ppl as cj

REFERENCES = json.loads((Path(__file__).parent / "data" / "references.json").read_text())


def eight_schools(J, y, sigma):
    mu = sample("mu", dist.Normal(0, 5))
    tau = sample("tau", dist.HalfCauchy(5))
    with plate("schools", J):
        theta = sample("theta", dist.Normal(mu, tau))
        sample("obs", dist.Normal(theta, sigma), obs=y)


def eight_schools_non_centred(J, y, sigma):
    mu = sample("mu", dist.Normal(0, 5))
    tau = sample("tau", dist.HalfCauchy(5))
    with plate("schools", J):
        z = sample("z", dist.Normal(0, 1))
        sample("obs", dist.Normal(mu + tau * z, sigma), obs=y)


def pump(x, t):
    alpha = sample("alpha", dist.Exponential(1.0))
    beta = sample("beta", dist.Gamma(0.1, 1.0))
    with plate("pumps", len(x)):
        theta = sample("theta", dist.Gamma(alpha, beta))
        sample("obs", dist.Poisson(theta * t), obs=x)


def pooling(y, n):
    m = sample("m", dist.Uniform(0, 1))
    kappa = sample("kappa", dist.Pareto(1.0, 1.5))
    with plate("units", len(y)):
        phi = sample("phi", dist.Beta(m * kappa, (1 - m) * kappa))
        sample("obs", dist.Binomial(n, probs=phi), obs=y)


def dyestuff(y, batch):
    mu = sample("mu", dist.Normal(1500, 500))
    sigma_batch = sample("sigma_batch", dist.HalfNormal(100))
    sigma = sample("sigma", dist.HalfNormal(100))
    b = sample("b", dist.Normal(0, sigma_batch).expand([6]).to_event(1))
    sample("obs", dist.Normal(mu + b[batch], sigma), obs=y)


def penicillin(y, plate, sample_):
    mu = sample("mu", dist.Normal(23, 10))
    sigma = sample("sigma", dist.HalfNormal(5))
    p = sample("plate", dist.Normal(0, sample("sigma_plate", dist.HalfNormal(5))).expand([24]))
    s = sample("sample", dist.Normal(0, sample("sigma_sample", dist.HalfNormal(5))).expand([6]))
    sample("obs", dist.Normal(mu + p[plate] + s[sample_], sigma), obs=y)


def rats(N, Npts, rat, x, y, xbar):
    m_a, m_b = sample("mu_alpha", dist.Normal(0, 100)), sample("mu_beta", dist.Normal(0, 100))
    positive = dist.ImproperUniform(dist.constraints.positive, (), ())
    s_y, s_a, s_b = (sample(k, positive) for k in ("sigma_y", "sigma_alpha", "sigma_beta"))
    with plate("rats", 30):
        a, b = sample("alpha", dist.Normal(m_a, s_a)), sample("beta", dist.Normal(m_b, s_b))
    sample("obs", dist.Normal(a[rat - 1] + b[rat - 1] * (x - xbar), s_y), obs=y)


def sleepstudy(y, days, subject):
    beta = sample("beta", dist.Normal(jnp.array([250.0, 10.0]), jnp.array([100.0, 20.0])))
    sd = sample("sd", dist.HalfNormal(jnp.array([50.0, 20.0])))
    lower = sample("L", dist.LKJCholesky(2, 2.0))
    sigma = sample("sigma", dist.HalfNormal(50))
    with plate("subjects", 18):
        u = sample("u", dist.MultivariateNormal(jnp.zeros(2), scale_tril=sd[:, None] * lower))
    mean = beta[0] + u[subject, 0] + (beta[1] + u[subject, 1]) * days
    sample("obs", dist.Normal(mean, sigma), obs=y)


def _lower(corr):
    return jnp.array([[1.0, 0.0], [corr, np.sqrt(1 - corr**2)]])


MODELS = {
    "eight_schools": eight_schools,
    "eight_schools_non_centred": eight_schools_non_centred,
    "pump": pump,
    "baseball18": pooling,
    "rat_tumors": pooling,
    "dyestuff": dyestuff,
    "penicillin": penicillin,
    "rats": rats,
    "sleepstudy": sleepstudy,
}


def _case(name):
    reference = REFERENCES[name.removesuffix("_non_centred")]
    data = {k: np.asarray(v) if isinstance(v, list) else v for k, v in reference["data"].items()}
    if name == "baseball18":
        data = {"y": data["hits"], "n": data["at_bats"]}
    if name == "penicillin":
        data["sample_"] = data.pop("sample")
    return MODELS[name], data, reference["points"]


def _kept(name, hyper):
    if name != "sleepstudy":
        return {k: jnp.asarray(v) for k, v in hyper.items()}
    sd = jnp.array([hyper["sd_intercept"], hyper["sd_slope"]])
    return {"sd": sd, "L": _lower(hyper["corr"]), "sigma": jnp.asarray(hyper["sigma"])}


def _log_hyperprior(model, data, kept):
    trace = handlers.trace(handlers.substitute(handlers.seed(model, 0), data=kept)).get_trace(**data)
    return sum(float(jnp.sum(trace[n]["fn"].log_prob(v))) for n, v in kept.items())


@pytest.mark.parametrize("name", MODELS)
def test_collapsed_log_likelihood(name):
    model, data, points = _case(name)
    collapsed = cj.collapse(model)
    for point in points:
        kept = _kept(name, point["hyper"])
        found = float(log_density(collapsed, (), data, kept)[0]) - _log_hyperprior(model, data, kept)
        expected = point["collapsed_loglik"]
        assert abs(found - expected) <= 1e-8 * (1 + abs(expected))


@pytest.mark.parametrize("name", MODELS)
def test_conditional_moments(name):
    model, data, points = _case(name)
    collapsed = cj.collapse(model)
    for point in points:
        found = collapsed.conditionals(_kept(name, point["hyper"]), **data)
        for moment, key in (("mean", "cond_mean"), ("variance", "cond_sd")):
            for label, expected in point.get(key, {}).items():
                site, _, index = label.partition("[")
                if site not in found:
                    continue
                value = np.ravel(getattr(found[site], moment))
                value = value[int(index.rstrip("]")) - 1] if index else value[0]
                value = np.sqrt(value) if key == "cond_sd" else value
                assert abs(value - expected) <= 1e-7 * (1 + abs(expected)), label

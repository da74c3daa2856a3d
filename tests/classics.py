"""Classic models and data whose posteriors are known, and a comparison of `Collapsed` with them.

`data/classics.json.gz` has for every case its data, their source, and for every scalar the posterior mean,
sd and quantiles: computed by quadrature with NumPy and SciPy alone, or (where `exact` is false) from
posteriordb's reference draws, with their Monte Carlo errors. `points` are values of log p(y | kept) with
everything else integrated out, and conditional moments there.
"""

from __future__ import annotations

import dataclasses
import functools
import gzip
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import plate, sample
from numpyro.contrib.control_flow import scan
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.distributions import constraints
from numpyro.infer import MCMC

import conjugate_ppl as cj

__all__ = ["CASES", "Case", "compare", "element", "trusted"]

Samples = dict[str, np.ndarray]

# -- models, as their authors write them -------------------------------------------------------------


def rates():
    for name, (k, n) in {"one": (5, 10), "two": (5, 10), "three": (7, 10), "six": (1, 15)}.items():
        theta = sample(f"theta_{name}", dist.Beta(1, 1))
        sample(f"k_{name}", dist.Binomial(n, theta), obs=k)
    theta = sample("theta_four", dist.Beta(1, 1).expand([2]))  # each behind two experiments
    sample("k_four", dist.Binomial(10, theta), obs=jnp.array([[5, 0], [7, 10]]))


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
        theta = numpyro.deterministic("theta", mu + tau * z)
        sample("obs", dist.Normal(theta, sigma), obs=y)


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


def nig(X, y):
    s2 = sample("sigma2", dist.InverseGamma(2.0, 3000.0))
    first = jnp.zeros(X.shape[1]).at[0].set(1.0)
    spread = jnp.sqrt(s2 * (100.0 - 60.0 * first))
    beta = sample("beta", dist.Normal(150.0 * first, spread).to_event(1))
    sample("obs", dist.Normal(X @ beta, jnp.sqrt(s2)), obs=y)


def dyestuff(y, batch):
    mu = sample("mu", dist.Normal(1500, 500))
    sigma_batch = sample("sigma_batch", dist.HalfNormal(100))
    sigma = sample("sigma", dist.HalfNormal(100))
    b = sample("b", dist.Normal(0, sigma_batch).expand([6]).to_event(1))
    sample("obs", dist.Normal(mu + b[batch], sigma), obs=y)


def autoregression(y, K, T):
    alpha = sample("alpha", dist.Normal(0, 10))
    beta = sample("beta", dist.Normal(0, 10).expand([K]))
    sigma = sample("sigma", dist.HalfCauchy(2.5))
    mean = alpha + sum(beta[k] * y[K - 1 - k:T - 1 - k] for k in range(K))
    sample("obs", dist.Normal(mean, sigma), obs=y[K:])


def local_level(y):
    sigma_obs = sample("sigma_obs", dist.HalfNormal(200))
    sigma_level = sample("sigma_level", dist.HalfNormal(200))
    level = sample("level_1", dist.Normal(1000, 1000))
    for t in range(len(y)):
        if t:
            level = sample(f"level_{t + 1}", dist.Normal(level, sigma_level))
        sample(f"y_{t + 1}", dist.Normal(level, sigma_obs), obs=y[t])


def local_level_by_scan(y):
    sigma_obs = sample("sigma_obs", dist.HalfNormal(200))
    sigma_level = sample("sigma_level", dist.HalfNormal(200))
    first = sample("first", dist.Normal(1000, 1000))
    sample("y_first", dist.Normal(first, sigma_obs), obs=y[0])

    def step(before, seen):
        level = sample("level", dist.Normal(before, sigma_level))
        sample("y", dist.Normal(level, sigma_obs), obs=seen)
        return level, None

    scan(step, first, y[1:])


def hearts(x, y, t, N):
    alpha, delta = sample("alpha", dist.Normal(0, 100)), sample("delta", dist.Normal(0, 100))
    with plate("patients", len(y)):
        state = sample("state", dist.Bernoulli(logits=delta))
        p = jnp.where(state == 1, 0.0, jax.nn.sigmoid(alpha))
        sample("obs", dist.Binomial(t.astype(int), probs=p), obs=y)


def electric(grade_pair, pair, grade, treatment, y):
    mua = sample("mua", dist.Normal(0.0, 1.0), sample_shape=(4,))
    sigmay = sample("sigmay", dist.Normal(0.0, 1.0), sample_shape=(4,))
    a = sample("a", dist.Normal(100.0 * mua[grade_pair - 1], 1.0))
    b = sample("b", dist.Normal(0.0, 100.0), sample_shape=(4,))
    mean = a[pair - 1] + b[grade - 1] * treatment
    sample("obs", dist.Normal(mean, jnp.exp(sigmay[grade - 1])), obs=y)


def rats(N, Npts, rat, x, y, xbar):
    m_a, m_b = sample("mu_alpha", dist.Normal(0, 100)), sample("mu_beta", dist.Normal(0, 100))
    positive = dist.ImproperUniform(constraints.positive, (), ())
    s_y, s_a, s_b = (sample(k, positive) for k in ("sigma_y", "sigma_alpha", "sigma_beta"))
    with plate("rats", N):
        a, b = sample("alpha", dist.Normal(m_a, s_a)), sample("beta", dist.Normal(m_b, s_b))
    sample("obs", dist.Normal(a[rat - 1] + b[rat - 1] * (x - xbar), s_y), obs=y)


def radon_hierarchical_intercept(J, N, county_idx, log_uppm, floor_measure, log_radon):
    mu = sample("mu_alpha", dist.Normal(0, 10))
    beta = sample("beta", dist.Normal(0, 10).expand([2]).to_event(1))
    s_a, s_y = sample("sigma_alpha", dist.HalfNormal(1)), sample("sigma_y", dist.HalfNormal(1))
    with plate("county", J):
        a = sample("alpha", dist.Normal(mu, s_a))
    mean = a[county_idx - 1] + beta[0] * log_uppm + beta[1] * floor_measure
    sample("obs", dist.Normal(mean, s_y), obs=log_radon)


def radon_variable_intercept(J, N, county_idx, log_uppm, floor_measure, log_radon):
    mu, beta = sample("mu_alpha", dist.Normal(0, 10)), sample("beta", dist.Normal(0, 10))
    s_a, s_y = sample("sigma_alpha", dist.HalfNormal(1)), sample("sigma_y", dist.HalfNormal(1))
    with plate("county", J):
        a = sample("alpha", dist.Normal(mu, s_a))
    sample("obs", dist.Normal(a[county_idx - 1] + beta * floor_measure, s_y), obs=log_radon)


def radon_variable_intercept_slope(J, N, county_idx, log_uppm, floor_measure, log_radon):
    m_a, m_b = sample("mu_alpha", dist.Normal(0, 10)), sample("mu_beta", dist.Normal(0, 10))
    s_a, s_b = sample("sigma_alpha", dist.HalfNormal(1)), sample("sigma_beta", dist.HalfNormal(1))
    s_y = sample("sigma_y", dist.HalfNormal(1))
    with plate("county", J):
        a, b = sample("alpha", dist.Normal(m_a, s_a)), sample("beta", dist.Normal(m_b, s_b))
    mean = a[county_idx - 1] + b[county_idx - 1] * floor_measure
    sample("obs", dist.Normal(mean, s_y), obs=log_radon)


def penicillin(y, plate_, sample_):
    mu = sample("mu", dist.Normal(23, 10))
    sigma = sample("sigma", dist.HalfNormal(5))
    p = sample("plate", dist.Normal(0, sample("sigma_plate", dist.HalfNormal(5))).expand([24]))
    s = sample("sample", dist.Normal(0, sample("sigma_sample", dist.HalfNormal(5))).expand([6]))
    sample("obs", dist.Normal(mu + p[plate_] + s[sample_], sigma), obs=y)


def sleepstudy(y, days, subject):
    beta = sample("beta", dist.Normal(jnp.array([250.0, 10.0]), jnp.array([100.0, 20.0])))
    sd = sample("sd", dist.HalfNormal(jnp.array([50.0, 20.0])))
    lower = sample("L", dist.LKJCholesky(2, 2.0))
    sigma = sample("sigma", dist.HalfNormal(50))
    with plate("subjects", 18):
        u = sample("u", dist.MultivariateNormal(jnp.zeros(2), scale_tril=sd[:, None] * lower))
    mean = beta[0] + u[subject, 0] + (beta[1] + u[subject, 1]) * days
    sample("obs", dist.Normal(mean, sigma), obs=y)


def pupil(subj, load, p_size):
    lower = sample("L", dist.LKJCholesky(2))
    tau = sample("tau_u", dist.HalfNormal(1000), sample_shape=(2,))
    alpha, beta = sample("alpha", dist.Normal(1000, 500)), sample("beta", dist.Normal(0, 100))
    sigma = sample("sigma", dist.HalfNormal(1000))
    prior = dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.diag(tau) @ lower)
    u = sample("u", prior, sample_shape=(20,))
    mean = alpha + u[subj][..., 0] + load * (beta + u[subj][..., 1])
    sample("y", dist.Normal(mean, sigma), obs=p_size)


def birats(Y, x, R):
    mu = sample("mu", dist.Normal(0, jnp.sqrt(1e5)).expand([2]).to_event(1))
    omega = sample("Omega", dist.Wishart(2.0, rate_matrix=R))
    tau = sample("tau", dist.Gamma(0.001, 0.001))
    with plate("rats", len(Y)):
        b = sample("b", dist.MultivariateNormal(mu, precision_matrix=omega))
        mean = b[..., :1] + b[..., 1:] * (x - x.mean())
        sample("obs", dist.Normal(mean, 1 / jnp.sqrt(tau)).to_event(1), obs=Y)


def hidden_markov(N, K, y):
    mu = sample("mu", dist.ImproperUniform(constraints.positive_ordered_vector, (), (K,)))
    sample("mu_prior", dist.Normal(jnp.array([3.0, 10.0]), 1.0), obs=mu)
    theta = sample("theta", dist.Dirichlet(jnp.ones((K, K))).to_event(1))
    first = sample("first", dist.Categorical(jnp.ones(K) / K))
    sample("y_first", dist.Normal(mu[first], 1.0), obs=y[0])

    def step(before, seen):
        z = sample("z", dist.Categorical(theta[before]))
        sample("y", dist.Normal(mu[z], 1.0), obs=seen)
        return z, None

    scan(step, first, y[1:])


def mixture(N, y):
    mu = sample("mu", dist.ImproperUniform(constraints.ordered_vector, (), (2,)))
    sample("mu_prior", dist.Normal(0.0, 2.0), obs=mu)
    sigma = sample("sigma", dist.HalfNormal(2.0).expand([2]))
    theta = sample("theta", dist.Beta(5.0, 5.0))
    with plate("n", N):
        second = sample("second", dist.Bernoulli(1 - theta))
        sample("y", dist.Normal(mu[second], sigma[second]), obs=y)


def garch(T, y, sigma1):
    mu = sample("mu", dist.ImproperUniform(constraints.real, (), ()))
    alpha0 = sample("alpha0", dist.ImproperUniform(constraints.positive, (), ()))
    alpha1 = sample("alpha1", dist.Uniform(0, 1))
    share = sample("share", dist.Uniform(0, 1))
    beta1 = numpyro.deterministic("beta1", share * (1 - alpha1))  # flat below 1 - alpha1
    numpyro.factor("volume", jnp.log1p(-alpha1))

    def step(variance, before):
        variance = alpha0 + alpha1 * (before - mu) ** 2 + beta1 * variance
        return variance, variance

    _, later = jax.lax.scan(step, sigma1**2, y[:-1])
    scale = jnp.sqrt(jnp.concatenate([jnp.array([sigma1**2]), later]))
    sample("obs", dist.Normal(mu, scale), obs=y)


def gaussian_process(N, x, y, k):
    rho, alpha = sample("rho", dist.Gamma(25, 4)), sample("alpha", dist.HalfNormal(2))
    kernel = alpha**2 * jnp.exp(-0.5 * ((x[:, None] - x) / rho) ** 2) + 1e-10 * jnp.eye(N)
    white = sample("white", dist.Normal(0, 1).expand([N]))
    f = numpyro.deterministic("f", jnp.linalg.cholesky(kernel) @ white)
    sample("obs", dist.Poisson(jnp.exp(f)), obs=k)


def regression(y, X, beta, sigma):
    """A linear regression with priors for the coefficients and the scale."""
    b = sample("beta", beta(X.shape[1]))
    sample("obs", dist.Normal(X @ b, sample("sigma", sigma)), obs=y)


# -- regressions: priors, responses, columns ------------------------------------------------------------


def _flat(p):
    return dist.ImproperUniform(constraints.real, (p,), ())


def _normal(p):
    return dist.Normal(0, 10).expand([p])


_FLAT_SCALE = dist.ImproperUniform(constraints.positive, (), ())
_LOG = {name: f"log {name}" for name in ("diam1", "diam2", "canopy_height", "total_height", "density")}
_NES = ["real_ideo", "race_adj", "age 2", "age 3", "age 4", "educ1", "gender", "income"]
_REGRESSIONS: dict[str, tuple[str, list[str]]] = {
    "earnings_earn_height": ("earn", ["height"]),
    "earnings_log10earn_height": ("log10 earn", ["height"]),
    "earnings_logearn_height": ("log earn", ["height"]),
    "earnings_logearn_height_male": ("log earn", ["height", "male"]),
    "earnings_logearn_interaction": ("log earn", ["height", "male", "height*male"]),
    "earnings_logearn_logheight_male": ("log earn", ["log height", "male"]),
    "kidiq_kidscore_momhs": ("kid_score", ["mom_hs"]),
    "kidiq_kidscore_momiq": ("kid_score", ["mom_iq"]),
    "kidiq_kidscore_momhsiq": ("kid_score", ["mom_hs", "mom_iq"]),
    "kidiq_kidscore_interaction": ("kid_score", ["mom_hs", "mom_iq", "mom_hs*mom_iq"]),
    "kidiq_with_mom_work_kidscore_interaction_c":
        ("kid_score", ["centred mom_hs", "centred mom_iq", "centred mom_hs*centred mom_iq"]),
    "kidiq_with_mom_work_kidscore_interaction_z":
        ("kid_score", ["scaled mom_hs", "scaled mom_iq", "scaled mom_hs*scaled mom_iq"]),
    "kidiq_with_mom_work_kidscore_mom_work": ("kid_score", ["work 2", "work 3", "work 4"]),
    "mesquite_logmesquite": ("log weight", [*_LOG.values(), "group"]),
    "mesquite_logmesquite_logva": ("log weight", ["log volume", "log area", "group"]),
    "mesquite_logmesquite_logvas":
        ("log weight", ["log volume", "log area", "log shape", "log total_height", "log density", "group"]),
    "mesquite_logmesquite_logvash":
        ("log weight", ["log volume", "log area", "log shape", "log total_height", "group"]),
    "mesquite_logmesquite_logvolume": ("log weight", ["log volume"]),
    **{f"nes{year}_nes": ("partyid7", _NES) for year in range(1972, 1996, 4)},
}


def _column(data: Samples, text: str) -> np.ndarray:
    """A column by its description."""
    if "*" in text:
        return np.prod([_column(data, t) for t in text.split("*")], 0)
    kind, _, name = text.rpartition(" ")
    if kind in ("age", "work"):
        return (data["age_discrete" if kind == "age" else "mom_work"] == int(name)).astype(float)
    products = {"volume": ("diam1", "diam2", "canopy_height"), "area": ("diam1", "diam2")}
    if name == "shape":
        column = data["diam1"] / data["diam2"]
    else:
        column = np.prod([data[n] for n in products.get(name, (name,))], 0).astype(float)
    if kind in ("centred", "scaled"):
        return (column - column.mean()) / (2 * column.std(ddof=1) if kind == "scaled" else 1.0)
    return {"": np.asarray, "log": np.log, "log10": np.log10}[kind](column)


def _regression_data(name: str, data: Samples) -> dict[str, Any]:
    response, columns = _REGRESSIONS[name]
    y = _column(data, response)
    return {"y": y, "X": np.stack([np.ones(len(y)), *(_column(data, c) for c in columns)], -1)}


# -- cases ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Case:
    """A model with data, and where its scalars are found.

    Attributes:
        model: the model.
        collapsed: latents that are to be collapsed.
        reference: name of the case in the data file.
        data: from the file's data to the model's arguments.
        numbers: scalars that are no element of a site, from samples (draws first).
        kept: from the hyperparameters of a point to values of the kept sites.
        first: the index of a first element in the file.
        double: whether the model itself needs float64.
        accept: the acceptance that NUTS aims at, where its default diverges; None for that.
    """

    model: Callable[..., None]
    collapsed: frozenset[str]
    reference: str
    data: Callable[[dict[str, Any]], dict[str, Any]] = dict
    numbers: Callable[[Samples], Samples] = lambda s: {}
    kept: Callable[[dict[str, float]], dict[str, Any]] = dict
    first: int = 1
    double: bool = False
    accept: float | None = None


def _correlated(sd: list[str]) -> Callable[[dict[str, float]], dict[str, Any]]:
    def kept(hyper: dict[str, float]) -> dict[str, Any]:
        r = hyper["corr"]
        lower = np.array([[1.0, 0.0], [r, math.sqrt(1 - r**2)]])
        name = "sd" if sd[0].startswith("sd") else "tau_u"
        return {name: np.array([hyper[n] for n in sd]), "L": lower, "sigma": hyper["sigma"]}

    return kept


def _birats_kept(hyper: dict[str, float]) -> dict[str, Any]:
    sd, r = np.array([hyper["sd1"], hyper["sd2"]]), hyper["r"]
    covariance = np.outer(sd, sd) * np.array([[1, r], [r, 1]])
    return {"Omega": np.linalg.inv(covariance), "tau": hyper["sigma"] ** -2}


def _birats_numbers(s: Samples) -> Samples:
    covariance = np.linalg.inv(s["Omega"].astype(float))
    sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    return {"sigma.beta[1]": sd[..., 0], "sigma.beta[2]": sd[..., 1],
            "r": covariance[..., 0, 1] / sd[..., 0] / sd[..., 1], "sigma": s["tau"] ** -0.5,
            "mu.beta[1]": s["mu"][..., 0], "mu.beta[2]": s["mu"][..., 1],
            "beta[1,1]": s["b"][..., 0, 0], "beta[1,2]": s["b"][..., 0, 1],
            "alpha0": s["mu"][..., 0] - 22 * s["mu"][..., 1]}


_DIABETES = ["intercept", *(f"beta_{n}" for n in ("age", "sex", "bmi", "bp", *(f"s{k}" for k in range(1, 7))))]
_POOLING: dict[str, Any] = {"model": pooling, "collapsed": frozenset({"phi"}),
                            "numbers": lambda s: {"log_kappa": np.log(s["kappa"])}}
_RADON = frozenset({"mu_alpha", "beta", "alpha"})
CASES: dict[str, Case] = {
    "rate": Case(rates, frozenset({f"theta_{n}" for n in ("one", "two", "three", "four", "six")}), "rate",
                 numbers=lambda s: {"Rate_1.theta": s["theta_one"], "Rate_2.theta1": s["theta_two"],
                                    "Rate_2.theta2": s["theta_three"], "Rate_3.theta": s["theta_four"][..., 0],
                                    "Rate_4.theta": s["theta_six"], "Rate_5.theta": s["theta_four"][..., 1]}),
    "nig_diabetes": Case(nig, frozenset({"beta", "sigma2"}), "nig_diabetes", numbers=lambda s: {
        n: s["beta"][..., k] for k, n in enumerate(_DIABETES)}),
    "eight_schools": Case(eight_schools, frozenset({"mu", "theta"}), "eight_schools"),
    "eight_schools_non_centred":
        Case(eight_schools_non_centred, frozenset({"mu", "z"}), "eight_schools"),
    "pump": Case(pump, frozenset({"theta"}), "pump"),
    "baseball18": Case(reference="baseball18", **_POOLING,
                       data=lambda d: {"y": d["hits"], "n": d["at_bats"]}),
    "baseball_2006": Case(reference="baseball_2006", **_POOLING),
    "rat_tumors": Case(reference="rat_tumors", **_POOLING),
    "dyestuff": Case(dyestuff, frozenset({"mu", "b"}), "dyestuff"),
    "arK": Case(autoregression, frozenset({"alpha", "beta"}), "arK"),
    "nile": Case(local_level, frozenset({f"level_{t}" for t in range(1, 101)}), "nile", numbers=lambda s: {
        f"level[{t}]": s[f"level_{t}"] for t in range(1, 101)}),
    "nile_by_scan": Case(local_level_by_scan, frozenset({"first", "level"}), "nile", numbers=lambda s: {
        "level[1]": s["first"], **{f"level[{t}]": s["level"][..., t - 2] for t in range(2, 101)}}),
    "hearts": Case(hearts, frozenset({"state"}), "hearts", numbers=lambda s: {
        "p": 1 / (1 + np.exp(-s["alpha"])), "beta": np.exp(s["alpha"]), "theta": 1 / (1 + np.exp(-s["delta"]))}),
    "electric": Case(electric, frozenset({"mua", "a", "b"}), "electric"),
    "rats": Case(rats, frozenset({"mu_alpha", "mu_beta", "alpha", "beta"}), "rats"),
    "radon_hierarchical_intercept":
        Case(radon_hierarchical_intercept, _RADON, "radon_hierarchical_intercept"),
    "radon_variable_intercept": Case(radon_variable_intercept, _RADON, "radon_variable_intercept"),
    "radon_variable_intercept_slope": Case(radon_variable_intercept_slope, _RADON | {"mu_beta"},
                                           "radon_variable_intercept_slope"),
    "penicillin": Case(penicillin, frozenset({"mu", "plate", "sample"}), "penicillin", data=lambda d: {
        "y": d["y"], "plate_": d["plate"], "sample_": d["sample"]}),
    "sleepstudy": Case(sleepstudy, frozenset({"beta", "u"}), "sleepstudy", first=0, numbers=lambda s: {
        "sd_intercept": s["sd"][..., 0], "sd_slope": s["sd"][..., 1], "corr": s["L"][..., 1, 0]},
        kept=_correlated(["sd_intercept", "sd_slope"])),
    "pupil": Case(pupil, frozenset({"alpha", "beta", "u"}), "pupil", first=0,
                  numbers=lambda s: {"corr": s["L"][..., 1, 0]}, kept=_correlated(["tau0", "tau1"])),
    "birats_mvn": Case(birats, frozenset({"mu", "b"}), "birats_mvn", numbers=_birats_numbers,
                       kept=_birats_kept),
    "sblri_blr": Case(functools.partial(regression, beta=_normal, sigma=dist.HalfNormal(10)),
                      frozenset({"beta"}), "sblri_blr", data=lambda d: {"y": d["y"], "X": d["X"]}),
    **{name: Case(functools.partial(regression, beta=_flat, sigma=dist.HalfCauchy(2.5)
                                    if name.startswith("kidiq_kid") else _FLAT_SCALE),
                  frozenset({"beta"}), name, data=functools.partial(_regression_data, name))
       for name in _REGRESSIONS},
    "hmm_example": Case(hidden_markov, frozenset({"first", "z"}), "hmm_example", numbers=lambda s: {
        f"theta{i + 1}[{j + 1}]": s["theta"][..., i, j] for i in range(2) for j in range(2)}),
    "low_dim_gauss_mix": Case(mixture, frozenset({"second"}), "low_dim_gauss_mix"),
    "garch": Case(garch, frozenset(), "garch_garch11"),
    "gp_pois_regr": Case(gaussian_process, frozenset(), "gp_pois_regr", double=True, accept=0.99),
}


@functools.cache
def _file() -> dict[str, Any]:
    path = Path(__file__).parent / "data" / "classics.json.gz"
    out: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return out


def trusted(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(arguments of the model, the file's entry) of a case."""
    case, entry = CASES[name], _file()[CASES[name].reference]
    data = _file()[entry["data"]]["data"] if isinstance(entry["data"], str) else entry["data"]
    arrays = {n: np.asarray(x) if isinstance(x, list) else x for n, x in data.items()}
    return case.data(arrays), entry


def compare(name: str, seed: int = 0, draws: int = 2000) -> dict[str, float]:
    """How far the posterior by `Collapsed` is from the trusted one, in Monte Carlo standard errors.

    Four chains in float32 (float64 where the model needs it). Compared are the mean and the mean squared
    distance from the trusted mean; the quantiles where a variance is infinite.

    Raises:
        AssertionError: if the chains themselves are not to be trusted (R-hat, effective size, divergences),
            or the plan is not the one expected.
    """
    case = CASES[name]
    data, entry = trusted(name)
    kernel = cj.Collapsed(case.model, **({} if case.accept is None else {"target_accept_prob": case.accept}))
    mcmc = MCMC(kernel, num_warmup=1000, num_samples=draws, num_chains=4, chain_method="vectorized",
                progress_bar=False)
    mcmc.run(jax.random.key(seed), **data)
    plan = kernel.plan(**data)
    assert set(plan.collapsed) == case.collapsed, plan
    fields = mcmc.get_extra_fields()
    assert not np.any(fields.get("diverging", False)), f"{np.sum(fields['diverging'])} divergences"
    samples = {n: np.asarray(x) for n, x in mcmc.get_samples(group_by_chain=True).items()}
    out: dict[str, float] = {}
    for label, known in entry["params"].items():
        found = element(samples, label, name)
        assert found is not None, label
        x = found.astype(float)
        if not x.std():  # a state as good as certain: so many draws without another one must be likely
            assert abs(x.mean() - known["mean"]) * x.size < 10, label
            continue
        assert split_gelman_rubin(x) < 1.01, (label, split_gelman_rubin(x))
        assert effective_sample_size(x) > 1000, (label, effective_sample_size(x))
        for what, value, target, error in _statements(label, known, x, entry["skip_moments"]):
            size = effective_sample_size(value) if value.std() else value.size
            out[what] = float((value.mean() - target) / math.hypot(value.std() / math.sqrt(size), error))
    return out


def element(samples: Samples, label: str, name: str) -> np.ndarray | None:
    """A scalar of a case by its name in the file, from values (draws first) of sites; None if of none."""
    numbers = CASES[name].numbers(samples)
    if label in numbers:
        return numbers[label]
    found = re.fullmatch(r"(.+)\[([\d,]+)\]", label)
    site, places = (found[1], found[2].split(",")) if found else (label, [])
    index = tuple(int(k) - CASES[name].first for k in places)
    return samples[site][(..., *index)] if site in samples else None


def _statements(label: str, known: dict[str, float], x: np.ndarray, skip: list[str]) -> Any:
    """(name, a function of the draws, its trusted expectation, the error of that)."""
    if label in skip:
        for q in ("q5", "q25", "q50", "q75", "q95"):
            yield f"{label} {q}", (x < known[q]).astype(float), int(q[1:]) / 100, 0.0
        return
    yield f"{label} mean", x, known["mean"], known.get("mcse_mean", 0.0)
    if known.get("sd") is not None:
        yield (f"{label} sd", (x - known["mean"]) ** 2, known["sd"] ** 2,
               2 * known["sd"] * known.get("mcse_sd", 0.0))

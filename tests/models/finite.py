"""Discrete latents that are summed out: mixtures, switches, chains, in ordinary code."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.nn import softplus
from jax.scipy.special import logit
from numpyro import handlers, plate, sample
from numpyro.contrib.control_flow import scan

from models.table import BINARY, COUNT, GROUP, HOLED, SEEN, H, T, X, Y, case

S = 3
STEPS = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
SHORT, FEW = Y[:5], COUNT[:5]
PAIR = np.stack([Y[:4], Y[4:8]])
THERE = np.array([[True] * 4, [True, True, False, False]])
# left to right: no way back, and the last states cannot be reached at once
ONWARD = np.array([[0.7, 0.3, 0.0], [0.0, 0.6, 0.4], [0.0, 0.0, 1.0]])


# -- one latent an element --------------------------------------------------------------------------


@case("k", SHORT, relation="bernoulli-any")
def mixture(y):
    w = sample("w", dist.Dirichlet(jnp.ones(S)))
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]).to_event(1))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(w))
        sample("y", dist.Normal(mu[k], 1.0), obs=y)


@case("k", SHORT)
def mixture_in_logits(y):
    logits = sample("logits", dist.Normal(0.0, 1.0).expand([S]).to_event(1))
    scale = sample("scale", dist.Gamma(2.0, 1.0).expand([S]).to_event(1))
    k = sample("k", dist.Categorical(logits=logits).expand([len(y)]).to_event(1))
    sample("y", dist.Normal(0.0, jnp.take(scale, k)).to_event(1), obs=y)


@case("z", SHORT)
def mixture_by_arithmetic(y):
    a = sample("a", dist.Normal(0.0, 5.0))
    p = sample("p", dist.Beta(2.0, 2.0))
    with plate("n", len(y)):
        z = sample("z", dist.Bernoulli(p))
        sample("y", dist.Normal(z * a - (1 - z) * softplus(a * z), 1.0 + z), obs=y)


@case("z", FEW)
def zero_inflation(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    with plate("n", len(y)):
        z = sample("z", dist.Bernoulli(logits=logit(0.3)))
        sample("y", dist.Poisson(jnp.where(z == 1, rate, 1e-8)), obs=y)


@case("k", np.stack([SHORT, -SHORT], 1))
def mixture_of_vectors(y):
    mu = sample("mu", dist.Normal(jnp.zeros((S, 2)), 3.0).to_event(2))
    root = sample("root", dist.LKJCholesky(2))
    k = sample("k", dist.Categorical(jnp.ones(S) / S).expand([len(y)]))
    sample("y", dist.MultivariateNormal(mu[k], scale_tril=root), obs=y)


@case("k", SHORT, X[:5])
def mixture_of_regressions(y, x):
    b = sample("b", dist.Normal(jnp.zeros((S, 2)), 3.0))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        sample("y", dist.Normal(jnp.sum(x * b[k], -1), 1.0), obs=y)


@case("k", SHORT)
def mixture_on_a_circle(y):
    mu = sample("mu", dist.Uniform(-1.0, 1.0).expand([S]))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        sample("y", dist.VonMises(mu[k], 2.0), obs=jnp.sin(y))


@case("k", SHORT)
def mixture_of_latents(y):
    """What depends on the discrete latent is a latent itself."""
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        x = sample("x", dist.StudentT(3.0, mu[k], 1.0))
        sample("y", dist.Normal(jnp.tanh(x), 1.0), obs=y)


@case("k", HOLED[:5], SEEN[:5])
def mixture_with_missing_rows(y, seen):
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        with handlers.mask(mask=seen):
            sample("y", dist.Normal(mu[k], 1.0), obs=y)


@case("k", SHORT, np.arange(1.0, 6.0))
def mixture_with_weights(y, weight):
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        with handlers.scale(scale=weight):
            sample("y", dist.Normal(mu[k], 1.0), obs=y)


@case("k", FEW)
def mixture_by_factor(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0).expand([S]))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        numpyro.factor("y", y * jnp.log(rate[k]) - rate[k])


@case("k", SHORT)
def masks_that_depend_on_it(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    with plate("n", len(y)):
        k = sample("k", dist.Bernoulli(0.4))
        with handlers.mask(mask=k == 1):
            sample("y", dist.Normal(a, 1.0), obs=y)


@case("k", PAIR)
def mixture_of_rows(y):
    """One latent for all numbers of a row, in nested plates."""
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]))
    with plate("rows", len(y), dim=-2):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
        with plate("columns", y.shape[1], dim=-1):
            sample("y", dist.Normal(mu[k], 1.0), obs=y)


@case("k mu b", Y, GROUP)
def mixture_beside_what_collapses(y, g):
    """Gaussian latents that meet no discrete one are integrated out as ever."""
    b = sample("b", dist.Normal(0.0, 1.0))
    mu = sample("mu", dist.Normal(0.0, 5.0))
    with plate("groups", H):
        centre = sample("centre", dist.Normal(mu, 1.0))
    with plate("n", len(y)):
        k = sample("k", dist.Bernoulli(0.3))
        sample("y", dist.Normal(centre[g], 1.0 + k), obs=y)
    sample("other", dist.Normal(b, 1.0), obs=0.3)


@case("total", FEW[:3])
def unknown_totals(y):
    """Totals below the counts are impossible."""
    p = sample("p", dist.Beta(2.0, 2.0))
    with plate("n", len(y)):
        total = sample("total", dist.DiscreteUniform(1, 7))
        sample("y", dist.Binomial(total, p), obs=y)


# -- one latent for many elements, and several latents -----------------------------------------------


@case("tau rate", FEW)
def change_point(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0).expand([2]).to_event(1))
    tau = sample("tau", dist.DiscreteUniform(1, 4))
    sample("y", dist.Poisson(jnp.where(jnp.arange(len(y)) < tau, rate[0], rate[1])), obs=y)


@case("model b", Y, X)
def choice_of_a_model(y, x):
    b = sample("b", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    model = sample("model", dist.Categorical(jnp.array([0.2, 0.5, 0.3])))
    use = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])[model]
    sample("y", dist.Normal(x @ (use * b), 1.0), obs=y)


@case("m", FEW)
def counts_of_counts(y):
    rate = sample("rate", dist.Gamma(2.0, 1.0))
    with plate("n", len(y)):
        m = sample("m", dist.Binomial(jnp.array([2, 3, 1, 2, 4]), 0.4))
        sample("y", dist.Poisson(rate * (m + 0.5)), obs=y)


@case("a b", SHORT)
def two_latents_an_element(y):
    mu = sample("mu", dist.Normal(jnp.zeros((2, S)), 3.0).to_event(2))
    with plate("n", len(y)):
        a = sample("a", dist.Bernoulli(0.3))
        b = sample("b", dist.Categorical(jnp.ones(S) / S))
        sample("y", dist.Normal(mu[a, b], 1.0), obs=y)


@case("kind k", SHORT)
def classes_in_classes(y):
    mu = sample("mu", dist.Normal(0.0, 3.0).expand([S]))
    g = np.arange(len(y)) % 2
    with plate("groups", 2):
        kind = sample("kind", dist.Bernoulli(0.4))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.asarray(STEPS)[kind[g]]))
        sample("y", dist.Normal(mu[k] + 0.5 * kind[g], 1.0), obs=y)


@case("missing", SHORT)
def covariates_that_are_missing(y):
    """Those that were seen have the others written among them."""
    p = sample("p", dist.Beta(2.0, 2.0))
    b = sample("b", dist.StudentT(3.0, 0.0, 1.0).expand([2]))
    at = np.array([3, 1])
    sample("x", dist.Bernoulli(p).expand([3]), obs=BINARY[:3])
    with plate("holes", 2):
        missing = sample("missing", dist.Bernoulli(p))
    x = jnp.asarray(BINARY[:5]).at[at].set(missing)
    sample("y", dist.Normal(b[0] + b[1] * x, 1.0), obs=y)


# -- a few elements that are used together --------------------------------------------------------------


@case("z", SHORT, np.stack([X[:5, 0], X[:5, 1], T[:5]], 1))
def inclusion_of_covariates(y, x):
    b = sample("b", dist.StudentT(3.0, 0.0, 1.0).expand([3]))
    z = sample("z", dist.Bernoulli(0.4).expand([3]))
    sample("y", dist.Normal(x @ (z * b), 1.0), obs=y)


@case("z", BINARY[:4])
def causes_of_symptoms(y):
    """A noisy or."""
    fails = sample("fails", dist.Beta(2.0, 2.0).expand([2, 4]).to_event(2))
    with plate("causes", 2):
        z = sample("z", dist.Bernoulli(jnp.array([0.2, 0.6])))
    with plate("symptoms", 4):
        sample("y", dist.Bernoulli(1.0 - 0.9 * jnp.prod(jnp.where(z[:, None] == 1, fails, 1.0), 0)), obs=y)


@case("z", SHORT[:3], relation="discrete-chain")
def chains_that_meet_as_a_plate(y):
    """A factorial hidden Markov model: what is seen is a sum over all chains."""
    mu = sample("mu", dist.Normal(0.0, 1.0).expand([3]).to_event(1))

    def step(before, seen):
        with plate("chains", 3):
            z = sample("z", dist.Bernoulli(0.2 + 0.5 * before))
        sample("y", dist.Normal(jnp.sum(mu * z), 0.5), obs=seen)
        return z, None

    scan(step, jnp.zeros(3, int), y)


# -- chains -----------------------------------------------------------------------------------------


@case("z", SHORT, relation="discrete-chain")
def hidden_markov(y):
    steps = sample("steps", dist.Dirichlet(jnp.ones((S, S))).to_event(1))
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]).to_event(1))

    def step(carry, seen):
        before, t = carry
        z = sample("z", dist.Categorical(steps[before]))
        sample("y", dist.Normal(mu[z], 1.0), obs=seen)
        return (z, t + 1), None

    scan(step, (0, 0), y)


@case("z0 z", SHORT)
def hidden_markov_with_a_start(y):
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]))
    z0 = sample("z0", dist.Categorical(jnp.ones(S) / S))

    def step(before, seen):
        z = sample("z", dist.Categorical(jnp.asarray(STEPS)[before]))
        sample("y", dist.Normal(mu[z], 1.0), obs=seen)
        return z, None

    scan(step, z0, y)


@case("z", SHORT)
def hidden_markov_onward(y):
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]))

    def step(before, seen):
        z = sample("z", dist.Categorical(jnp.asarray(ONWARD)[before]))
        sample("y", dist.Normal(mu[z], 1.0), obs=seen)
        return z, z

    scan(step, 0, y)


@case("z", SHORT, T[:5], relation="discrete-chain")
def hidden_markov_with_covariates(y, x):
    b = sample("b", dist.Normal(0.0, 1.0).expand([2]))

    def step(before, seen):
        now, covariate = seen
        z = sample("z", dist.Bernoulli(logits=b[before] + covariate * b[1 - before]))
        sample("y", dist.Normal(2.0 * z - 1.0, 1.0), obs=now)
        return z, None

    scan(step, 0, (y, x))


@case("z", SHORT)
def hidden_markov_backwards(y):
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]))

    def step(after, seen):
        z = sample("z", dist.Categorical(jnp.asarray(STEPS)[after]))
        sample("y", dist.Normal(mu[z], 1.0), obs=seen)
        return z, None

    scan(step, 1, y, reverse=True)


@case("z", PAIR, THERE, relation="discrete-chain")
def several_sequences(y, there):
    steps = sample("steps", dist.Dirichlet(jnp.ones((2, 2))).to_event(1))

    def step(before, seen):
        now, mask = seen
        with plate("sequences", len(y)), handlers.mask(mask=mask):
            z = sample("z", dist.Categorical(steps[before]))
            sample("y", dist.Normal(2.0 * z, 1.0), obs=now)
        return z, None

    scan(step, jnp.zeros(len(y), int), (y.T, there.T))


@case("kind z", PAIR)
def kinds_of_sequences(y):
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]))
    both = jnp.stack([jnp.asarray(STEPS), jnp.asarray(STEPS)[::-1]])
    with plate("sequences", len(y)):
        kind = sample("kind", dist.Bernoulli(0.4))

    def step(before, seen):
        with plate("sequences", len(y)):
            z = sample("z", dist.Categorical(both[kind, before]))
            sample("y", dist.Normal(mu[z], 1.0), obs=seen)
        return z, None

    scan(step, jnp.zeros(len(y), int), y.T)


@case("z w", SHORT[:4])
def hidden_markov_of_mixtures(y):
    mu = sample("mu", dist.Normal(jnp.zeros((2, 2)), 3.0).to_event(2))

    def step(before, seen):
        z = sample("z", dist.Categorical(jnp.array([[0.8, 0.2], [0.3, 0.7]])[before]))
        w = sample("w", dist.Bernoulli(0.2 + 0.5 * z))
        sample("y", dist.Normal(mu[z, w], 1.0), obs=seen)
        return z, None

    scan(step, 0, y)


@case("z0 z1 z2 z3", SHORT[:4])
def hidden_markov_as_a_python_loop(y):
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]))
    z = 0
    for t, seen in enumerate(y):
        z = sample(f"z{t}", dist.Categorical(jnp.asarray(STEPS)[z]))
        sample(f"y{t}", dist.Normal(mu[z], 1.0), obs=seen)


@case("z", SHORT[:4])
def chain_of_a_vector(y):
    """A chain without a loop: the steps stand in a `factor`."""
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([2]))
    z = sample("z", dist.Bernoulli(0.5).expand([len(y)]))
    numpyro.factor("steps", jnp.where(z[1:] == z[:-1], 0.0, -1.5))
    sample("y", dist.Normal(mu[z], 1.0), obs=y)


@case("z", BINARY[:4], relation="discrete-chain")
def autologistic_chain(y):
    b = sample("b", dist.Normal(0.0, 1.0))

    def step(carry, seen):
        before, total = carry
        z = sample("z", dist.Bernoulli(logits=b * (2.0 * before - 1.0) + 0.1 * total))
        sample("y", dist.Bernoulli(0.2 + 0.6 * z), obs=seen)
        return (z, total + 1.0), None

    scan(step, (0, 0.0), y)


# -- chains of a higher order, chains that meet, small graphs ------------------------------------------


@case("z", SHORT)
def chain_of_order_two(y):
    mu = sample("mu", dist.Normal(0.0, 3.0).expand([2]))

    def step(carry, seen):
        one, two = carry
        z = sample("z", dist.Bernoulli(0.2 + 0.3 * one + 0.2 * two))
        sample("y", dist.Normal(mu[z], 1.0), obs=seen)
        return (z, one), None

    scan(step, (0, 1), y)


@case("z0 z1 z2 z3 z4", SHORT)
def chain_of_order_two_as_a_python_loop(y):
    b = sample("b", dist.Normal(0.0, 1.0).expand([3]))
    one, two = 0, 1
    for t, seen in enumerate(y):
        z = sample(f"z{t}", dist.Categorical(logits=b * (1.0 + one - 0.5 * two)))
        sample(f"y{t}", dist.Normal(1.0 * z, 1.0), obs=seen)
        one, two = z, one


@case("kind z", PAIR)
def chains_of_order_two_of_kinds(y):
    """The emissions differ with the states of two steps."""
    mu = sample("mu", dist.Normal(0.0, 3.0).expand([2, 2]))
    with plate("sequences", len(y)):
        kind = sample("kind", dist.Bernoulli(0.4))

    def step(carry, seen):
        one, two = carry
        with plate("sequences", len(y)):
            z = sample("z", dist.Bernoulli(0.2 + 0.3 * one + 0.2 * two + 0.2 * kind))
            sample("y", dist.Normal(mu[z, one], 1.0), obs=seen)
        return (z, one), None

    scan(step, (jnp.zeros(len(y), int), jnp.zeros(len(y), int)), y.T)


@case("a b", SHORT[:4])
def chains_that_meet(y):
    """A factorial hidden Markov model."""
    mu = sample("mu", dist.Normal(0.0, 3.0).expand([2, S]))

    def step(carry, seen):
        a = sample("a", dist.Bernoulli(0.2 + 0.5 * carry[0]))
        b = sample("b", dist.Categorical(jnp.asarray(STEPS)[carry[1]]))
        sample("y", dist.Normal(mu[a, b], 1.0), obs=seen)
        return (a, b), None

    scan(step, (0, 0), y)


@case("z", Y[:6].reshape(2, 3))
def grid(y):
    b = sample("b", dist.Normal(0.0, 1.0))
    z = sample("z", dist.Bernoulli(0.4).expand([2, 3]).to_event(2))
    numpyro.factor("down", b * jnp.where(z[1:] == z[:-1], 1.0, 0.0))
    numpyro.factor("across", b * jnp.where(z[:, 1:] == z[:, :-1], 1.0, 0.0))
    sample("y", dist.Normal(2.0 * z, 1.0).to_event(2), obs=y)


@case("z", SHORT)
def ring(y):
    b = sample("b", dist.Normal(0.0, 1.0))
    z = sample("z", dist.Categorical(jnp.ones(S) / S).expand([len(y)]))
    numpyro.factor("ring", b * jnp.where(z == jnp.roll(z, 1), 1.0, 0.0))
    sample("y", dist.Normal(1.0 * z, 1.0), obs=y)


@case("g0 g1 g2 g3 g4 g5", BINARY[:3])
def pedigree(y):
    """Genes of two founders, their children, and the child of one of these and another founder."""
    risk = sample("risk", dist.Beta(2.0, 2.0).expand([3]).to_event(1))
    copies = dist.Binomial(2, 0.3)

    def child(name, one, other):
        p, q = 0.5 * one, 0.5 * other
        return sample(name, dist.Categorical(jnp.stack([(1 - p) * (1 - q), p + q - 2 * p * q, p * q])))

    g0, g1, g2 = (sample(f"g{i}", copies) for i in range(3))
    g3, g4 = child("g3", g0, g1), child("g4", g0, g1)
    g5 = child("g5", g3, g2)
    for i, g in enumerate((g3, g4, g5)):
        sample(f"y{i}", dist.Bernoulli(risk[g]), obs=y[i])


@case("a b", SHORT[:3])
def elements_that_meet_twice(y):
    """What the first element of `a` leaves is of one element of `b`, what the second leaves of two."""
    c = sample("c", dist.Normal(0.0, 1.0).expand([2, S]))
    a = sample("a", dist.Bernoulli(0.4).expand([2]))
    b = sample("b", dist.Categorical(jnp.ones(S) / S).expand([3]))
    numpyro.factor("one", c[a, b[np.array([0, 1])]])
    numpyro.factor("other", jnp.sin(c)[a, b[np.array([0, 2])]])
    sample("y", dist.Normal(1.0 * b, 1.0), obs=y)


# -- factors that are added up ----------------------------------------------------------------------


@case("k", Y[:12])
def mixture_by_a_sum(y):
    """A cell a row, not one of 3**12 states."""
    mu = sample("mu", dist.Normal(0.0, 5.0).expand([S]).to_event(1))
    with plate("n", len(y)):
        k = sample("k", dist.Categorical(jnp.ones(S) / S))
    numpyro.factor("y", dist.Normal(mu[k], 1.0).log_prob(y).sum())


@case("z", Y[:12])
def steps_by_a_sum(y):
    stay = sample("stay", dist.Normal(0.0, 1.0))
    z = sample("z", dist.Categorical(jnp.ones(S) / S).expand([len(y)]).to_event(1))
    numpyro.factor("steps", jnp.sum(jnp.where(z[1:] == z[:-1], stay, -1.5)))
    sample("y", dist.Normal(1.0 * z, 1.0).to_event(1), obs=y)

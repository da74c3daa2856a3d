"""How the latent is used."""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro import sample
from numpyro.contrib.control_flow import scan
from numpyro.distributions import constraints

from declined.table import GROUP, POSITIVE, N, Y, declines


@declines("a", "an index that depends on a latent", Y)
def latent_as_an_index(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    b = jnp.arange(5.0)
    where = jnp.clip(a, 0, 4).astype(int)
    sample("y", dist.Normal(b[where], 1.0), obs=y)  # here


@declines("a", "conversion", Y)
def cast_to_whole_numbers(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a.astype(int), 1.0), obs=y)  # here


@declines("a", "conversion", Y)
def cast_to_fewer_digits(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(a.astype(jnp.float16), 1.0), obs=y)  # here


@declines("b", "", Y)
def look_up_out_of_range(y):
    b = sample("b", dist.Normal(jnp.zeros(3), 1.0))
    sample("y", dist.Normal(b.at[jnp.asarray(GROUP) + 1].get(mode="fill", fill_value=0.0), 1.0), obs=y)  # here


@declines("a", "pure_callback", Y)
def callback(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    out = jax.pure_callback(lambda v: 2 * v, jax.ShapeDtypeStruct((), a.dtype), a)  # here
    sample("y", dist.Normal(out, 1.0), obs=y)


@declines("a", "while", Y)
def loop_of_unknown_length(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    last = jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] + a), (0, 0.0 * a))  # here
    sample("y", dist.Normal(last[1], 1.0), obs=y)


@declines("a", "stop_gradient", Y)
def stopped_gradient(y):
    a = sample("a", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(jax.lax.stop_gradient(a), 1.0), obs=y)  # here


@declines("a", "sort", Y)
def sorted_latent(y):
    a = sample("a", dist.Normal(jnp.zeros(N), 1.0))
    sample("y", dist.Normal(jnp.sort(a), 1.0), obs=y)  # here


@declines("x", "its elements depend on each other", POSITIVE)
def chain_of_gammas(y):
    def step(x, seen):
        x = sample("x", dist.Gamma(2.0, x))
        sample("y", dist.Exponential(x), obs=seen)
        return x, None

    scan(step, 1.0, y)  # here


@declines("x", "`sin`", Y, relation="gaussian-chain")
def state_space_with_a_curved_step(y):
    def step(x, seen):
        x = sample("x", dist.Normal(jnp.sin(x), 1.0))  # here
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 0.0, y)


@declines("h", "`h` goes through `exp`", Y)
def stochastic_volatility(y):
    def step(h, seen):
        h = sample("h", dist.Normal(0.9 * h, 0.3))
        sample("y", dist.Normal(0.0, jnp.exp(h / 2)), obs=seen)  # here
        return h, None

    scan(step, 0.0, y)


@declines("x", "another order", Y, collapsed="start")
def loop_that_runs_backwards(y):
    start = sample("start", dist.Normal(0.0, 2.0))

    def step(x, seen):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, start, y, reverse=True)  # here


@declines("b", "rank 1 of 2", Y, collapsed="x a")
def flat_start_and_level_of_the_steps(y):
    b = sample("b", dist.ImproperUniform(constraints.real, (), ()))  # here
    a = sample("a", dist.ImproperUniform(constraints.real, (), ()))

    def step(x, seen):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(x + a, 0.5), obs=seen)
        return x, None

    scan(step, b, y)


@declines("b", "would have to be carried from step to step", Y, collapsed="x")
def too_many_coefficients_that_all_steps_share(y):
    b = sample("b", dist.Normal(0.0, 1.0).expand([65]))  # here

    def step(carry, seen):
        x, t = carry
        x = sample("x", dist.Normal(0.5 * x, 1.0).to_event(1))
        sample("y", dist.Normal(x[0] + x[11] + jnp.sum(jnp.cos(t * jnp.arange(65.0)) * b), 0.5), obs=seen)
        return (x, t + 1.0), None

    scan(step, (jnp.zeros(12), 0.0), y)  # more numbers than coefficients


@declines("x0", "how much the steps of a chain say of it depends on kept sites", Y, collapsed="x")
def flat_start_of_a_chain(y):
    """Where phi is 0 nothing is known of it."""
    phi = sample("phi", dist.Uniform(-1.0, 1.0))
    x0 = sample("x0", dist.ImproperUniform(constraints.real, (), ()))  # here

    def step(x, seen):
        x = sample("x", dist.Normal(phi * x, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, x0, y)


@declines("x0", "how much the steps of a chain say of it depends on kept sites", Y, collapsed="x")
def flat_start_under_a_loading(y):
    """Likewise where the loading is."""
    loading = sample("loading", dist.StudentT(3.0, 0.0, 1.0))
    x0 = sample("x0", dist.ImproperUniform(constraints.real, (), ()))  # here

    def step(x, seen):
        x = sample("x", dist.Normal(x, 1.0))
        sample("y", dist.Normal(loading * x, 0.5), obs=seen)
        return x, None

    scan(step, x0, y)


@declines("e", "`tanh`", Y)
def curved_recursion(y):
    def step(x, seen):
        x = jnp.tanh(x) + sample("e", dist.Normal(0.0, 1.0))  # here
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 0.0, y)


@declines("phi", "multiplies what is carried", Y, collapsed="e")
def unknown_coefficient_of_a_recursion(y):
    phi = sample("phi", dist.Normal(0.0, 0.5))

    def step(x, seen):
        x = phi * x + sample("e", dist.Normal(0.0, 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 0.0, y)  # here


@declines("e", "multiplies what is carried", Y)
def growth_by_random_rates(y):
    def step(x, seen):
        x = x * (1.0 + sample("e", dist.Normal(0.0, 0.1)))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return x, None

    scan(step, 1.0, y)  # here


@declines("e", "`exp`", Y)
def running_sum_of_exponentials(y):
    e = sample("e", dist.Normal(0.0, 1.0).expand([N]))
    sample("y", dist.Normal(jnp.cumsum(jnp.exp(e)), 0.5), obs=y)  # here


@declines("x", "not linear in what is carried", Y)
def lags_by_a_latent_choice(y):
    """Which of two lags is carried on depends on the state."""
    def step(c, seen):
        x = sample("x", dist.Normal(0.5 * c[0], 1.0))
        sample("y", dist.Normal(x, 0.5), obs=seen)
        return jnp.where(c[1] > 0, jnp.stack([x, c[0]]), jnp.stack([c[0], x])), None

    scan(step, jnp.zeros(2), y)  # here


@declines("a", "a loop within a function that has a derivative of its own", Y, collapsed="b")
def loop_within_a_function_with_its_own_derivative(y):
    """So is a differential equation solved."""
    def grown(a):
        return jax.lax.scan(lambda c, _: (c + 0.1 * a * c, c), 1.0, None, 5)[1]  # here

    solved = jax.custom_jvp(grown)
    solved.defjvp(lambda primals, tangents: jax.jvp(grown, primals, tangents))
    a, b = sample("a", dist.Normal(0.0, 1.0)), sample("b", dist.Normal(0.0, 1.0))
    sample("y", dist.Normal(b + solved(a).sum(), 1.0), obs=y)

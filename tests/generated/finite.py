"""Latents of finitely many states, and chains: mixtures, hidden Markov models, local levels."""

from __future__ import annotations

from generated.gaussian import positive, rows
from generated.writer import Writer

__all__ = ["classes", "level", "markov", "matrix"]

_WEIGHTS = {2: "jnp.array([0.3, 0.7])", 3: "jnp.array([0.2, 0.3, 0.5])"}
_MOVES = {2: "jnp.array([[0.8, 0.2], [0.3, 0.7]])",
          3: "jnp.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])"}


def _emission(w: Writer, z: str, k: int) -> str:
    """The law of what is seen in state `z`, a number or an array of them."""
    law = w.choose(["normal", "poisson", "bernoulli", "scaled", "exponential"])
    w.note(f"emission {law}")
    if law in ("normal", "scaled"):
        mu = w.latent("mu", f"dist.Normal(jnp.arange({k}.0), 1.0)", (k,), "real").name \
            if w.chance() else f"jnp.arange({k}.0)"
        spelled = [f"{mu}[{z}]", f"jnp.take({mu}, {z}, mode='clip')", f"jax.nn.one_hot({z}, {k}) @ {mu}"]
        if k == 2:
            spelled.append(f"jnp.where({z} == 1, {mu}[1], {mu}[0])")
        sd = f"(0.5 + {z})" if law == "scaled" else positive(w)
        return f"dist.Normal({w.choose(spelled)}, {sd})"
    if law == "poisson":
        return f"dist.Poisson(jnp.exp(0.5 * {z}) * {positive(w)})"
    if law == "bernoulli":
        p = w.latent("p", f"dist.Beta(2.0, 2.0).expand([{k}])", (k,), "unit").name
        return f"dist.Bernoulli({p}[{z}])"
    return f"dist.Exponential(1.0 + {z}**2)"


def _weights(w: Writer, k: int) -> str:
    kind = w.choose(["known", "dirichlet", "logits"])
    w.note(f"weights {kind}")
    if kind == "known":
        return f"probs={_WEIGHTS[k]}"
    if kind == "dirichlet":
        return f'probs={w.latent("phi", f"dist.Dirichlet(jnp.ones({k}))", (k,), "simplex").name}'
    return f'logits={w.latent("logits", f"dist.Normal(0.0, 1.0).expand([{k}])", (k,), "real").name}'


def classes(w: Writer) -> None:
    """A class of each row, of each group of rows, or of everything."""
    k, n = w.choose([2, 3]), w.choose([3, 1, 2])
    law = f"dist.Categorical({_weights(w, k)})"
    if k == 2 and w.chance():
        law = "dist.Bernoulli(0.4)"
    size = w.choose(["rows", "groups", "one"])
    w.note(f"classes of {size}")
    if size == "one":
        z = w.latent("class", law, (), "whole", must=True).name
    else:
        count = n if size == "rows" else w.choose([2, 1])
        z = w.many("class", law, count, False, "whole", must=True).name
        if size == "groups":
            z = f"{z}[{w.constant('g', f'rng.integers(0, {count}, {n})')}]"
    for _ in range(1 + w.chance(25)):
        seen = _emission(w, z, k)
        rows(w, f"{seen}.expand([{n}])" if size == "one" else seen, n)


def markov(w: Writer) -> None:
    """A hidden Markov model, by NumPyro's scan or as a loop."""
    k, n = w.choose([2, 3]), w.choose([3, 2, 4])
    moves = _MOVES[k]
    if w.chance():
        moves = w.latent("moves", f"dist.Dirichlet(jnp.ones(({k}, {k})))", (k, k), "simplex").name
    state = w.name("state")
    seen = _emission(w, state, k)
    if w.chance(60):
        w.note("markov scan")
        w.help("from numpyro.contrib.control_flow import scan")
        name = w.seen()
        w.line(f"def step_of_{state}(before, row):")
        w.line(f'    {state} = numpyro.sample("{state}", dist.Categorical({moves}[before]))')
        w.line(f'    numpyro.sample("{name}", {seen}, obs=row)')
        w.line(f"    return {state}, {state}")
        w.line(f"{state} = scan(step_of_{state}, 0, {name}, length={n})[1]")
        w.expect(state, (n,), "whole", must=True)
        return
    w.note("markov loop")
    w.line(f"{state} = {w.choose(['0', '1'])}")
    for _ in range(n):
        z = w.latent("z", f"dist.Categorical({moves}[{state}])", (), "whole", must=True).name
        w.line(f"{state} = {z}")
        w.observe(seen)


def level(w: Writer) -> None:
    """A level or an autoregression observed within NumPyro's scan, perhaps with a trend."""
    w.help("from numpyro.contrib.control_flow import scan")
    n, noise, sd = w.choose([3, 1, 2]), positive(w), positive(w)
    rho = w.choose(["", "0.7 * "])
    if w.chance(30):
        rho = f'{w.latent("rho", "dist.Uniform(-1.0, 1.0)", (), "unit").name} * '
    x, name = w.name("level"), w.seen()
    trend = w.name("trend") if w.chance(30) else ""
    w.note("level with trend" if trend else "level")
    w.line(f"def step_of_{x}(carry, row):")
    w.line("    before, slope = carry")
    if trend:
        w.line(f'    slope = {trend} = numpyro.sample("{trend}", dist.Normal(slope, 0.5))')
    w.line(f'    {x} = numpyro.sample("{x}", dist.Normal({rho}before + slope, {sd}))')
    seen = w.choose([f"dist.Normal({x}, {noise})", f"dist.LogNormal(0.5 * {x} - 1.0, {noise})"])
    w.line(f'    numpyro.sample("{name}", {seen}, obs=row)')
    both = f"({x}, {trend})" if trend else x
    w.line(f"    return ({x}, slope), {both}")
    w.line(f"{both.strip('()')} = scan(step_of_{x}, (0.5, 0.1), {name}, length={n})[1]")
    w.expect(x, (n,), "real", must=True)
    if trend:
        w.expect(trend, (n,), "real", must=True)


def matrix(w: Writer) -> None:
    """Coefficients of several responses, by products of matrices."""
    n, p, q = w.choose([3, 2]), w.choose([2, 1]), w.choose([2, 1])
    x = w.constant("x", f"rng.normal(size=({n}, {p}))")
    way = w.choose(["expand", "plates", "sample_shape", "rows"])
    sd = positive(w)
    w.note(f"matrix {way}")
    if way == "plates":
        with w.within(f'numpyro.plate("{w.name("plate")}", {p}, dim=-2), '
                      f'numpyro.plate("{w.name("plate")}", {q}, dim=-1)'):
            b = w.latent("matrix", f"dist.Normal(0.0, {sd})", (p, q), "real", must=True).name
    elif way == "rows":
        b = w.latent("matrix", f"dist.MultivariateNormal(jnp.zeros({q}), {sd} * (jnp.eye({q}) + 0.2))", (p, q),
                     "real", f", sample_shape=({p},)", must=True).name
    elif way == "sample_shape":
        b = w.latent("matrix", f"dist.Normal(0.0, {sd})", (p, q), "real", f", sample_shape=({p}, {q})",
                     must=True).name
    else:
        b = w.latent("matrix", f"dist.Normal(0.0, {sd}).expand([{p}, {q}]).to_event(2)", (p, q), "real",
                     must=True).name
    eta = w.choose([f"{x} @ {b}", f"jnp.einsum('ij,jk->ik', {x}, {b})", f"({b}.T @ {x}.T).T",
                    f"({x}[:, :, None] * {b}).sum(1)", f"jax.vmap(lambda row: row @ {b})({x})",
                    f"jnp.tensordot({x}, {b}, 1)", f"jnp.matmul({x}[None], {b}[None])[0]"])
    noise = positive(w)
    if w.chance():
        c = w.constant("c", f"np.eye({q}) + 0.4")
        w.observe(f"dist.MultivariateNormal({eta}, covariance_matrix={noise} * {c})")
    else:
        w.observe(f"dist.Normal({eta}, {noise}).to_event({w.choose([0, 1, 2])})")

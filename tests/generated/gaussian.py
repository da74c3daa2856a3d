"""Gaussian hierarchies: effects of every kind, links, spellings of scales, likelihoods."""

from __future__ import annotations

from generated.writer import Writer

__all__ = ["gaussian", "grid", "positive", "rows", "scale"]

Text = tuple[str, bool]  # an expression, and whether it is a vector


def gaussian(w: Writer) -> None:
    """A sum of effects, observed with Gaussian noise (once, or twice with different noise)."""
    n = w.choose([3, 1, 2, 6])
    terms = []
    for _ in range(w.choose([1, 2, 3])):
        effect = w.choose([_scalar, _groups, _coefficients, _slopes, _walk, _noncentred, _chain, _flat,
                           _discrete, _scan])
        w.note(f"effect {effect.__name__[1:]}")
        terms.append(effect(w, n))
    eta = w.let("eta", " + ".join(terms))
    for _ in range(1 + w.chance(15)):
        _likelihood(w, eta, n)
    if {"effect discrete", "effect scan"} & w.features.keys():  # what meets them is up to the plan
        for latent in w.latents:
            w.unsure(latent.name)


# -- parameters of priors ---------------------------------------------------------------------------


def positive(w: Writer) -> str:
    """A positive scalar: a constant, or a kept latent in some spelling."""
    kind = w.choose(["constant", "half normal", "log normal", "exponential", "exp", "softplus"])
    w.note(f"hyperparameter {kind}")
    if kind == "constant":
        return str(w.choose(["1.0", "0.7", "2.5"]))
    if kind == "exp":
        return f"jnp.exp({w.latent('log_s', 'dist.Normal(0.0, 0.5)', (), 'real').name})"
    if kind == "softplus":
        return f"jax.nn.softplus({w.latent('soft', 'dist.Normal(0.0, 1.0)', (), 'real').name})"
    prior = {"half normal": "dist.HalfNormal(1.0)", "log normal": "dist.LogNormal(0.0, 0.5)",
             "exponential": "dist.Exponential(1.0)"}[kind]
    return w.latent("s", prior, (), "positive").name


def scale(w: Writer, size: int) -> Text:
    """A scale: one, or one for each of `size`, in some spelling of standard deviation or precision."""
    kind = w.choose(["constant", "one", "data", "by group", "variance", "precision"])
    w.note(f"scale {kind}")
    if kind == "constant":
        return w.choose(["1.0", "0.3", "2.0"]), False
    if kind == "one":
        return positive(w), False
    if kind == "data":
        return w.constant("sd", f"rng.uniform(0.5, 2.0, {size})"), True
    if kind == "by group":
        h = w.constant("h", f"rng.integers(0, 2, {size})")
        return f"{w.many('tau', 'dist.HalfNormal(1.0)', 2, False, 'positive').name}[{h}]", True
    if kind == "variance":
        v = w.latent("variance", "dist.InverseGamma(3.0, 2.0)", (), "positive").name
        return w.choose([f"jnp.sqrt({v})", f"{v}**0.5"]), False
    p = w.latent("precision", "dist.Gamma(3.0, 2.0)", (), "positive").name
    return w.choose([f"1 / jnp.sqrt({p})", f"{p}**-0.5", f"jax.lax.rsqrt({p})", f"jnp.sqrt(1 / {p})",
                     f"jnp.exp(-0.5 * jnp.log({p}))"]), False


def _location(w: Writer, size: int, depth: int = 0) -> Text:
    """The mean of a prior: a constant, a latent, or groups of latents, some links deep."""
    kind = w.choose(["constant", "latent", "affine", "data", "regions"][: 5 if depth < 2 else 4])
    w.note(f"location {kind}")
    if kind == "constant":
        return w.choose(["0.0", "1.5"]), False
    if kind == "data":
        return w.constant("offset", f"rng.normal(size={size})"), True
    if kind == "regions":
        region = w.constant("region", f"rng.integers(0, 2, {size})")
        return f"{_normals(w, 'r', 2, depth + 1)}[{region}]", True
    prior = f"dist.Normal({w.choose(['0.0', '-1.0'])}, {w.choose(['2.0', '10.0'])})"
    m = w.latent("m", prior, (), "real", must=True).name
    if kind == "latent":
        return m, False
    return w.choose([f"2.0 * {m} - 1.0", f"-{m}", f"({m} + 0.5) / 3.0", f"jnp.negative({m}) * 0.1"]), False


def _normals(w: Writer, stem: str, size: int, depth: int = 0) -> str:
    """Normal latents side by side, to be collapsed."""
    (mean, varied), (sd, varied_too) = _location(w, size, depth), scale(w, size)
    return w.many(stem, f"dist.Normal({mean}, {sd})", size, varied or varied_too, "real", True).name


# -- effects: each writes latents and returns a term of shape (n,), or a scalar ------------------------


def _scalar(w: Writer, n: int) -> str:
    mean = _location(w, 1, 2)[0] if w.chance(30) else "0.0"
    if mean.startswith("offset"):
        mean += "[0]"
    sd = positive(w) if w.chance(30) else "3.0"
    b = w.latent("b", f"dist.Normal({mean}, {sd})", (), "real", must=True).name
    if w.chance():
        return b
    x = w.constant("x", f"rng.normal(size={n})")
    return str(w.choose([f"{b} * {x}", f"{x} * {b} / 2.0", f"jnp.multiply({x}, {b})"]))


def _index(w: Writer, n: int, groups: int, vector: str) -> str:
    """Elements of a vector picked for each row."""
    g = w.constant("g", f"rng.integers(0, {groups}, {n})")
    return str(w.choose([f"{vector}[{g}]", f"jnp.take({vector}, {g})",
                         f"jax.nn.one_hot({g}, {groups}) @ {vector}", f"{vector}[..., {g}]"]))


def _groups(w: Writer, n: int) -> str:
    groups = w.choose([3, 1, 2, 4])
    a = _normals(w, "a", groups)
    term = _index(w, n, groups, a)
    return f"{term} * {w.constant('x', f'rng.normal(size={n})')}" if w.chance(30) else term


def _coefficients(w: Writer, n: int) -> str:
    p = w.choose([2, 1, 3])
    x = w.constant("x", f"rng.normal(size=({n}, {p}))")
    kind = w.choose(["normal", "multivariate"])
    if kind == "normal":
        b = _normals(w, "beta", p)
    else:
        spelling = w.choose(["scale_tril", "covariance_matrix", "precision_matrix"])
        matrix = w.constant("c", f"np.eye({p}) + 0.3" if spelling != "scale_tril"
                            else f"np.tril(np.eye({p}) + 0.3)")
        b = w.latent("beta", f"dist.MultivariateNormal(jnp.zeros({p}), {spelling}={matrix})", (p,),
                     "real", must=True).name
    return str(w.choose([f"{x} @ {b}", f"jnp.dot({x}, {b})", f"jnp.einsum('ij,j->i', {x}, {b})",
                         f"({x} * {b}).sum(-1)", f"jnp.matmul({b}[None], {x}.T)[0]"]))


def _slopes(w: Writer, n: int) -> str:
    """Correlated intercepts and slopes of groups."""
    groups = w.choose([2, 3, 1])
    mean = "jnp.zeros(2)"
    if w.chance():
        mean = w.latent("mean", "dist.Normal(0.0, 2.0).expand([2]).to_event(1)", (2,), "real",
                        must=True).name
    spelling = w.choose(["fixed", "scaled", "diagonal"])
    w.note(f"slopes {spelling}")
    if spelling == "fixed":
        root = "jnp.array([[1.0, 0.0], [0.5, 0.7]])"
    elif spelling == "scaled":
        root = f"{positive(w)} * jnp.array([[1.0, 0.0], [0.5, 0.7]])"
    else:
        tau = w.latent("tau", "dist.HalfNormal(jnp.ones(2))", (2,), "positive").name
        root = f"{tau}[:, None] * jnp.array([[1.0, 0.0], [-0.5, 0.7]])"
    law = f"dist.MultivariateNormal({mean}, scale_tril={root})"
    if w.chance():
        with w.within(f'numpyro.plate("{w.name("plate")}", {groups})'):
            u = w.latent("u", law, (groups, 2), "real", must=True).name
    else:
        u = w.latent("u", law, (groups, 2), "real", f", sample_shape=({groups},)", True).name
    g, x = w.constant("g", f"rng.integers(0, {groups}, {n})"), w.constant("x", f"rng.normal(size={n})")
    return str(w.choose([f"{u}[{g}, 0] + {u}[{g}, 1] * {x}", f"{u}[{g}][..., 0] + {x} * {u}[{g}][..., 1]",
                         f"({u}[{g}] * jnp.stack([jnp.ones({n}), {x}], -1)).sum(-1)"]))


def _walk(w: Writer, n: int) -> str:
    steps = _normals(w, "step", n)
    return str(w.choose([f"jnp.cumsum({steps})", f"{steps}[::-1].cumsum()",
                         f"jnp.tril(jnp.ones(({n}, {n}))) @ {steps}"]))


def _noncentred(w: Writer, n: int) -> str:
    groups = w.choose([3, 1, 2])
    z = w.many("z", "dist.Normal(0.0, 1.0)", groups, False, "real", True).name
    return f"{positive(w)} * {_index(w, n, groups, z)}"


def _chain(w: Writer, n: int) -> str:
    """An autoregression written as a loop."""
    sd, rho = positive(w), w.choose(["0.8", "-0.5"])
    if w.chance():
        rho = w.latent("rho", "dist.Uniform(-1.0, 1.0)", (), "unit").name
    states = ["0.0"]
    for _ in range(n):
        states.append(w.latent("state", f"dist.Normal({rho} * {states[-1]}, {sd})", (), "real",
                               must=True).name)
    return f"jnp.stack([{', '.join(states[1:])}])"


def _flat(w: Writer, n: int) -> str:
    """A coefficient without a prior; too few rows may be seen to tell it from the rest."""
    w.ranked = False
    b = w.latent("flat", "dist.ImproperUniform(dist.constraints.real, (), ())", (), "real").name
    return f"{b} * {w.constant('x', f'rng.normal(size={n})')}" if w.chance() else b


def _discrete(w: Writer, n: int) -> str:
    """A shift of each row, or of all, by a latent that counts."""
    law, kind = w.choose([("dist.Bernoulli(0.4)", "whole"), ("dist.Categorical(jnp.array([0.2, 0.3, 0.5]))",
                                                             "whole")])
    z = w.many("z", law, n, False, kind).name if w.chance() else w.latent("z", law, (), kind).name
    return str(w.choose([f"1.5 * {z}", f"jnp.array([0.0, 1.0, -2.0])[{z}]", f"jnp.where({z} == 1, 0.5, 0.0)"]))


def _scan(w: Writer, n: int) -> str:
    """A random walk written with NumPyro's scan."""
    w.help("from numpyro.contrib.control_flow import scan")
    name, sd = w.name("walk"), positive(w)
    w.line(f"def step_of_{name}(state, _):")
    w.line(f'    state = numpyro.sample("{name}", dist.Normal(state, {sd}))')
    w.line("    return state, state")
    return w.let("path", f"scan(step_of_{name}, 0.0, None, length={n})[1]")


def grid(w: Writer) -> None:
    """Effects of rows and of columns, crossed, in nested plates."""
    n, m = w.choose([3, 1, 2]), w.choose([2, 1, 4])
    sd, mean = positive(w), w.choose(["0.0", "1.5"])
    if w.chance():
        mean = w.latent("m", "dist.Normal(0.0, 2.0)", (), "real", must=True).name
    rows_plate, columns_plate = w.name("plate"), w.name("plate")
    outer = f'numpyro.plate("{rows_plate}", {n}, dim=-2)'
    inner = f'numpyro.plate("{columns_plate}", {m}, dim=-1)'
    terms = []
    kinds = [(outer, (n, 1)), (inner, (m,)), (f"{outer}, {inner}", (n, m))]
    for header, shape in kinds[: w.choose([2, 3, 1])]:
        with w.within(header):
            terms.append(w.latent("c", f"dist.Normal({mean if not terms else '0.0'}, {sd})", shape, "real",
                                  must=True).name)
    noise = positive(w)
    eta = w.let("eta", " + ".join(terms))
    with w.within(f"{outer}, {inner}"):
        law = f"dist.Normal({eta} * {w.constant('x', f'rng.normal(size=({n}, {m}))')}, {noise})"
        way = w.choose(["plain", "nan", "masked"])
        w.note(f"grid {way}")
        seen = "" if way == "plain" else w.constant("seen", f"rng.uniform(size=({n}, {m})) < 0.7")
        w.observe(f"{law}.mask({seen})" if way == "masked" else law, seen, way)


# -- likelihood --------------------------------------------------------------------------------------


def _link(w: Writer, eta: str, n: int) -> str:
    """An affine map of the sum of effects, of shape (n,)."""
    options = [f"jnp.broadcast_to({eta}, ({n},))", f"jnp.zeros({n}) + {eta}",
               f"1.0 - 2.0 * ({eta} + jnp.zeros({n}))",
               f"jnp.broadcast_to({eta}, ({n},))[::-1]",
               f"jnp.where(jnp.arange({n}) % 2 == 0, {eta}, -({eta}) + 1.0)",
               f"jnp.concatenate([jnp.broadcast_to({eta}, ({n},))[:1], "
               f"jnp.broadcast_to({eta}, ({n},))[1:]])",
               f"jax.vmap(lambda e: 0.5 * e)(jnp.broadcast_to({eta}, ({n},)))",
               f"jnp.broadcast_to({eta}, ({n},)).reshape(-1, 1).T.squeeze(0)",
               f"jnp.clip(jnp.arange({n}), 1, 2) * ({eta})"]
    return str(w.choose(options))


def _likelihood(w: Writer, eta: str, n: int) -> None:
    mean = _link(w, eta, n)
    kind = w.choose(["normal", "log normal", "multivariate", "affine"])
    w.note(f"likelihood {kind}")
    if kind == "multivariate":
        c = w.constant("c", f"np.eye({n}) + 0.5")
        s = positive(w)
        w.observe(f"dist.MultivariateNormal({mean}, covariance_matrix={s} * {c})")
        return
    s, _ = scale(w, n)
    law = {"normal": f"dist.Normal({mean}, {s})", "log normal": f"dist.LogNormal({mean}, {s})",
           "affine": f"dist.TransformedDistribution(dist.Normal({mean}, {s}), "
                     "dist.transforms.AffineTransform(1.0, 2.0))"}[kind]
    rows(w, law, n)


def rows(w: Writer, law: str, n: int) -> None:
    """Observations of batch shape (n,), in one of the ways to write, mask or weight them."""
    way = w.choose(["plain", "plate", "to_event", "masked", "mask handler", "weighted", "empty mask",
                    "nan", "obs_mask"])
    counts = any(x in law for x in ("Poisson", "Bern", "Binom", "Geom", "Categorical", "Multinomial"))
    if (counts or "Multivariate" in law) and way == "nan":
        way = "obs_mask"  # whole numbers have no NaN, and a mask is one of events
    w.note(f"rows {way}")
    if way == "plain":
        w.observe(law)
    elif way == "plate":
        with w.within(f'numpyro.plate("{w.name("rows")}", {n})'):
            w.observe(law)
    elif way == "to_event":
        w.observe(f"{law}.to_event(1)")
    elif way == "masked":
        w.observe(f"{law}.mask({w.constant('seen', f'rng.uniform(size={n}) < 0.7')})")
    elif way == "mask handler":
        with w.within(f"handlers.mask(mask={w.constant('seen', f'rng.uniform(size={n}) < 0.7')})"):
            w.observe(law)
    elif way == "weighted":
        w.ranked = False
        weight = w.constant("weight", f"rng.uniform(0.5, 2.0, {n})") if w.chance() else "2.0"
        with w.within(f"handlers.scale(scale={weight})"):
            w.observe(law)
    elif way == "empty mask":
        w.observe(f"{law}.mask(False)")
    else:
        if way == "obs_mask":
            w.ranked = False  # the cells of its latent that are seen have no density
        w.observe(law, w.constant("seen", f"rng.uniform(size={n}) < 0.7"), way)

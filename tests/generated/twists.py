"""What makes one latent impossible to collapse, or seems to."""

from __future__ import annotations

from generated.writer import Latent, Writer

__all__ = ["handler", "harmless", "twist"]

# uses of a latent (text `z`) that no family allows, as the mean of an extra observation of 0.3
_USES = {
    "sine": "jnp.sum(jnp.sin({z}))",
    "softplus": "jnp.sum(jax.nn.softplus({z}))",
    "square": "jnp.sum({z}**2) + jnp.sum({z})",
    "product with itself": "jnp.sum({z} * jnp.roll({z}, 1) * {z})",
    "square root of a square": "jnp.sum(jnp.sqrt({z}**2)) + jnp.sum(jnp.tanh({z}))",
    "rounding": "jnp.sum(jnp.round({z} * 3.0)) / 3.0",
    "floor": "jnp.sum(jnp.floor({z} * 4.0))",
    "cast": "jnp.sum(jnp.astype({z} * 4.0, jnp.int32))",
    "comparison": "jnp.sum(jnp.where({z} > 0.4, 1.0, 0.0))",
    "maximum": "jnp.max({z}) + jnp.sum(jnp.maximum({z}, 0.4))",
    "clip": "jnp.sum(jnp.clip({z}, 0.2, 0.6))",
    "sort": "jnp.sort(jnp.ravel({z}))[0] ** 3",
    "cond": "jax.lax.cond(jnp.sum({z}) > 0.4, lambda x: x, lambda x: -x, jnp.sum({z}))",
    "while loop": "jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * c[1]), "
                  "(0, jnp.sum({z})))[1]",
    "scan": "jax.lax.scan(lambda c, x: (jnp.tanh(c + x), None), 0.0, jnp.ravel({z}))[0]",
    "callback": "jax.pure_callback(lambda x: np.float32(np.sum(np.sin(x))), "
                "jax.ShapeDtypeStruct((), np.float32), {z}, vmap_method='sequential')",
    "index": "jnp.arange(5.0)[jnp.astype(jnp.clip(jnp.sum({z}) * 2.0, 0, 4), jnp.int32)]",
    "false derivative": "_square({z})",
}
# whole statements
_STATEMENTS = {
    "factor": 'numpyro.factor("{name}", -jnp.sum({z}**4) - jnp.sum(jnp.cos({z})))',
    "student": 'numpyro.sample("{name}", dist.StudentT(4.0, jnp.sum({z}), 1.0), obs=jnp.array(0.3))',
    "cauchy": 'numpyro.sample("{name}", dist.Cauchy(jnp.sum({z}), 1.0), obs=jnp.array(0.3))',
    "logits": 'numpyro.sample("{name}", dist.Bernoulli(logits=jnp.sum({z}) * 1.5), obs=jnp.array(1))',
    "exponent": 'numpyro.sample("{name}", dist.Normal(0.0, jnp.exp(jnp.sum({z}))), obs=jnp.array(0.3))',
    "concentration": 'numpyro.sample("{name}", dist.Gamma(jnp.exp(jnp.sum({z}) * 0.1), 1.0), obs=jnp.array(0.7))',
    "mixture": 'numpyro.sample("{name}", dist.MixtureSameFamily(dist.Categorical(probs=jnp.array([0.4, '
               '0.6])), dist.Normal(jnp.sum({z}) * jnp.array([1.0, -1.0]), 1.0)), obs=jnp.array(0.3))',
    "subclass": 'numpyro.sample("{name}", Shifted(jnp.sum({z}), 1.0), obs=jnp.array(0.3))',
    "latent scale": 'with handlers.scale(scale=jnp.exp(0.1 * jnp.sum({z}))):\n'
                    '        numpyro.sample("{name}", dist.Normal(0.0, 1.0), obs=jnp.array(0.3))',
    "support": 'numpyro.sample("{name}", dist.Uniform(-1.0, 1.0 + jnp.exp(jnp.sum({z}))), obs=jnp.array(0.3))',
}
_HELPERS = {
    "subclass": '''
class Shifted(dist.Normal):
    def log_prob(self, value):
        return super().log_prob(value - 0.1 * value**2)
''',
    "false derivative": '''
@jax.custom_jvp
def _square(x):
    return jnp.sum(x**2) + jnp.sum(jnp.tanh(x))


@_square.defjvp
def _(primals, tangents):
    return _square(*primals), jnp.sum(tangents[0])
''',
}


def twist(w: Writer, target: Latent) -> None:
    """Use a latent in a way that forbids to collapse it."""
    kind = w.choose([*_USES, *_STATEMENTS])
    w.note(f"twist {kind}")
    w.ranked = False
    name = w.name("twist")
    # the sum of a simplex is a number
    z = f"{target.name}[..., :1]" if target.kind == "simplex" else target.name
    if kind in _USES:
        use = _USES[kind].format(z=z)
        w.line(f'numpyro.sample("{name}", dist.Normal({use}, 1.0), obs=jnp.array(0.3))')
    else:
        w.line(_STATEMENTS[kind].format(z=z, name=name))
    if kind in _HELPERS:
        w.help(_HELPERS[kind])
    w.decline(target.name)


def harmless(w: Writer, target: Latent) -> None:
    """Something said about a latent that changes nothing, or stays in its family."""
    kind = w.choose(["deterministic", "deterministic function", "linear factor", "constant factor",
                     "masked", "multiplied by zero"])
    w.note(f"harmless {kind}")
    z, name = target.name, w.name("extra")
    if kind == "deterministic":
        w.line(f'numpyro.deterministic("{name}", {z} + 1.0)')
    elif kind == "deterministic function":
        w.line(f'numpyro.deterministic("{name}", jnp.tanh(jnp.sum({z}**2)) * jnp.ones(2))')
    elif kind == "linear factor":
        w.ranked = False
        own = f"{z}[..., :1]" if target.kind == "simplex" else z  # their sum is a number
        w.line(f'numpyro.factor("{name}", -0.3 * jnp.sum({own}))')
        if target.kind in ("unit", "simplex", "angle"):
            w.decline(z)  # z is no statistic of a beta
        elif target.kind in ("positive", "bounded", "matrix"):
            w.unsure(z)  # of a gamma it is, of an inverse gamma it is not
    elif kind == "constant factor":
        w.line(f'numpyro.factor("{name}", -1.25)')
    elif kind == "masked":
        w.line(f'numpyro.sample("{name}", dist.Cauchy(jnp.sum(jnp.sin({z})), 1.0).mask(False), obs=jnp.array(0.3))')
    else:
        w.line(f'numpyro.sample("{name}", dist.Normal(0.0 * jnp.sum({z}), 1.0), obs=jnp.array(0.3))')


def handler(w: Writer) -> None:
    """A handler around the whole model."""
    kind = w.choose(["scope", "condition", "do", "reparam", "trace", "mask", "scale", "substitute", "lift"])
    scalars = [x for x in w.latents if x.shape == () and x.kind in ("real", "positive")]
    normals = [x for x in scalars if x.kind == "real" and x.name in w.must]
    if (kind in ("condition", "do", "substitute") and not scalars) or (kind == "reparam" and not normals):
        kind = "scope"
    if kind == "scope" and w.helped("scan"):
        kind = "trace"  # values given from outside do not reach renamed sites inside NumPyro's scan
    w.note(f"handler {kind}")
    if kind == "scope":
        w.wrap('scope(model, "inside")')
        w.rename(lambda n: f"inside/{n}")
    elif kind == "reparam":
        target = w.choose(normals).name
        w.help("from numpyro.infer.reparam import LocScaleReparam")
        centred = w.choose(["0", "0.5"])
        w.wrap(f'reparam(model, config={{"{target}": LocScaleReparam({centred})}})')
        w.rename(lambda n: f"{n}_decentered" if n == target else n)
    elif kind in ("condition", "do", "substitute"):
        target = w.choose(scalars).name
        w.wrap(f'{kind}(model, data={{"{target}": jnp.array(0.8)}})')
        w.ranked = False
        if kind != "substitute":
            w.unsure(target)
    elif kind == "lift":
        w.line('lifted = numpyro.param("lifted", 0.5)')
        w.observe("dist.Normal(2.0 * lifted, 1.0)")
        w.wrap('lift(model, prior={"lifted": dist.Normal(0.0, 1.0)})')
        w.expect("lifted", (), "real", must=True)
    elif kind == "mask":
        w.wrap("mask(model, mask=True)")
    elif kind == "scale":
        w.wrap("scale(model, scale=0.7)")
        w.ranked = False
        for latent in w.latents:
            w.unsure(latent.name)
    else:
        w.wrap("trace(model)")

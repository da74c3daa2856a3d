"""Run by `test_stream.py` in a process that sees eight devices."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpyro import plate, sample
from numpyro.infer import MCMC
from numpyro.infer.util import log_density
from test_stream import COUNT, GROUP, G, X, Y, rates

import conjugate_ppl as cj

warnings.simplefilter("error")
jax.config.update("jax_enable_x64", True)
KEY = jax.random.key(0)


def effects(y, g, x):
    t, s = sample("t", dist.HalfNormal(1.0)), sample("s", dist.HalfNormal(1.0))
    b = sample("b", dist.Normal(jnp.zeros(2), 3.0).to_event(1))
    with plate("groups", G):
        a = sample("a", dist.Normal(100.0, t))
    with plate("rows", len(y)):
        sample("y", dist.Normal(numpyro.deterministic("mean", a[g] + x @ b), s), obs=y)


mesh = Mesh(np.array(jax.devices()), ("rows",))


def spread(a):
    return jax.device_put(a, NamedSharding(mesh, PartitionSpec("rows")))


def same(a, b):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-10)


whole = [a[:56] for a in (Y, GROUP, X, COUNT)]
y, g, x, count = map(spread, whole)
assert len(y.sharding.device_set) == 8
for model, kept, data, one in ((effects, {"t": jnp.asarray(0.7), "s": jnp.asarray(1.1)}, (y, g, x), whole[:3]),
                               (rates, {"shape": jnp.asarray(1.3)}, (count, g), (whole[3], whole[1]))):
    collapsed = cj.collapse(model)
    results = [(log_density(collapsed, args, {}, kept)[0], collapsed.recover(KEY, kept, *args, batch_ndims=0))
               for args in (data, one)]
    jax.tree.map(same, *results)
cj.check(effects, KEY, y, g, x)

mcmc = MCMC(cj.Collapsed(effects), num_warmup=50, num_samples=10, num_chains=8, chain_method="parallel",
            progress_bar=False)
mcmc.run(KEY, y, g, x)
samples = mcmc.get_samples(group_by_chain=True)
assert len(samples["a"].sharding.device_set) == 8  # a chain on each
assert samples["mean"].shape == (8, 10, 56) and samples["a"].shape == (8, 10, G)
same(samples["mean"][..., 0], (samples["a"][..., whole[1][0]] + samples["b"] @ whole[2][0]))
assert len(np.unique(np.asarray(samples["t"][:, -1]))) == 8


def logistic(y, x):
    b = sample("b", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    sample("y", dist.Bernoulli(logits=x @ b), obs=y > 3)


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    values = [log_density(cj.collapse(logistic), args, {}, {"b": jnp.ones(2)})[0]
              for args in ((count, x), (whole[3], whole[2]))]
same(*values)
assert any("read in one place" in str(w.message) and "`exp`" in str(w.message) for w in caught), caught

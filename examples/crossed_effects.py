"""Subjects crossed with items, correlated intercepts and slopes for both.

The same model three times: with `sample_shape=` and with plates for log reading times in Dutch, and
with a LogNormal response for reading times in Chinese; then pupil sizes, with subjects alone. All
effects, population means included, are integrated out. What is left are scales and correlations.
"""

import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC

import conjugate_ppl as cj


def dutch(subject, item, x, y, num_subjects, num_items):
    alpha = numpyro.sample("alpha", dist.Normal(0, 10))
    beta = numpyro.sample("beta", dist.Normal(0, 5))
    sigma = numpyro.sample("sigma", dist.HalfNormal(5))
    tau_u = numpyro.sample("tau_u", dist.HalfNormal(1), sample_shape=(2,))
    tau_w = numpyro.sample("tau_w", dist.HalfNormal(1), sample_shape=(2,))
    L_u = numpyro.sample("L_u", dist.LKJCholesky(2, 2.0))
    L_w = numpyro.sample("L_w", dist.LKJCholesky(2, 2.0))
    of_subject = dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.diag(tau_u) @ L_u)
    of_item = dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.diag(tau_w) @ L_w)
    u = numpyro.sample("u", of_subject, sample_shape=(num_subjects,))
    w = numpyro.sample("w", of_item, sample_shape=(num_items,))
    mean = (alpha + u[subject][..., 0] + w[item][..., 0]
            + x * (beta + u[subject][..., 1] + w[item][..., 1]))
    numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def dutch_plates(subject, item, x, y, num_subjects, num_items):
    alpha = numpyro.sample("alpha", dist.Normal(0, 10))
    beta = numpyro.sample("beta", dist.Normal(0, 5))
    sigma = numpyro.sample("sigma", dist.HalfNormal(5))
    with numpyro.plate("effects", 2):
        tau_u = numpyro.sample("tau_u", dist.HalfNormal(1))
        tau_w = numpyro.sample("tau_w", dist.HalfNormal(1))
    L_u = numpyro.sample("L_u", dist.LKJCholesky(2, 2.0))
    L_w = numpyro.sample("L_w", dist.LKJCholesky(2, 2.0))
    with numpyro.plate("subjects", num_subjects):
        scale = jnp.diag(tau_u) @ L_u
        u = numpyro.sample("u", dist.MultivariateNormal(jnp.zeros(2), scale_tril=scale))
    with numpyro.plate("items", num_items):
        scale = jnp.diag(tau_w) @ L_w
        w = numpyro.sample("w", dist.MultivariateNormal(jnp.zeros(2), scale_tril=scale))
    with numpyro.plate("rows", len(y)):
        mean = (alpha + u[subject][..., 0] + w[item][..., 0]
                + x * (beta + u[subject][..., 1] + w[item][..., 1]))
        numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


def gibsonwu(subject, item, x, y, num_subjects, num_items):
    alpha = numpyro.sample("alpha", dist.Normal(0, 10))
    beta = numpyro.sample("beta", dist.Normal(0, 5))
    sigma = numpyro.sample("sigma", dist.HalfNormal(5))
    tau_u = numpyro.sample("tau_u", dist.HalfNormal(5), sample_shape=(2,))
    tau_w = numpyro.sample("tau_w", dist.HalfNormal(5), sample_shape=(2,))
    L_u = numpyro.sample("L_u", dist.LKJCholesky(2, 2.0))
    L_w = numpyro.sample("L_w", dist.LKJCholesky(2, 2.0))
    of_subject = dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.diag(tau_u) @ L_u)
    of_item = dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.diag(tau_w) @ L_w)
    u = numpyro.sample("u", of_subject, sample_shape=(num_subjects,))
    w = numpyro.sample("w", of_item, sample_shape=(num_items,))
    mean = (alpha + u[subject][..., 0] + w[item][..., 0]
            + x * (beta + u[subject][..., 1] + w[item][..., 1]))
    numpyro.sample("y", dist.LogNormal(mean, sigma), obs=y)


def pupil(subject, load, y, num_subjects):
    L_u = numpyro.sample("L_u", dist.LKJCholesky(2))
    tau_u = numpyro.sample("tau_u", dist.HalfNormal(1000), sample_shape=(2,))
    alpha = numpyro.sample("alpha", dist.Normal(1000, 500))
    beta = numpyro.sample("beta", dist.Normal(0, 100))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1000))
    of_subject = dist.MultivariateNormal(jnp.zeros(2), scale_tril=jnp.diag(tau_u) @ L_u)
    u = numpyro.sample("u", of_subject, sample_shape=(num_subjects,))
    mean = alpha + u[subject][..., 0] + load * (beta + u[subject][..., 1])
    numpyro.sample("y", dist.Normal(mean, sigma), obs=y)


MODELS = {"dutch": dutch, "dutch_plates": dutch_plates, "gibsonwu": gibsonwu, "pupil": pupil}


def _columns(name):
    with (Path(__file__).parent / "data" / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {column: np.array([row[column] for row in rows]) for column in rows[0]}


def _numbered(labels):
    names, index = np.unique(labels, return_inverse=True)
    return index, len(names)


def data(name="dutch"):
    """Keyword arguments of the model `name`."""
    if name == "pupil":
        # columns used: subj, load, p_size; not used: trial
        table = _columns("pupil")
        subject, num_subjects = _numbered(table["subj"])
        return {"subject": subject, "load": table["load"].astype(float),
                "y": table["p_size"].astype(float), "num_subjects": num_subjects}
    if name == "gibsonwu":
        # columns used: subj, item, type (object-extracted 1/2, subject-extracted -1/2), rt (ms)
        table = _columns("gibsonwu")
        subject, item = table["subj"], table["item"]
        x, y = np.where(table["type"] == "obj-ext", 0.5, -0.5), table["rt"]
    else:
        # columns used: subject, item, condition (-1 or 1), NP1 (log reading time)
        table = _columns("dutch")
        subject, item = table["subject"], table["item"]
        x, y = table["condition"].astype(float), table["NP1"]
    subject, num_subjects = _numbered(subject)
    item, num_items = _numbered(item)
    return {"subject": subject, "item": item, "x": x, "y": y.astype(float),
            "num_subjects": num_subjects, "num_items": num_items}


def main():
    for name, model in MODELS.items():
        print(f"\n{name}\n")
        print(cj.explain(model, **data(name)))
        mcmc = MCMC(cj.Collapsed(model), num_warmup=300, num_samples=500)
        mcmc.run(jax.random.key(0), **data(name))
        mcmc.print_summary()


if __name__ == "__main__":
    main()

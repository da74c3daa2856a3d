"""Every conjugate relation that any system recognises, and where it is tested here.

Writes docs/relations.md: `python tests/relations.py`. What the models of `tests/models` contain is read off
them: a row names pairs of a latent's family and a distribution that depends on it ("Gamma > Poisson"), and
a model with such a pair tests it. Where that does not say enough, `case(..., relation="key of the row")` does.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from declined import CASES as DECLINED
from models import CASES, Case

from conjugate_ppl.densities import DENSITIES
from conjugate_ppl.families import FAMILIES
from conjugate_ppl.program import trace_program

__all__ = ["PAGE", "ROWS", "Row", "open_rows", "page", "tested"]

PAGE = Path(__file__).parents[1] / "docs" / "relations.md"

RIVALS = {
    "A": "AMMCMC and LMM-HMC (arXiv 2302.00564, 2410.24079)",
    "F": "funsor, and `collapse` of Pyro and NumPyro",
    "P": "conjugate pairs, `ConjugateReparam` and Gaussian HMMs of Pyro",
    "X": "pymc-extras `marginalize`",
    "E": "aemcmc",
    "O": "autoconj (arXiv 1811.11926)",
    "Nb": "NIMBLE",
    "J": "JAGS and MultiBUGS",
    "R": "ReactiveMP / RxInfer",
    "B": "Birch",
    "S": "Siren",
    "K": "conjugate-models (formulas to be applied by hand)",
}
"""Columns of the second table."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One relation.

    Attributes:
        key: what `case(..., relation=...)` calls it.
        prior, likelihood, link, marginal: in words; the marginal is that of one observation.
        pairs: "family > distribution", each of which makes a model a test of it.
        within: those that carry it in models that name it by its key; by default `pairs`.
        rivals: columns of those that have it; "X: enumeration" is an X with a remark, "Nb!" one whose own
            tests say that it fails.
        reason: why there is no closed form, or why it is declined on purpose; "" where it is collapsed.
    """

    key: str
    prior: str
    likelihood: str
    link: str
    marginal: str
    rivals: str = ""
    pairs: tuple[str, ...] = ()
    reason: str = ""
    within: tuple[str, ...] = ()


ROWS = (
    # probabilities
    Row("beta-bernoulli", "Beta, Uniform(0, 1)", "Bernoulli", "probability `z`, `1 - z`, any spelling of the "
        "logit", "Bernoulli", "A, F, P, O, Nb, J, R, B, S, K", ("Beta > Bernoulli",)),
    Row("beta-binomial", "Beta", "Binomial", "as above", "BetaBinomial", "A, F, P, E, Nb, J, B, S, K",
        ("Beta > Binomial",)),
    Row("beta-negative-binomial", "Beta", "NegativeBinomial", "as above", "BetaNegativeBinomial",
        "E, Nb, J, B, K", ("Beta > NegativeBinomial",)),
    Row("beta-geometric", "Beta", "Geometric", "as above", "BetaNegativeBinomial of 1", "B, K",
        ("Beta > Geometric",)),
    Row("beta-hypergeometric", "BetaBinomial number of successes", "Hypergeometric", "", "beta-binomial", "K",
        reason="NumPyro has no hypergeometric distribution; the BetaBinomial latent itself is summed out "
        "under any likelihood"),
    Row("stick-breaking", "Beta sticks", "Categorical", "weights by stick breaking",
        "product of beta-binomials", "Nb", within=("Beta > Categorical",)),
    Row("bernoulli-any", "Bernoulli, Categorical, any of finitely many values", "anything", "any",
        "finite mixture", "F: enumeration, X: enumeration, O, R, S",
        ("Bernoulli > Normal", "Bernoulli > Poisson", "Categorical > Normal", "Categorical > VonMises")),
    Row("dirichlet-categorical", "Dirichlet", "Categorical", "rows by look-ups", "Categorical",
        "F, P, O, Nb, J, R, B, K", ("Dirichlet > Categorical",)),
    Row("dirichlet-bernoulli", "Dirichlet of two outcomes", "Bernoulli, Binomial, NegativeBinomial", "one cell `z[..., 0]`",
        "BetaBinomial and others", pairs=("Dirichlet > Bernoulli", "Dirichlet > Binomial", "Dirichlet > NegativeBinomial")),
    Row("dirichlet-multinomial", "Dirichlet", "Multinomial", "rows by look-ups", "DirichletMultinomial",
        "F, P, Nb, J, B, K", ("Dirichlet > Multinomial",)),
    Row("dirichlet-transitions", "Dirichlet rows", "Categorical transitions, states observed",
        "`p[states[:-1]]`", "DirichletMultinomial a row", "X: enumeration, J: mix, R", within=("Dirichlet > Categorical",)),
    Row("crp", "Dirichlet process, restaurant", "Categorical", "", "restaurant process",
        "Nb: dCRP, J: mix, B", reason="partitions: no NumPyro distribution; truncated sticks are collapsed"),
    # rates
    Row("gamma-poisson", "Gamma, Exponential, Chi2", "Poisson", "rate `c z`", "GammaPoisson",
        "F, P, X: an example of its documents, E, O, Nb, J, R, B, S, K", ("Gamma > Poisson",)),
    Row("gamma-exponential", "Gamma", "Exponential", "rate `c z`", "Lomax", "A, Nb, J, B, K",
        ("Gamma > Exponential",)),
    Row("gamma-gamma", "Gamma", "Gamma", "rate `c z`", "CompoundGamma", "A, F, O, Nb, J, K",
        ("Gamma > Gamma",)),
    Row("gamma-inverse-gamma", "Gamma", "InverseGamma", "scale `c z`", "CompoundGamma of the reciprocal",
        "Nb, K", ("Gamma > InverseGamma",)),
    Row("gamma-weibull", "Gamma", "Weibull", "scale `(c z)**(-1/k)`", "BurrXII", "Nb, J",
        ("Gamma > Weibull",)),
    Row("inverse-gamma-weibull", "InverseGamma", "Weibull", "scale `(c z)**(1/k)`", "BurrXII", "K",
        ("InverseGamma > Weibull",)),
    Row("gamma-censored", "Gamma", "Exponential and Weibull, censored on the right", "as of these", "what is left of that of these "
        "beyond the value", pairs=("Gamma > RightCensoredDistribution",)),
    Row("gamma-laplace", "Gamma, InverseGamma", "Laplace", "scale `1 / (c z)`, `c z`", "DoubleLomax", "Nb, J",
        ("Gamma > Laplace", "InverseGamma > Laplace")),
    Row("gamma-pareto", "Gamma", "Pareto", "exponent `c z`", "exponential of a Lomax", "Nb: commented out, K",
        ("Gamma > Pareto",)),
    Row("pareto-uniform", "Pareto", "Uniform", "upper bound `z`", "Pareto-like",
        "Nb: commented out, J: MultiBUGS, K", reason="the data move the edge of the posterior, which is no "
        "statistic that adds up; stays with the sampler"),
    # precisions and variances
    Row("gamma-normal", "Gamma", "Normal", "precision `c z`", "StudentT", "O, Nb, J, R, B: in its NIG, S, K",
        ("Gamma > Normal",)),
    Row("gamma-lognormal", "Gamma", "LogNormal", "precision `c z`", "exponential of a StudentT", "Nb, J, K",
        ("Gamma > LogNormal",)),
    Row("gamma-icar", "Gamma", "MultivariateNormal field of known structure, as in space", "precision `z Q`",
        "multivariate t", "Nb: since 2025", ("Gamma > MultivariateNormal",)),
    Row("inverse-gamma-normal", "InverseGamma", "Normal", "variance `c z`", "StudentT", "Nb, R, B, K",
        ("InverseGamma > Normal",)),
    Row("inverse-gamma-others", "InverseGamma", "LogNormal, Gamma, InverseGamma, Exponential",
        "variance, scale, or reciprocal of the rate", "log-t, CompoundGamma, Lomax", "Nb, B, K",
        ("InverseGamma > LogNormal", "InverseGamma > Gamma", "InverseGamma > InverseGamma",
         "InverseGamma > Exponential")),
    Row("flat", "flat", "Normal mean", "affine", "improper", "Nb", ("Flat > Normal",)),
    Row("uniform-scale", "Uniform standard deviation", "Normal, Gamma, Poisson and others", "power",
        "truncated gammas", "J", within=("Uniform > Normal",)),
    Row("half-t-scale", "half-t standard deviation, scaled Wishart", "Normal", "expanded parameters",
        "mixture over an inverse gamma", "J: parameter expansion",
        reason="a half-t standard deviation is an inverse gamma variance given a second inverse gamma: written "
        "so, the first of them is collapsed; for the two together there is no closed form"),
    Row("exponential-normal", "Exponential", "Normal mean", "affine", "truncated normal", "J", within=("Gamma > Normal",)),
    # means
    Row("normal-normal", "Normal", "Normal mean", "affine, of any latents together", "Normal",
        "A, F, X, O, Nb, J, R, B, S, K", ("Normal > Normal",)),
    Row("zero-sum", "ZeroSumNormal", "Normal mean", "affine", "Normal", within=("Normal > Normal",)),
    Row("normal-lognormal", "Normal", "LogNormal", "location affine", "LogNormal", "A: LMM-HMC, Nb, J: glm, K",
        ("Normal > LogNormal",)),
    Row("regression", "Normal coefficients", "Normal", "`X @ b`", "Normal", "A: LMM-HMC, E, O, Nb, J: glm, R, B, K", within=("Normal > Normal",)),
    Row("glm", "Normal coefficients", "logit, probit, log links", "", "",
        "X: Laplace, E: augmented, J: augmented, R: augmented",
        reason="no closed form; others add latents (Polya-Gamma) or approximate. Stays with the sampler"),
    Row("mvn-mvn", "MultivariateNormal", "MultivariateNormal mean", "affine", "MultivariateNormal",
        "F, P: GaussianHMM, O, Nb, J, R, B, K", ("MultivariateNormal > MultivariateNormal",)),
    Row("mvn-normal", "MultivariateNormal", "Normal means", "affine, `a @ z`", "Normal",
        "A: LMM-HMC, F, O, Nb!, J, R, B", ("MultivariateNormal > Normal",)),
    Row("normal-mvn", "Normal, element by element", "MultivariateNormal mean", "affine", "MultivariateNormal",
        "F, Nb!, J, R", ("Normal > MultivariateNormal",)),
    # matrices
    Row("wishart-mvn", "Wishart precision", "MultivariateNormal", "", "MultivariateStudentT", "Nb, J, R",
        ("Wishart > MultivariateNormal",)),
    Row("wishart-wishart", "Wishart", "Wishart", "", "matrix beta", "J", ("Wishart > Wishart",)),
    Row("inverse-wishart-mvn", "InverseWishart covariance", "MultivariateNormal", "", "MultivariateStudentT",
        "Nb, R, B, K", ("InverseWishart > MultivariateNormal",)),
    # compositions
    Row("normal-gamma", "Normal-Gamma, Normal-InverseGamma", "Normal", "mean and precision, by composition",
        "StudentT", "O, Nb: dCRP, R: variational, B, S, K", within=("Normal > Normal",)),
    Row("conjugate-regression", "Normal coefficients scaled by an InverseGamma variance", "Normal",
        "`X @ b`, by composition", "StudentT", "R: variational, B, K", within=("Normal > Normal",)),
    Row("normal-wishart", "Normal-Wishart, Normal-InverseWishart", "MultivariateNormal", "by composition",
        "MultivariateStudentT", "Nb: dCRP, R: variational, B, K", within=("MultivariateNormal > MultivariateNormal",)),
    Row("matrix-normal-wishart", "matrix-normal coefficients, (Inverse)Wishart", "MultivariateNormal rows",
        "`X @ B`, by composition", "MatrixT", "R: variational, B", within=("MatrixNormal > MultivariateNormal",)),
    Row("autoregression", "Normal coefficients, Gamma precision", "Normal, on its own past",
        "`lags @ b`, by composition", "StudentT", "R", within=("Normal > Normal",)),
    # chains and fields
    Row("gaussian-chain", "Gaussian chain or tree", "Normal emissions", "linear dynamics", "Normal, by a filter",
        "A: partly, F, P: GaussianHMM, X: statespace, E, O, Nb!, J!, R, B, S", within=("Normal > Normal",)),
    Row("gamma-gaussian-chain", "Gaussian chain, one common Gamma scale", "Normal emissions",
        "linear dynamics, by composition", "StudentT", "P: GammaGaussianHMM", within=("Normal > Normal",)),
    Row("discrete-chain", "chain of discrete states", "anything", "any", "mixture, by recursion",
        "F, P: DiscreteHMM, X, E, O, Nb!, R", within=("Categorical > Normal",)),
    Row("gaussian-field", "Gaussian field, Gaussian process", "Normal", "any kernel", "MultivariateNormal",
        "P: GaussianMRF, X: Laplace, O, Nb, J", within=("MultivariateNormal > Normal",)),
    # others
    Row("thinning", "Poisson, Binomial, NegativeBinomial total", "Binomial of that total", "total_count `z`",
        "Poisson and others", "J, B",
        reason="a total that Binomial counts come out of is summed out where it has finitely many values; an "
        "unbounded one (Poisson) stays with the sampler"),
    Row("von-mises", "VonMises direction", "VonMises, known concentration", "location `z + c`",
        "ratio of Bessel functions", "K", ("VonMises > VonMises",)),
    Row("shape", "prior proportional in a shape parameter", "Beta, Gamma", "", "", "R: variational, K: unnormalised",
        reason="the normaliser of such a prior has no closed form"),
    Row("gcv", "Gaussian log-variance", "Normal", "`exp(z / 2)` as scale", "", "R: variational",
        reason="no closed form; others approximate. Stays with the sampler"),
)


def _name(distribution: str) -> str:
    return distribution.removesuffix("Probs").removesuffix("Logits")


FORMS = ("batched", "plate", "look-up", "mask")
"""What a relation is tested in: a latent of many events, a plate, a look-up of the latent, masked observations."""


def forms(case: Case) -> dict[str, set[str]]:
    """For each "family > distribution" of what depends on a collapsed latent directly, the forms that a model has it in."""
    args = tuple(jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in case.args)
    program = trace_program(case.model, args)
    found: dict[str, set[str]] = {}
    if all(site.latent for site in program.sites.values()):
        return found
    for site in program.sites.values():
        needed = program.graph.needed_for([site.factor])
        moves = [e for e in program.graph.equations if e.primitive == "gather" and e.outputs[0] in needed]
        for root in program.roots(site.factor) & case.collapsed - {site.name}:
            latent = program.sites[root]
            own = {"plate"} if site.plates or latent.plates else set()
            if latent.size > 1:
                own.add("batched")
            if site.mask is not None:
                own.add("mask")
            if any(root in program.roots(e.inputs[0]) for e in moves):
                own.add("look-up")
            pair = f"{latent.family or _name(latent.distribution)} > {_name(site.distribution)}"
            found.setdefault(pair, set()).update(own)
    return found


@functools.cache
def present() -> dict[str, dict[str, set[str]]]:
    """`forms` of every model, by its name."""
    return {name: forms(entry) for name, entry in CASES.items()}


@functools.cache
def covered() -> dict[str, set[str]]:
    """Key of a row -> the forms that some model has the relation in."""
    found: dict[str, set[str]] = {row.key: set() for row in ROWS}
    for name, entry in CASES.items():
        for row in ROWS:
            own = (*row.pairs, *row.within) if row.key in entry.relation else row.pairs
            for pair in own:
                found[row.key] |= present()[name].get(pair, set())
    return found


@functools.cache
def nearest() -> dict[str, list[str]]:
    """Key of a row -> names of the models of `declined` that are one step away from it."""
    found: dict[str, list[str]] = {row.key: [] for row in ROWS}
    for name, entry in DECLINED.items():
        args = tuple(jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in entry.args)
        program = trace_program(entry.model, args)
        pairs = {f"{program.sites[r].family or _name(program.sites[r].distribution)} > {_name(site.distribution)}"
                 for site in program.sites.values() for r in program.roots(site.factor)
                 if r in program.sites and r not in (*entry.collapsed, site.name)}
        for row in ROWS:
            if row.key in entry.relation or pairs.intersection(row.pairs):
                found[row.key].append(name)
    return found


@functools.cache
def tested() -> dict[str, list[str]]:
    """Key of a row -> names of the models that test it, those that name it first."""
    found: dict[str, list[str]] = {row.key: [] for row in ROWS}
    for name, entry in CASES.items():
        for key in entry.relation:
            found[key].append(name)
    for name in sorted(CASES, key=lambda n: len(present()[n])):  # what tests nothing else goes first
        for row in ROWS:
            if set(row.pairs) & present()[name].keys() and name not in found[row.key]:
                found[row.key].append(name)
    return found


def open_rows() -> list[str]:
    """Keys of the rows with neither a reason nor tests in all forms, the nearest declined model among them."""
    found, forms_of, apart = tested(), covered(), nearest()
    return [row.key for row in ROWS if not row.reason and not (
        found[row.key] and forms_of[row.key] >= set(FORMS) and apart[row.key])]


INTRODUCTION = """\
# Conjugate relations

Every conjugate relation that any system known to us recognises, and which of them are collapsed here, as
`python tests/relations.py` reads it off the table of families and the models of the tests. A relation is no
rule: each follows from a density and a family, and they combine (several likelihoods of one latent, several
latents of one likelihood, sums, look-ups, one block inside another). Every model named here satisfies the
identity of `check` in both precisions, and its draws have the right moments (`tests/campaign.py`; on every change
`tests/test_identity.py` looks at all of them in double precision and at some of each row in single, `tests/test_draws.py`
at the draws of some). ✓ under a form: some of these models have the relation with a latent of many elements, in a
plate, through a look-up of the latent (`z[group]`), with some observations masked. The last column has the nearest model
that must be declined (`tests/declined`).
"""


def page() -> str:
    """The text of docs/relations.md."""
    found, forms_of, apart = tested(), covered(), nearest()
    out = [INTRODUCTION, _table(("prior", "likelihood", "link", "marginal", "tested by", *FORMS, "nearest declined"),
                                (_ours(row, found[row.key], forms_of[row.key], apart[row.key])
                                 for row in ROWS if not row.reason))]
    out += ["## Without a closed form\n", _table(("prior", "likelihood", "why it is not collapsed"),
                                                 ((r.prior, r.likelihood, r.reason) for r in ROWS if r.reason))]
    out += ["## Elsewhere\n", "✓: has it (a word says in what way, where that is not the same); ✗: its own "
            "tests say that it fails.\n",
            "\n".join(f"* **{k}**: {v}" for k, v in RIVALS.items()) + "\n",
            _table(("prior", "likelihood", "here", *RIVALS), (_theirs(r, found[r.key]) for r in ROWS))]
    families = ", ".join(sorted(FAMILIES))
    densities = ", ".join(sorted({_name(t.__name__) for t in DENSITIES if t.__module__.startswith("numpyro")}))
    out += ["## The tables\n", f"Families of latents: {families}.\n",
            f"Distributions with a registered density: {densities}.\n",
            "Any other distribution may stand where only discrete latents are concerned; transformed, "
            "masked, expanded and independent ones count as what is inside.\n"]
    return "\n".join(out)


def _ours(row: Row, names: list[str], found: set[str], apart: list[str]) -> Iterator[str]:
    yield from (row.prior, row.likelihood, row.link, row.marginal)
    yield ", ".join(f"`{n}`" for n in names[:3]) if names else "open"
    yield from ("✓" if form in found else "" for form in FORMS)
    yield ", ".join(f"`{n}`" for n in apart[:1])


def _theirs(row: Row, names: list[str]) -> Iterator[str]:
    yield from (row.prior, row.likelihood, "✓" if names and not row.reason else "no" if row.reason else "open")
    marks = {}
    for mark in row.rivals.split(", ") if row.rivals else ():
        name, _, remark = mark.partition(": ")
        marks[name.rstrip("!")] = "✗" if name.endswith("!") else remark or "✓"
    assert marks.keys() <= RIVALS.keys(), row.key
    yield from (marks.get(name, "") for name in RIVALS)


def _table(head: tuple[str, ...], rows: Iterator[Iterator[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    left = ", ".join(open_rows()) or "none"
    print(f"{len(ROWS)} relations in {PAGE}; open: {left}")

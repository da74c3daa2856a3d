"""Groups in groups: schools in districts, classes in schools in towns."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from numpyro import plate, sample

from models.table import case

RNG = np.random.default_rng(71)
DISTRICTS, SCHOOLS = 24, 70
DISTRICT = RNG.integers(DISTRICTS - 1, size=SCHOOLS).astype(np.int32)  # the last has no school
SCHOOL = np.repeat(np.arange(SCHOOLS - 1), RNG.integers(1, 5, SCHOOLS - 1)).astype(np.int32)  # and the last school no pupil
PUPILS = len(SCHOOL)
COVARIATES = np.round(RNG.normal(size=(PUPILS, 2)), 3)
TIME = np.round(RNG.uniform(0.1, 2.0, PUPILS), 3)
SEX = RNG.integers(2, size=PUPILS).astype(np.int32)
SCORES = np.round(5 + RNG.normal(size=DISTRICTS)[DISTRICT][SCHOOL] + RNG.normal(size=SCHOOLS)[SCHOOL]
                  + COVARIATES @ [1.0, -0.5] + RNG.normal(size=PUPILS), 3)
TOWNS, BUILDINGS, CLASSES, SEATS = 18, 40, 90, 200
TOWN = RNG.integers(TOWNS, size=BUILDINGS).astype(np.int32)
BUILDING = RNG.integers(BUILDINGS, size=CLASSES).astype(np.int32)
CLASS = RNG.integers(CLASSES, size=SEATS).astype(np.int32)
MARKS = np.round(RNG.normal(size=TOWNS)[TOWN][BUILDING][CLASS] + RNG.normal(size=CLASSES)[CLASS] + RNG.normal(size=SEATS), 3)
ERRORS = np.round(RNG.uniform(0.1, 0.6, SCHOOLS), 3)
EFFECTS = np.round(0.3 + 0.5 * RNG.normal(size=DISTRICTS)[DISTRICT] + 0.2 * RNG.normal(size=SCHOOLS), 3)


@case("mean slopes district school", SCORES, COVARIATES)
def tiers_schools(y, x):
    between, within = sample("between", dist.HalfNormal(1.0)), sample("within", dist.HalfNormal(1.0))
    noise = sample("noise", dist.HalfNormal(1.0))
    mean, slopes = sample("mean", dist.Normal(0.0, 10.0)), sample("slopes", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    with plate("districts", DISTRICTS):
        district = sample("district", dist.Normal(mean, between))
    with plate("schools", SCHOOLS):
        school = sample("school", dist.Normal(district[DISTRICT], within))
    with plate("pupils", PUPILS):
        sample("y", dist.Normal(school[SCHOOL] + x @ slopes, noise), obs=y)


@case("mean town building class", MARKS)
def tiers_classes(y):
    """Three groupings in each other."""
    scales = sample("scales", dist.HalfNormal(1.0).expand([4]).to_event(1))
    mean = sample("mean", dist.Normal(0.0, 10.0))
    with plate("towns", TOWNS):
        town = sample("town", dist.Normal(mean, scales[0]))
    with plate("buildings", BUILDINGS):
        building = sample("building", dist.Normal(town[TOWN], scales[1]))
    with plate("classes", CLASSES):
        of_class = sample("class", dist.Normal(building[BUILDING], scales[2]))
    with plate("seats", SEATS):
        sample("y", dist.Normal(of_class[CLASS], scales[3]), obs=y)


@case("mean district school", SCORES, TIME)
def tiers_slopes(y, t):
    """Correlated intercepts and slopes at both."""
    noise = sample("noise", dist.HalfNormal(1.0))
    spread = sample("spread", dist.HalfNormal(1.0).expand([2, 2]).to_event(2))
    factor = sample("factor", dist.LKJCholesky(2, 2.0))
    mean = sample("mean", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    with plate("districts", DISTRICTS):
        district = sample("district", dist.MultivariateNormal(mean, scale_tril=spread[0][:, None] * factor))
    with plate("schools", SCHOOLS):
        school = sample("school", dist.MultivariateNormal(district[DISTRICT], scale_tril=spread[1][:, None] * factor))
    with plate("pupils", PUPILS):
        sample("y", dist.Normal(school[SCHOOL, 0] + school[SCHOOL, 1] * t, noise), obs=y)


@case("mean district school", EFFECTS)
def tiers_known_errors(y):
    between, within = sample("between", dist.HalfNormal(1.0)), sample("within", dist.HalfNormal(1.0))
    mean = sample("mean", dist.Normal(0.0, 1.0))
    with plate("districts", DISTRICTS):
        district = sample("district", dist.Normal(0.0, between))
    with plate("schools", SCHOOLS):
        school = sample("school", dist.Normal(mean + district[DISTRICT], within))
        sample("y", dist.Normal(school, ERRORS), obs=y)


@case("mean district school", SCORES)
def tiers_two_scales(y):
    """Of a school's pupils each has one of two scales; the mean's prior is flat."""
    between, within = sample("between", dist.HalfNormal(1.0)), sample("within", dist.HalfNormal(1.0))
    noise = sample("noise", dist.HalfNormal(1.0).expand([2]).to_event(1))
    mean = sample("mean", dist.ImproperUniform(dist.constraints.real, (), ()))
    with plate("districts", DISTRICTS):
        district = sample("district", dist.Normal(0.0, between))
    with plate("schools", SCHOOLS):
        school = sample("school", dist.Normal(district[DISTRICT], within))
    with plate("pupils", PUPILS):
        sample("y", dist.Normal(mean + school[SCHOOL], noise[SEX]), obs=y)


@case("level district school", SCORES, TIME)
def tiers_of_a_decay(y, t):
    """Nothing but a curve of a kept number in common, and five correlated numbers of a district."""
    rate, level = sample("rate", dist.LogNormal(0.0, 0.5)), sample("level", dist.Normal(0.0, 10.0).expand([2]).to_event(1))
    between, within = sample("between", dist.HalfNormal(1.0)), sample("within", dist.HalfNormal(1.0))
    factor, noise = sample("factor", dist.LKJCholesky(5, 2.0)), sample("noise", dist.HalfNormal(1.0))
    with plate("districts", DISTRICTS):
        district = sample("district", dist.MultivariateNormal(jnp.zeros(5), scale_tril=between * factor))
    with plate("schools", SCHOOLS):
        school = sample("school", dist.Normal(district[DISTRICT, 0] + rate, within))
    powers = t[:, None] ** jnp.arange(1, 5)
    with plate("pupils", PUPILS):
        curve = level[0] + level[1] * jnp.exp(-rate * t) + jnp.sum(district[DISTRICT[SCHOOL], 1:] * powers, -1)
        sample("y", dist.Normal(curve + school[SCHOOL], noise), obs=y)

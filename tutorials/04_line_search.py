# %% [markdown]
"""
Chapter 4. Trying before stepping: line search
==============================================
"""

# %% [markdown]
# The question
# ------------
#
# Nobody tells us $L$, nor $f^*$, nor what the last step did. But the function can be asked: a trial step costs one
# value of $f$. *Which trials should be accepted, and what do we then know of the step?*

# %%
import matplotlib.pyplot as plt
import numpy as np
from exercises import ch04
from pages import (
    BLUE,
    GREEN,
    ORANGE,
    Formula,
    all_paths,
    contours,
    learning,
    path,
    pick,
    run,
    save,
    scores,
    show,
    squares,
    star,
    train,
)

from nets.race import Counted
from refopt import (
    PROBLEMS,
    SLS,
    SPECIAL,
    Armijo,
    Cauchy,
    FiniteSum,
    Goldstein,
    GradientDescent,
    Polyak,
    Recorded,
    SLSRestart,
    SPSMax,
)

# %% [markdown]
# The theorem
# -----------
#
# The best trial would be the lowest point along $-g$. On a quadratic it has a formula, $\eta = |g|^2 / \langle g, H g
# \rangle$ (Cauchy 1847), and the best is not good:
#
# **Theorem 1** (Kantorovich 1948). *On a quadratic, exact steps have $f(x^+) - f^* \le \rho^2 (f(x) - f^*)$ with
# $\rho = (\kappa - 1)/(\kappa + 1)$. For eigenvalues 1 and $\kappa$, and the start $(\kappa, 1)$, this is an equality
# in every step: $x_t = \rho^t (\kappa, (-1)^t)$.*
#
# So nothing is lost if the trial is merely good enough. The gradient promises that a short step $\eta$ lowers $f$ by
# $\eta |g|^2$. Armijo asks for a share $c$ of it:
#
# $$ f(x - \eta g) \le f(x) - c\,\eta\,|g|^2, \qquad 0 < c < 1. $$
#
# **Theorem 2** (Armijo 1966). *Let $f$ be $L$-smooth. Every $\eta \le 2 (1 - c)/L$ passes, on $L x^2 / 2$ no other
# does. So the first to pass among $\eta_0, \beta\eta_0, \beta^2\eta_0, \dots$ is at least $\eta_{\min} = \min\{\eta_0,\
# 2 \beta (1 - c)/L\}$, and the falls of $f$ add up to at most $f(x_0) - f^*$:*
#
# $$ \min_{s < t} |g_s|^2 \le \frac{f(x_0) - f^*}{c\,\eta_{\min}\,t}. $$
#
# Goldstein (1965) also turns away what is too *short*, by asking for no more than a share $1 - c$ of the promise. The
# two tests leave an interval, so a search may begin anywhere, and grow or shrink.
#
# **Theorem 3** (after Vaswani et al. 2019). *Let the test be made on one sample, the same as the step. If all $f_i$
# are convex, with moduli $\mu_i$ and a common minimiser $x^*$, then for $c \ge \frac{1}{2}$ every path has*
#
# $$ |x_{t+1} - x^*|^2 \le (1 - \mu_i \eta_t)\,|x_t - x^*|^2 - \left(2 - \frac{1}{c}\right) \eta_t\,(f_i(x_t) - f_i^*),
# $$
#
# *and so $\mathrm{E}\,|x_t - x^*|^2 \le (1 - \bar\mu\,\eta_{\min})^t\,|x_0 - x^*|^2$, where $\eta_{\min}$ is taken with
# the largest $L_i$.*

# %% [markdown]
# A picture of the mechanism
# --------------------------
#
# The loss along the search line, $\varphi(\eta) = f(x - \eta g)$, of a logistic regression. Its tangent is the promise.
# Armijo's line keeps a share $c$ of the slope, and what lies below it passes. Goldstein's keeps $1 - c$, and what lies
# below that is turned away. Backtracking tries from the right, and takes the first trial under Armijo's line.

# %%
logistic = PROBLEMS["logistic"]()
x, c = logistic.x0, 0.25
f, g = logistic(x)
gg = g @ g


class Watched(Formula):
    """A function that remembers at which step sizes along -g it was asked."""

    trials = ()

    def value(self, point):
        self.trials = (*self.trials, float((x - point) @ g / gg))
        return self.formula(point)[0]


eta = np.linspace(0, 18, 300)
phi = np.array([logistic.value(x - e * g) for e in eta])
fig, panels = plt.subplots(1, 2, sharey=True, figsize=(7.4, 3.9))
searches = (
    ("Armijo, from 17", Armijo(eta_init=17.0, c=c, beta=0.7)),
    ("Goldstein, from 1", Goldstein(1.0, c=c, eta_max=30.0)),
)
for ax, (title, rule) in zip(panels, searches, strict=True):
    watched = Watched(logistic, x)
    rule.start(x, watched)
    rule.step(x, watched)
    chosen = rule.eta
    ax.plot(eta, phi, "-", color="k", label=r"$\varphi(\eta)$")
    ax.plot(eta, f - eta * gg, ":", color="0.45", label="tangent: the promise")
    ax.plot(eta, f - c * eta * gg, "--", color=BLUE, label="Armijo: share $c$")
    passes = phi <= f - c * eta * gg
    if "Goldstein" in title:
        ax.plot(eta, f - (1 - c) * eta * gg, "-.", color=GREEN, label="Goldstein: share $1-c$")
        passes &= phi >= f - (1 - c) * eta * gg
    ax.fill_between(eta, 0, 1, where=passes, transform=ax.get_xaxis_transform(), color=BLUE, alpha=0.1, linewidth=0)
    for k, trial in enumerate(watched.trials):
        color = GREEN if trial == watched.trials[-1] else ORANGE
        height = logistic.value(x - trial * g)
        ax.plot(trial, height, "o", color=color, zorder=4)
        ax.text(trial, height + 0.06, str(k + 1), color=color, ha="center", clip_on=True)
    print(f"{title}: tried", *[f"{trial:.2f}" for trial in watched.trials], f"and took {chosen:.2f}")
    assert np.isclose(watched.trials[-1], chosen)
    assert logistic.value(x - chosen * g) <= f - c * chosen * gg
    ax.set(title=title, xlabel=r"step size $\eta$", ylim=(0.3, 1.15 * phi.max()))
panels[0].set_ylabel("$f$ along the search line")
fig.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
save(
    fig,
    "04-search",
    "The loss along the search line, the tests, and the trials in their order: rejected ones orange, the last one "
    "green. Shaded: what passes.",
)

# %% [markdown]
# Theorem 1, drawn. At the end of an exact step the line touches a level curve, so the next gradient is perpendicular to
# it. In the plane only two directions are left, and the worst start keeps their lengths in balance for ever.

# %%
zigzag = SPECIAL["zigzag"](10)
r = run(Cauchy(), zigzag, 14)
rho, t = 9 / 11, np.arange(15)
np.testing.assert_allclose(r.x, rho ** t[:, None] * np.stack([np.full(15, 10.0), (-1.0) ** t], axis=1), atol=1e-12)
np.testing.assert_allclose(r.f, rho ** (2 * t) * r.f[0], rtol=1e-10)
assert (abs((r.g[1:] * r.g[:-1]).sum(axis=1)) <= 1e-12 * squares(r.g[:-1])).all(), "right angles"
fig, ax = plt.subplots(figsize=(6.6, 2.4))
contours(ax, zigzag, (-1.5, 11), (-1.5, 1.5), levels=12)
path(ax, r.x, color=BLUE, linestyle="-")
star(ax, zigzag.x_star, None)
ax.set(aspect="equal")
save(fig, "04-zigzag", "Fourteen exact steps from the worst start, each perpendicular to the one before.")

# %% [markdown]
# The rule itself
# ---------------
#
# `oracle.value` is the trial. The promise is written $\langle g, s \rangle$ with the move $s$ that would happen, so
# that the test stays right under a projection. Where the promise is below the rounding of $f$, the search gives up: $f$
# can no longer tell.

# %%
show(Armijo.search, Goldstein.search)

# %% [markdown]
# On samples the search is made anew in each step, and costs trials each time. `SLSRestart` begins with the same step
# every time; `SLS` with a little more than the last one, growing at most $\tau$-fold in an epoch.

# %%
show(SLSRestart, SLS)

# %% [markdown]
# A check against the theorem
# ---------------------------
#
# Theorem 2 is sharp on a parabola: $2 (1 - c)/L$ passes, and what is a hair longer does not. Of Goldstein, the interval
# is $[2c/\lambda,\ 2(1-c)/\lambda]$.

# %%
curvature, share = 3.0, 0.3
parabola = Formula(lambda x: (curvature * x @ x / 2, curvature * x), x0=1.0, f_star=0.0)
edge = 2 * (1 - share) / curvature
assert np.isclose(run(Armijo(eta_init=edge * 0.999, c=share), parabola, 1).eta[0], edge * 0.999)
assert np.isclose(run(Armijo(eta_init=edge * 1.001, c=share), parabola, 1).eta[0], edge * 1.001 / 2)
for start in (0.01, 0.1, 1.0, 10.0):
    found = run(Goldstein(eta_init=start, c=share), parabola, 1).eta[0]
    assert 2 * share / curvature <= found <= edge

# %%
fig, panels = plt.subplots(1, 3, figsize=(7.4, 3.3))
steps = 60
for ax, name in zip(panels[:2], ("log-sum-exp", "huber"), strict=True):
    problem = PROBLEMS[name]()
    rule = Armijo(eta_init=10.0, c=0.3, beta=0.5)
    r = run(rule, problem, steps)
    least = min(10.0, 2 * 0.5 * 0.7 / problem.L)
    moved = r.eta > 0
    assert (r.eta[moved] >= least * (1 - 1e-12)).all()
    fall = r.f[:-1] - r.f[1:]
    assert (fall >= 0.3 * r.eta * squares(r.g) - 1e-15 * abs(r.f[:-1])).all(), "a share of the promise"
    t = np.arange(1, steps + 1)
    bound = (r.f[0] - problem.f_star) / (0.3 * least * t)
    best = np.minimum.accumulate(squares(r.g))
    assert (best <= bound).all(), "Theorem 2"
    ax.loglog(t, best, label=r"least $|g_s|^2$ so far")
    ax.loglog(t, bound, color="0.35", linestyle=(0, (1, 1)), linewidth=2.6, label="Theorem 2")
    ax.set(title=name, xlabel="step $t$", ylim=(1e-16, 1e4))
    ax.legend(loc="lower left", fontsize=8.5)
    print(f"{name}: steps from {r.eta[moved].min():.3f} to {r.eta.max():.2f}; no shorter than {least:.3f} by Theorem 2")
panels[0].set_ylabel("squared gradient")

family = PROBLEMS["family-interpolating"]()
parts = [family.sample([i]) for i in range(3)]
k = pick(7, 5)
least = min(1.0, 2 * 0.9 * 0.5 / max(part.L for part in parts))
mean = all_paths(SLSRestart(eta_init=1.0, c=0.5), family, k)
bound = (1 - np.mean([part.mu for part in parts]) * least) ** np.arange(k + 1) * mean[0]
assert (mean <= bound * (1 + 1e-12)).all(), "Theorem 3"
panels[2].semilogy(mean, marker="o", label=r"$\mathrm{E}\,|x_t-x^*|^2$")
panels[2].semilogy(bound, color="0.35", linestyle=(0, (1, 1)), linewidth=2.6, label="Theorem 3")
panels[2].set(title="samples, all paths", xlabel="step $t$", ylabel="squared distance")
panels[2].legend(loc="lower left", fontsize=8.5)
save(
    fig,
    "04-bounds",
    "Armijo's rule and Theorem 2 on two functions; the stochastic search and Theorem 3, over all paths.",
)

# %% [markdown]
# A small network
# ---------------
#
# The searches of Vaswani et al. with the share of their theorem, $c = \frac{1}{2}$, and with that of their code, 0.1. A
# large share looks careful, and is slow: on a parabola it allows no more than the exact step $1/L$. We count what the
# oracle is asked, gradients and trial values alike.

# %%
epochs = pick(20, 3)
rules = {
    "SLS, $c=0.1$": SLS(),
    "SLS, $c=1/2$": SLS(c=0.5),
    "SLSRestart, $c=0.1$": SLSRestart(),
    "SLSRestart, $c=1/2$": SLSRestart(c=0.5),
    "SPS_max": SPSMax(),
    r"constant $\eta=0.1$": GradientDescent(0.1),
}
runs, asked = {}, {}
for name, rule in rules.items():
    counters = []
    runs[name] = train(rule, epochs, wrap=lambda net, to=counters: to.append(Counted(net)) or to[0])
    asked[name] = counters[0].evaluations / len(runs[name].eta)
    print(f"{name:24} asks {asked[name]:5.2f} times a step")
fig = plt.figure(figsize=(7.4, 3.6))
learning(fig, runs)
save(
    fig,
    "04-network",
    "Line searches on mini-batches of handwritten digits: loss, test error, and the steps they found.",
)
scores(runs)
for name in list(rules)[:4]:
    assert runs[name].accuracy[-1] > 0.9
assert 2 <= asked["SLS, $c=0.1$"] < 2.5
assert asked["SLSRestart, $c=1/2$"] > 5

# %% [markdown]
# `SLS` begins where it left off, and hardly ever needs a second trial: a step costs a gradient and a bit more than one
# value. Restarting from 1 with a strict test costs several trials in every step.

# %% [markdown]
# What breaks it
# --------------
#
# **Samples that disagree.** Each search minimises its own $f_i$, and has no reason to make shorter steps near $x^*$,
# where the mean is at rest and the samples are not. Steps have to shrink by other means (chapter 8).
#
# **Kinks.** $f = |x_1| + 10 |x_2|$ from $(1,\ 0.03)$. The gradient points across the valley. Every step that passes the
# test is of the size of $x_2$, which shrinks geometrically; so their sum is finite, and too small to reach the
# solution. Armijo's rule stops at a point that is no minimum, and every test was passed. Polyak's rule, which knows
# the depth, crosses the valley again and again, and arrives.
#
# **Rounding.** When $f - f^*$ reaches the rounding of $f$, in float32 about $10^{-7} f$, no test can be trusted, and
# the search ends. There $|x - x^*|$ is still of the order of its root; a rule that looks at gradients alone could go
# on.

# %%
noisy = PROBLEMS["family"]()
coin = Recorded(np.random.default_rng(0).integers(3, size=(300, 1)), steps_per_epoch=3)
restless = run(SLSRestart(c=0.5), noisy, 300, FiniteSum(noisy, coin))
assert np.median(squares(restless.x[-100:] - noisy.x_star)) > 0.01
assert restless.eta[-100:].min() > 0.1

valley = Formula(lambda x: (abs(x[0]) + 10 * abs(x[1]), np.sign(x) * [1, 10]), x0=[1.0, 0.03], f_star=0.0)
stuck, free = run(Armijo(c=0.1), valley, 60), run(Polyak(), valley, 2000)
print(f"kinks: Armijo ends at f = {stuck.f[-1]:.3f}, Polyak at {free.f.min():.1e}")
assert stuck.f[-1] > 0.99
assert free.f.min() < 1e-6

single = logistic.to(np, "float32")
rounded = run(Armijo(eta_init=5.0), single, 60)
exact = run(Armijo(eta_init=5.0), logistic, 60)
distance = [np.linalg.norm(each.x - logistic.x_star, axis=1) for each in (rounded, exact)]
print(f"float32: the search ends after {np.argmin(rounded.eta > 0)} steps, |x - x*| = {distance[0][-1]:.1e}")
assert 1e-5 < distance[0][-1] < 1e-2
assert rounded.eta[-1] == 0
assert f"{np.finfo(np.float32).eps:.0e}" == "1e-07"

fig, panels = plt.subplots(1, 3, figsize=(7.4, 3.2))
panels[0].semilogy(np.linalg.norm(restless.x - noisy.x_star, axis=1), linewidth=0.8)
panels[0].set(title="samples disagree", ylabel="$|x_t-x^*|$", xlabel="step $t$")
contours(panels[1], valley, (0.975, 1.003), (-0.034, 0.034), levels=9)
path(panels[1], stuck.x, color=BLUE, linestyle="-", label="Armijo")
path(panels[1], free.x[:12], color=ORANGE, linestyle="--", label="Polyak")
panels[1].set(title="kinks")
panels[1].legend(loc="lower left", fontsize=8.5)
panels[2].semilogy(distance[0], label="float32")
panels[2].semilogy(distance[1], label="float64")
panels[2].set(title="rounding", ylabel="$|x_t-x^*|$", xlabel="step $t$")
panels[2].legend(fontsize=8.5)
save(
    fig,
    "04-breaks",
    "Left: samples that disagree keep the search jumping. Middle: at kinks Armijo's steps die far from the solution, "
    "which lies at the origin. Right: a search ends where the function value has no more digits.",
)

# %% [markdown]
# Three exercises
# ---------------
#
# Fill in the functions in `tutorials/exercises/ch04.py`, then run
# `python -m pytest tutorials/exercises/test_ch04.py`. The third marries this chapter to the last: Raydan's globalised
# BB1 (1997) tests against the *highest* of the last few values, so that the rises on which the rule lives are
# allowed, and the cycle of chapter 3 is not.

# %%
show(ch04)

# %% [markdown]
# Sources: the references of `refopt/rules/line_search.py`. A. Cauchy 1847; L. Kantorovich 1948; A. Goldstein 1965; L.
# Armijo 1966; S. Vaswani et al. 2019, arXiv:1905.09997; L. Grippo, F. Lampariello and S. Lucidi 1986; M. Raydan 1997.

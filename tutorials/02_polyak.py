# %% [markdown]
"""
Chapter 2. The step from the gap: Polyak to ALI-G
==================================================
"""

# %% [markdown]
# The question
# ------------
#
# A step against the gradient needs a length. Chapter 1 took it from the curvature $L$ of the function, which is seldom
# known. Now suppose we know something else: how deep the valley is. The value $f^*$ at the bottom is often known even
# where the bottom is not. A system of equations that has a solution leaves no residual; a network large enough to fit
# its data has loss 0 at best. *If we stand at height $f(x)$ and know $f^*$, how far should we go?*

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from exercises import ch02
from pages import (
    BLUE,
    GREEN,
    ORANGE,
    QUICK,
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

from refopt import (
    ALIG,
    L2,
    PROBLEMS,
    SPS,
    FiniteSum,
    GradientDescent,
    Polyak,
    PSSDelta,
    PSSGamma,
    Recorded,
    SPSMax,
    descend,
)
from refopt.convex import Quadratic
from refopt.linear_models import LeastSquares

# %% [markdown]
# The theorem
# -----------
#
# Let $f$ be convex, $x^*$ a minimiser, and $g$ a subgradient of $f$ at $x$. Whatever the step size $\eta$,
#
# $$ |x - \eta g - x^*|^2 = |x - x^*|^2 - 2 \eta \langle g, x - x^* \rangle + \eta^2 |g|^2. $$
#
# Where $x^*$ lies we do not know, but convexity says $\langle g, x - x^* \rangle \ge f(x) - f^*$. So the right side is
# at most $|x - x^*|^2 - 2 \eta (f - f^*) + \eta^2 |g|^2$, a parabola in $\eta$ whose height alone is unknown. Its
# lowest point is
#
# $$ \eta = \frac{f(x) - f^*}{|g|^2}. $$
#
# **Theorem 1** (Polyak 1969). *Let $f$ be convex with minimum $f^*$. Polyak's step brings $x$ nearer to every
# minimiser:*
#
# $$ |x_{t+1} - x^*|^2 \le |x_t - x^*|^2 - \frac{(f(x_t) - f^*)^2}{|g_t|^2}. $$
#
# Nothing was said of smoothness. Adding up these falls, whose sum cannot exceed $|x_0 - x^*|^2$, gives rates:
#
# - *If all $|g_t| \le G$, the best gap so far is at most $G\,|x_0 - x^*| / \sqrt{t + 1}$.*
# - *If $f$ is $L$-smooth, then $|g|^2 \le 2L(f - f^*)$. So every step is at least $1/(2L)$ long, and the best gap
#   so far is at most $2L\,|x_0 - x^*|^2 / (t + 1)$.*
# - *If it is $\mu$-strongly convex too, then with $q = \mu / L$ each step multiplies $|x - x^*|^2$ by at most
#   $1 - \frac{5}{4} q + \frac{1}{2} q^2$.*
#
# The rule knows neither $G$ nor $L$ nor $\mu$, and has each rate as soon as the function deserves it.

# %% [markdown]
# A picture of the mechanism
# --------------------------
#
# By convexity every minimiser lies in the half-plane $f(x) + \langle g, y - x \rangle \le f^*$. Polyak's step goes to
# the nearest point of it: a projection. From any point on its edge, $x^*$ is nearer than from $x$, because the angle
# at $x^+$ between the way back to $x$ and the way on to $x^*$ is at least a right one. Seen from the side, along the
# gradient, the step follows the tangent down to the level $f^*$: it is Newton's method for the equation
# $f(x) = f^*$.

# %%
bowl = Quadratic(np.array([[1.0, 0.3], [0.3, 2.2]]), np.zeros(2), 0.0, np.array([2.6, 1.3]))
bowl_run = run(Polyak(), bowl, 1)
x, x_next, g = bowl_run.x[0], bowl_run.x[1], bowl_run.g[0]

fig, (above, side) = plt.subplots(1, 2, figsize=(7.4, 3.6))
contours(above, bowl, (-3.3, 3.5), (-3.7, 3.2))
along = np.array([-g[1], g[0]]) / np.linalg.norm(g)
edge = x_next + np.outer(np.linspace(-8, 8, 2), along)
beyond = np.concatenate([edge, edge[::-1] - 12 * g / np.linalg.norm(g)])
above.fill(*beyond.T, color=BLUE, alpha=0.12, linewidth=0)
above.plot(*edge.T, color=BLUE, linewidth=1.2, linestyle="-")
for point, dash in ((x, "--"), (x_next, "-")):
    above.add_patch(plt.Circle((0, 0), np.linalg.norm(point), fill=False, color=ORANGE, linestyle=dash, linewidth=1.2))
above.annotate("", x_next, x, arrowprops={"arrowstyle": "-|>", "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0})
above.plot(*np.array([x, x_next]).T, "ko", markersize=4)
above.text(x[0] + 0.12, x[1] + 0.1, "$x$")
above.text(x_next[0] - 0.05, x_next[1] - 0.55, "$x^+$")
star(above, (0, 0), None)
above.text(0.15, -0.45, "$x^*$")
above.text(-3.15, -3.5, r"$f(x)+\langle g,\,y-x\rangle\leq f^*$", color=BLUE)
above.set_aspect("equal")

line = np.linspace(-0.55, 0.25, 200)
length = np.linalg.norm(g)
profile = [bowl.value(x + s * g) for s in line]
side.plot(line * length, profile, "-", color="k", label="$f$ along $-g$")
side.plot(line * length, bowl_run.f[0] + line * length**2, "--", color=BLUE, label="tangent at $x$")
side.axhline(0, color="0.4", linewidth=1, linestyle=":")
side.text(0.3, 0.1, "level $f^*$", color="0.3")
eta = float(bowl_run.eta[0])
side.plot([0, -eta * length], [bowl_run.f[0], 0], "ko", markersize=4)
side.text(0.1, bowl_run.f[0] - 0.5, "$x$")
side.text(-eta * length - 0.1, 0.25, "$x^+$", ha="right")
side.set(xlabel="way along the gradient", ylabel="$f$", ylim=(-0.6, max(profile)))
side.legend(loc="upper left")
save(
    fig,
    "02-projection",
    "Left: all minimisers lie in the shaded half-plane, and Polyak's step projects x onto it, so that the circle about "
    "the solution through the new point is smaller. Right: the same step follows the tangent to the level f*.",
)

halfway = (x_next - x) @ (x_next - np.zeros(2))
assert halfway <= 1e-12, "the angle at x+ is at least a right angle"

# %% [markdown]
# On a parabola $\lambda x^2 / 2$ the tangent reaches the level 0 half way to the minimum, whatever $\lambda$ is: the
# step halves $x$ instead of solving the problem, as Newton's method does at a double root. On $|x|$ the tangent *is*
# the function, and one step ends at the solution.

# %%
for curvature in (0.25, 4.0, 100.0):
    parabola = Formula(lambda x, a=curvature: (a * x @ x / 2, a * x), x0=3.0, f_star=0.0)
    assert np.array_equal(run(Polyak(), parabola, 20).x[:, 0], 3 * 0.5 ** np.arange(21)), "halved, bit for bit"
absolute = Formula(lambda x: (abs(x).sum(), np.sign(x)), x0=3.0, f_star=0.0)
assert run(Polyak(), absolute, 1).x[1] == 0

# %% [markdown]
# The rule itself
# ---------------
#
# This is the code that runs, printed from the package. The numbers at the ends of lines are those of the equations in
# the docstring of its file. `ratio(a, b)` is $a/b$, and 0 where $a = 0$ or $b = 0$: at a solution there is no step.

# %%
show(Polyak)

# %% [markdown]
# Without convexity the same formula is Newton's step along the gradient (chapter 6). With it, and with a bound on the
# step, it became a family for training networks. A network is trained on mini-batches: step $t$ sees one $f_i$ of
# many, with a gradient $g_i$ and an infimum $f_i^*$ of its own.
#
# - **SPS** (Loizou et al. 2021) divides by a constant: $\gamma = (f_i - f_i^*) / (c\,|g_i|^2)$. $c = 1$ is Polyak's
#   step, and $c = \frac{1}{2}$ solves a parabola at once. **SPS_max** bounds $\gamma$ by a constant $\gamma_b$.
# - **PSS** $\gamma$ and $\delta$ (King 2024) take all $f_i^* = 0$, and bound the step by 1, or by its own past.
# - **ALI-G** (Berrada et al. 2020) takes a loss $\ell \ge 0$ and derives the bound $\eta$: it minimises a model that
#   knows that $\ell$ cannot be negative, $\max\{0,\ \ell + \langle g, u - w \rangle\} + |u - w|^2 / (2 \eta)$.

# %%
show(SPSMax.step, PSSDelta.step, ALIG.step)

# %% [markdown]
# Where does the `min` of ALI-G come from? The model is the tangent, cut off at 0, and a spring of stiffness
# $1/\eta$ that holds $u$ near $w$. A stiff spring stops on the slope, after the gradient step $\eta g$. A soft one
# lets $u$ slide to where the tangent meets 0, but no further: there is nothing to be gained beyond. That is Polyak's
# step, and so $\gamma = \min\{\ell / |g|^2,\ \eta\}$.

# %%
loss = Formula(lambda u: (np.logaddexp(0, 2 * u).sum(), 2 / (1 + np.exp(-2 * u))), x0=1.1, f_star=0.0)
w, (value, slope) = loss.x0[0], loss(loss.x0)
u = np.linspace(-1.6, 2.0, 400)
fig, panels = plt.subplots(1, 2, sharey=True, figsize=(7.4, 3.5))
springs = {r"stiff: $\gamma=\eta$": 0.25, r"soft: $\gamma=\ell/|g|^2$": 1.6}
for ax, (title, eta_max) in zip(panels, springs.items(), strict=True):
    model = np.maximum(0, value + slope * (u - w))
    ax.plot(u, [loss.value(np.array([v])) for v in u], "-", color="0.6", label=r"loss $\ell$")
    ax.plot(u, model, "--", color=BLUE, label="tangent, cut off at 0")
    ax.plot(u, model + (u - w) ** 2 / (2 * eta_max), "-.", color=ORANGE, label="model with its spring")
    reached = run(ALIG(eta_max=eta_max, mu=0.0, delta=0.0), loss, 1)
    best = u[np.argmin(model + (u - w) ** 2 / (2 * eta_max))]
    assert abs(reached.x[1, 0] - best) < 0.01, "the rule goes to the minimum of the model, to the grid's width"
    ax.axvline(reached.x[1, 0], color=GREEN, linewidth=1, linestyle="-")
    ax.text(reached.x[1, 0] + 0.06, 3.4, "$w^+$", color=GREEN)
    ax.plot(w, value, "ko")
    ax.text(w + 0.1, value - 0.35, "$w$")
    ax.set(xlabel="$u$", title=title, ylim=(-0.1, 4.2))
    assert np.isclose(reached.eta[0], min(value / slope[0] ** 2, eta_max))
panels[0].set_ylabel("loss")
fig.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
save(
    fig,
    "02-alig",
    "ALI-G minimises the tangent cut off at zero plus a spring. A stiff spring, left, stops on the slope; a soft one, "
    "right, stops where the tangent meets zero.",
)

# %% [markdown]
# Three papers, one rule: for losses with infimum 0, without momentum, ALI-G with $\delta = 0$, SPS_max with $c = 1$
# and King's $\gamma$ take the same steps, bit for bit.

# %%
rows = PROBLEMS["least-squares"]()
shuffled = Recorded(np.random.default_rng(2).integers(rows.n, size=(200, 1)), steps_per_epoch=rows.n)
three = [
    run(rule, rows, 200, FiniteSum(rows, shuffled)).x
    for rule in (ALIG(eta_max=1.0, mu=0.0, delta=0.0, f_star=0.0), SPSMax(c=1.0, f_star=0.0), PSSGamma())
]
assert np.array_equal(three[0], three[1])
assert np.array_equal(three[1], three[2])

# %% [markdown]
# A check against the theorem
# ---------------------------
#
# First with kinks, where Polyak's rule is at home: a support vector machine with an $\ell_1$ penalty. Then a smooth
# problem, logistic regression. Of both the package knows $x^*$ and $f^*$ to the last digits. Every step must
# bring the iterate nearer to $x^*$, although $f$ itself goes up again and again.

# %%
steps = pick(400, 200)
fig, panels = plt.subplots(1, 3, figsize=(7.4, 3.5), width_ratios=(1, 1, 1))
for name, ax in zip(("svm-l1", "logistic"), panels[:2], strict=True):
    problem = PROBLEMS[name]()
    r = run(Polyak(), problem, steps)
    distance, gap = squares(r.x - problem.x_star), r.f - problem.f_star
    solid = int(np.cumprod(gap[:-1] > 1e-9).sum())  # while the gap has digits left
    fall = distance[:-1] - distance[1:] - gap[:-1] ** 2 / squares(r.g)
    assert (fall[:solid] >= -1e-12 * distance[0]).all(), "Theorem 1, at every step"
    t, best = np.arange(len(gap)), np.minimum.accumulate(gap)
    if np.isinf(problem.L):
        bound, formula = problem.G * np.sqrt(distance[0] / (t + 1)), r"$G|x_0-x^*|/\sqrt{t+1}$"
        rises = int((np.diff(gap) > 0).sum())
        print(f"{name}: f went up in {rises} of {steps} steps, the distance in none")
        assert rises > steps / 4
    else:
        bound, formula = 2 * problem.L * distance[0] / (t + 1), r"$2L|x_0-x^*|^2/(t+1)$"
        assert (r.eta[:solid] >= (1 - 1e-9) / (2 * problem.L)).all(), "no step is shorter than 1/(2L)"
    assert (best[: solid + 1] <= bound[: solid + 1]).all(), "its rate"
    shown = slice(1, solid + 1)
    ax.loglog(t[shown], gap[shown], linewidth=0.9, label="$f-f^*$")
    ax.loglog(t[shown], best[shown], label="best so far")
    ax.loglog(t[1:], bound[1:], color="0.35", linestyle=(0, (1, 1)), linewidth=2.6, label=formula)
    ax.set(title=name, xlabel="step $t$", ylabel="$f(x_t)-f^*$", ylim=(1e-15, 60))
    ax.legend(loc="lower left")
    panels[2].loglog(t[shown], np.sqrt(distance[shown]), label=name)
    print(f"{name}: {solid} steps checked, best gap {best[-1]:.2e}, bound {bound[-1]:.2e}")
panels[2].set(xlabel="step $t$", ylabel="$|x_t-x^*|$", title="distance: never grows")
panels[2].legend(loc="lower left")
save(
    fig,
    "02-bounds",
    "Measured gap and the theorem's bound, with kinks (left) and smooth (middle), until rounding ends them; the "
    "distance to the solution falls in every step (right).",
)

# %% [markdown]
# **One sample at a time.** If a single $x^*$ minimises every $f_i$ (*interpolation*), the argument holds for each
# sample by itself.
#
# **Theorem 2** (Loizou et al. 2021). *Let all $f_i$ be convex and $L_i$-smooth, $c \ge \frac{1}{2}$, and $x^*$ least
# for all of them. Then on every path, bounded or not,*
#
# $$ |x_{t+1} - x^*|^2 \le |x_t - x^*|^2 - (2 - 1/c)\,\gamma_t\,(f_i(x_t) - f_i^*). $$
#
# *If the $f_i$ are $\mu_i$-strongly convex with mean $\bar\mu$, then with $\alpha = \min\{1/(2 c L_{\max}),\
# \gamma_b\}$, interpolation or not,*
#
# $$ \mathrm{E}\,|x_t - x^*|^2 \le (1 - \bar\mu \alpha)^t\, |x_0 - x^*|^2 + \frac{2 \gamma_b \sigma^2}{\bar\mu \alpha},
# \qquad \sigma^2 = f(x^*) - \mathrm{E}\, f_i^*, $$
#
# *and with interpolation, $c = \frac{1}{2}$ and no bound, $\mathrm{E}\,|x_t - x^*|^2 \le (1 - \bar\mu /
# L_{\max})^t\,|x_0 - x^*|^2$.*
#
# A picture of both cases. Take single rows of a linear system as samples, $f_i = (a_i^\top x - b_i)^2 / 2$. With
# $c = \frac{1}{2}$ the step is $1/|a_i|^2$, and $x$ is projected onto the line $a_i^\top x = b_i$: Kaczmarz' method
# of 1937. If the lines have a point in common, the path finds it. If they have none, it runs round for ever.

# %%
A = np.array([[1.0, 0.35], [0.2, 1.0], [0.9, -0.8]])
meeting = LeastSquares(A, A @ np.array([0.4, 0.3]), np.array([-1.6, -0.9]))
apart = replace(meeting, b=meeting.b + np.array([0.9, -0.6, -0.6]))
in_turn = Recorded(np.array([[0], [1], [2]]), steps_per_epoch=3)

fig, panels = plt.subplots(1, 3, figsize=(7.4, 3.1), sharey=True)
cases = {
    "interpolation": (meeting, SPS()),
    "no interpolation": (apart, SPS()),
    r"the same, $\gamma_b=0.2$": (apart, SPSMax(eta_max=0.2)),
}
last_round = {}
for ax, (title, (system, rule)) in zip(panels, cases.items(), strict=True):
    r = run(rule, system, 60, FiniteSum(system, in_turn))
    for a, b in zip(system.A, system.b, strict=True):
        ax.axline(b * a / (a @ a), b * a / (a @ a) + [-a[1], a[0]], color="0.7", linewidth=1)
    path(ax, r.x, color=BLUE, linestyle="-", markersize=2.5, linewidth=0.9)
    path(ax, r.x[-4:], color=ORANGE, linestyle="-", linewidth=1.8, zorder=4)
    ax.plot(*system.x_star, "k*", markersize=9, markerfacecolor="w", zorder=5)
    ax.set(title=title, xlabel="$x_1$", xlim=(-1.9, 1.6), ylim=(-1.5, 1.6), aspect="equal")
    ax.grid(False)
    last_round[title] = np.linalg.norm(r.x[-3:] - system.x_star, axis=1).max()
    print(f"{title:28} largest distance to the solution in the last round: {last_round[title]:.1e}")
panels[0].set_ylabel("$x_2$")
save(
    fig,
    "02-kaczmarz",
    "Each step projects onto one of three lines; the last round is orange, the least-squares solution a star. Left: "
    "the lines meet, and the path converges. Middle: they do not, and it runs round for ever. Right: shorter steps "
    "run round nearer to the solution.",
)
converged, unbounded, bounded = last_round.values()
assert converged < 1e-9
assert bounded < unbounded / 3
kaczmarz = run(SPS(), meeting, 15, FiniteSum(meeting, in_turn))
np.testing.assert_allclose(kaczmarz.eta, np.resize(1 / squares(A), 15), rtol=1e-6)

# %% [markdown]
# The expectation in Theorem 2 can be computed without sampling: three samples and $k$ steps make $3^k$ paths, few
# enough to take all of them. The family has three quadratics in the plane; in one version they have a common
# minimiser, in the other not.

# %%
show(all_paths)

k = 7
t = np.arange(k + 1)
last = {}
fig, panels = plt.subplots(1, 2, sharey=True)
for ax, name in zip(panels, ("family-interpolating", "family"), strict=True):
    family = PROBLEMS[name]()
    parts = [family.sample([i]) for i in range(family.n)]
    mu_mean, L_max = np.mean([part.mu for part in parts]), max(part.L for part in parts)
    for rule in (SPS(), SPSMax(eta_max=0.15)):
        cap = getattr(rule, "eta_max", np.inf)
        alpha = min(1 / L_max, cap)
        noise = 2 * cap * family.sigma2 / (mu_mean * alpha) if family.sigma2 > 1e-14 else 0
        bound = (1 - mu_mean * alpha) ** t * squares(family.x0 - family.x_star) + noise
        mean = all_paths(rule, family, k)
        assert (mean <= bound * (1 + 1e-12)).all(), "Theorem 2"
        label = "no bound" if cap == np.inf else rf"$\gamma_b={cap}$"
        last[name, cap] = mean[-1]
        (drawn,) = ax.semilogy(t, mean, marker="o", label=label)
        if np.isfinite(bound).all():
            mark = "x" if cap == np.inf else "+"
            look = {"color": drawn.get_color(), "linestyle": (0, (1, 1)), "marker": mark, "markersize": 6}
            ax.semilogy(t, bound, **look, label=f"Theorem 2, {label}")
    ax.set(title="interpolation" if noise == 0 else "no interpolation", xlabel="step $t$")
    ax.legend(fontsize=8.5)
panels[0].set_ylabel(r"$\mathrm{E}\,|x_t-x^*|^2$, over all paths")
save(
    fig,
    "02-expectation",
    "Mean squared distance over all paths, and Theorem 2. With interpolation a bound only slows the rule down; "
    "without, the unbounded step stalls, and the bounded one goes on to a smaller error.",
)
assert last["family-interpolating", np.inf] < last["family-interpolating", 0.15]
assert last["family", 0.15] < last["family", np.inf] / 5

# %% [markdown]
# A small network
# ---------------
#
# A network with 64 inputs, 32 hidden units and 10 classes learns handwritten digits from mini-batches of 32 images.
# It can fit all of them, so $f^* = 0$ is a fair guess, and none of these rules is told a learning rate; the bounds
# are the papers' defaults. Beside them runs gradient descent with a customary rate, and with one too small.

# %%
epochs = pick(25, 3)
rules = {
    "SPS_max, $c=1/2$": SPSMax(),
    r"PSS $\gamma$ (King)": PSSGamma(),
    r"PSS $\delta$ (King)": PSSDelta(),
    "ALI-G": ALIG(),
    r"constant $\eta=0.1$": GradientDescent(0.1),
    r"constant $\eta=0.001$": GradientDescent(0.001),
}
runs = {name: train(rule, epochs) for name, rule in rules.items()}
fig = plt.figure(figsize=(7.4, 3.6))
learning(fig, runs)
save(
    fig,
    "02-network",
    "A network on handwritten digits: loss, test error, and the steps the rules have chosen. (On the right ALI-G lies "
    "under the black line.)",
)
scores(runs)
for name in list(rules)[:4]:
    assert runs[name].accuracy[-1] > 0.9
    assert runs[name].loss[-1] < runs[r"constant $\eta=0.001$"].loss[-1]
if not QUICK:
    assert runs["SPS_max, $c=1/2$"].loss[-1] < runs[r"PSS $\delta$ (King)"].loss[-1]

# %% [markdown]
# Read the right panel: the median step of each epoch, and a band that holds the middle half. What is left to gain
# falls, and the squared gradient falls faster: steps grow, until SPS_max runs into its bound 1. King's $\delta$ only
# falls: one batch with a small step lowers all steps to come, for ever. ALI-G sits at its bound 0.1 almost from the
# start, and leaves the rest to momentum.

# %%
caps = dict(zip(list(rules)[:4], (1.0, 1.0, 1.0, 0.1), strict=True))
for name, cap in caps.items():
    early, late = np.array_split(np.isclose(runs[name].eta, cap), 2)
    print(f"{name:20} steps at the bound {cap}: {100 * early.mean():3.0f} %, then {100 * late.mean():3.0f} %")
assert (np.diff([e for e in runs[r"PSS $\delta$ (King)"].eta if e > 0]) <= 0).all()
assert np.isclose(runs["ALI-G"].eta, 0.1).mean() > 0.9
if not QUICK:
    assert np.isclose(np.median(runs["SPS_max, $c=1/2$"].eta[-450:]), 1.0)

# %% [markdown]
# What breaks it
# --------------
#
# **An $f^*$ too low.** On $x^2/2$ with $f^* = -\varepsilon$ taken for 0, the rule is Newton's method for the root of
# $x^2/2 + \varepsilon$, which does not exist. Put $x_0 = \sqrt{2\varepsilon} \cot\theta$; then $x_t =
# \sqrt{2\varepsilon} \cot 2^t\theta$ exactly. Each step doubles an angle: the textbook example of chaos. The steps
# near the solution are the longest, for there the gradient vanishes and the imagined gap does not.
#
# **An $f^*$ too high.** The iterates stop as soon as they are below it: harmless, and useless.
#
# **No interpolation.** Two samples $(x \mp 1)^2 / 2$ pull in turn. With $c = \frac{1}{2}$ the iterate jumps to $\pm 1$
# for ever; with $c = 1$ its distance to one of them is halved, and $\mathrm{E}\,x_t^2$ tends to $\frac{1}{3}$. Their
# mean is least at 0.

# %%
square = Formula(lambda x: (x @ x / 2, x), x0=2.0, f_star=0.0)
too_low = run(Polyak(f_star=-0.5), square, 60)
exact = 1 / np.tan(2.0 ** np.arange(13) * np.arctan(0.5))
assert (abs(too_low.x[:13, 0] / exact - 1) <= 1e-11 * 2.0 ** np.arange(13)).all(), "x_t = cot(2^t arccot 2)"
too_high = run(Polyak(f_star=0.4), square, 60)
assert abs(too_high.f[-1] - 0.4) < 1e-9

pull = LeastSquares(np.ones((2, 1)), np.array([1.0, -1.0]), np.array([2.0]))
coin = Recorded(np.random.default_rng(0).integers(2, size=(60, 1)), steps_per_epoch=2)
jumps = {c: run(SPS(c=c), pull, 60, FiniteSum(pull, coin)).x[:, 0] for c in (0.5, 1.0)}
assert np.allclose(abs(jumps[0.5][1:]), 1, rtol=0, atol=1e-12)
second_moment = all_paths(SPS(c=1.0), pull, pick(11, 8))
print(f"E x_t^2 with c = 1: {second_moment[-1]:.6f}")
assert abs(second_moment[-1] - 1 / 3) < 1e-3

fig, panels = plt.subplots(1, 3, figsize=(7.4, 3.0))
panels[0].plot(too_low.x[:, 0], marker=".", linewidth=0.7, color=BLUE)
panels[0].set(title="$f^*$ too low", ylabel="$x_t$", yscale="symlog")
panels[1].plot(too_high.x[:, 0], marker=".", linewidth=0.7, color=BLUE)
panels[1].axhline(np.sqrt(0.8), color=ORANGE, linestyle="--", label="$f=0.4$")
panels[1].set(title="$f^*$ too high", ylabel="$x_t$", ylim=(0, 2.1))
panels[1].legend()
panels[2].plot(jumps[0.5], marker=".", linewidth=0.6, linestyle="-", color=BLUE, label="$c=1/2$")
panels[2].plot(jumps[1.0], marker="x", linewidth=0.6, linestyle="--", color=ORANGE, label="$c=1$")
panels[2].set(title="two samples that disagree", ylabel="$x_t$")
panels[2].legend()
for ax in panels:
    ax.set_xlabel("step $t$")
    ax.axhline(0, color="0.4", linewidth=0.8)
save(
    fig,
    "02-breaks",
    "Left: too low an f* makes the iterates chaotic (the scale is linear up to one, logarithmic beyond). Middle: too "
    "high a one stops them early. Right: samples that disagree keep them jumping.",
)

# %% [markdown]
# **Weight decay in the loss.** A penalised loss does not reach 0, and what it does reach nobody knows. The package
# knows that it does not know: it refuses, in a sentence, and ALI-G's remedy is a ball in place of the penalty.

# %%
try:
    next(descend(Polyak(), L2(rows, 0.01), rows.x0))
except ValueError as refusal:
    print(refusal)
else:
    raise AssertionError("an unknown f* must be refused")

# %% [markdown]
# **A constant beside $|g|^2$.** ALI-G adds $\delta > 0$ to the denominator, against division by small numbers. It is
# not innocent: on $x^2/2$, once $x^2 \ll \delta$, the iterate no longer halves, and $t\,x_t^2 \to \delta$.

# %%
delta = 1e-2
slow = run(ALIG(eta_max=np.inf, mu=0.0, delta=delta), square, 2000).x[:, 0]
print(f"t x_t^2 / delta after 2000 steps: {2000 * slow[-1] ** 2 / delta:.3f}")
assert abs(2000 * slow[-1] ** 2 / delta - 1) < 0.02

# %% [markdown]
# Three exercises
# ---------------
#
# Fill in the functions in `tutorials/exercises/ch02.py`, then run
# `python -m pytest tutorials/exercises/test_ch02.py`. The first is the rule with its odd cases. The second is
# Kaczmarz' projection, and the test holds it to SPS. The third does without $f^*$: Hazan and Kakade (2019) need only a
# lower bound, and halve its error whenever it turns out to be wrong.

# %%
show(ch02)

# %% [markdown]
# Sources: the references of `refopt/rules/polyak.py`, `sps.py` and `alig.py`. B. T. Polyak 1969; E. Hazan and
# S. Kakade 2019, arXiv:1905.00313; N. Loizou et al. 2021, arXiv:2002.10542; L. Berrada et al. 2020,
# arXiv:1906.05661; D. King 2024; S. Kaczmarz 1937.

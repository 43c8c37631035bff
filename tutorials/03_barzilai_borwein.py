# %% [markdown]
"""
Chapter 3. The step from the secant: Barzilai and Borwein
=========================================================
"""

# %% [markdown]
# The question
# ------------
#
# The best step depends on the curvature, and curvature is a matter of second derivatives. But every step is an
# experiment: the point moved by $s$, and the gradient changed by $y$. *What does the last move tell about the length
# of the next?*

# %%
import matplotlib.pyplot as plt
import numpy as np
from exercises import ch03
from pages import (
    BLUE,
    GREEN,
    ORANGE,
    Formula,
    contours,
    gaps,
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

from refopt import BB1, BB2, PROBLEMS, SPECIAL, Cauchy, GradientDescent, SPSMax, StochasticBB
from refopt.convex import Quadratic

# %% [markdown]
# The theorem
# -----------
#
# With $s = x_t - x_{t-1}$ and $y = g_t - g_{t-1}$, a matrix $B$ that behaves like the Hessian has $B s = y$, the
# *secant equation*. Let $B$ be as simple as can be, $B = I / \eta$, so that the quasi-Newton step $-B^{-1} g$ is a
# gradient step. One number cannot satisfy $n$ equations, but it can come close, in two ways:
#
# $$ \min_\eta \left| \frac{s}{\eta} - y \right|^2 \ \Rightarrow\ \eta = \frac{|s|^2}{\langle s, y \rangle}
# \quad\text{(BB1)}, \qquad
# \min_\eta |s - \eta y|^2 \ \Rightarrow\ \eta = \frac{\langle s, y \rangle}{|y|^2} \quad\text{(BB2)}. $$
#
# **Theorem 1.** *If $f$ is $\mu$-strongly convex and $L$-smooth, $1/L \le \mathrm{BB2} \le \mathrm{BB1} \le 1/\mu$. On
# a quadratic, BB1 is the step that an exact line search would have taken from the point before.*
#
# **Theorem 2** (Raydan 1993; Dai and Liao 2002; Li and Sun 2021). *On a strictly convex quadratic BB1 converges from
# every first step, and at least like $(1 - 1/\kappa)^t$ up to a constant; $\kappa = L / \mu$.*
#
# **Theorem 3** (Barzilai and Borwein 1988). *In two variables, with gradient components $g^1, g^2$ along the
# eigenvectors, $u_t = \log |g^1_t / g^2_t|$ obeys*
#
# $$ u_{t+1} = u_t - 2 u_{t-1}, \qquad\text{so that}\qquad u_t^2 - u_t u_{t-1} + 2 u_{t-1}^2 $$
#
# *doubles in every step: $\log |g|$ falls like $-\sqrt2^{\,t}$, faster than linearly, unless $u_0 = u_1 = 0$.*

# %% [markdown]
# A picture of the mechanism
# --------------------------
#
# The two fits, drawn for the quadratic with eigenvalues 1 and 4. BB1 scales $s$ until it is as near to $y$ as it gets:
# the foot of a perpendicular from $y$. BB2 scales $y$ until it is near to $s$. A fit never overshoots, and it is made
# in opposite directions: so BB1 is the longer step.

# %%
A = np.diag([1.0, 4.0])
s = np.array([2.0, 0.9])
y = A @ s
bb1, bb2 = s @ s / (s @ y), s @ y / (y @ y)
assert 1 / 4 < bb2 < bb1 < 1

fig, panels = plt.subplots(1, 2, figsize=(7.4, 4.0))
fits = (
    (s / bb1, y, r"BB1: $s/\eta$ nearest to $y$", "$s/\\eta$"),
    (bb2 * y, s, r"BB2: $\eta y$ nearest to $s$", r"$\eta y$"),
)
for ax, (foot, target, title, name) in zip(panels, fits, strict=True):
    for vector, color, label, offset in ((s, BLUE, "$s$", (0.05, -0.35)), (y, ORANGE, "$y$", (-0.3, 0.0))):
        ax.annotate("", vector, (0, 0), arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.8})
        ax.text(vector[0] + offset[0], vector[1] + offset[1], label, color=color)
    ax.plot(*np.array([foot, target]).T, color="k", linewidth=1, linestyle=":")
    ax.plot(*np.array([[0, 0], 1.15 * foot]).T, color="0.6", linewidth=0.9, linestyle="-", zorder=0)
    ax.plot(*foot, "o", color=GREEN, markersize=6)
    ax.text(foot[0] + 0.08, foot[1] - 0.3, name, color=GREEN)
    assert abs((target - foot) @ foot) < 1e-12, "a right angle at the foot"
    ax.set(title=title, xlabel="first component", xlim=(-0.3, 4.4), ylim=(-0.3, 4.0), aspect="equal")
panels[0].set_ylabel("second component")
save(fig, "03-fits", "Two least-squares fits of one number to the secant equation, each the foot of a perpendicular.")

# %% [markdown]
# What does one step of delay buy? The exact line search (*Cauchy's step*, chapter 4) meets the next gradient at a
# right angle, and zig-zags in the same two directions for ever. BB1 takes the very same number one step later, when it
# is no longer the best in sight. It overshoots, $f$ may even rise, and the pattern is broken.

# %%
zigzag = SPECIAL["zigzag"](10)
zigzag.x0 = np.array([10.0, 1.2])
fig, panels = plt.subplots(2, 1, figsize=(6.6, 4.8), sharex=True)
first = float(run(Cauchy(), zigzag, 1).eta[0])
late, gap = BB1(lr=first), {}
for ax, (rule, title) in zip(panels, ((Cauchy(), "Cauchy: exact steps"), (late, "BB1: one step late")), strict=True):
    r = run(rule, zigzag, 14)
    contours(ax, zigzag, (-1.5, 11), (-1.6, 2.4), levels=9)
    path(ax, r.x, color=BLUE, linestyle="-")
    star(ax, zigzag.x_star, None)
    ax.set(title=title, aspect="equal")
    ax.label_outer()
    gap[title] = r.f[-1]
    print(f"{title:22} f - f* after 14 steps: {r.f[-1]:.1e}")
save(
    fig,
    "03-delay",
    "Fourteen steps from the same start: exact steps zig-zag, the same numbers used one step later do not.",
)
assert gap["BB1: one step late"] < 1e-2 * gap["Cauchy: exact steps"]

# %% [markdown]
# The rule itself
# ---------------
#
# $s$ is measured: the move that happened, after any projection, and not the one that was proposed. Where
# $\langle s, y \rangle < 0$ the curvature is negative; the rule takes the absolute value, and keeps the last step where
# it is 0.

# %%
show(BB1, BB2)

# %% [markdown]
# A check against the theorem
# ---------------------------
#
# Theorem 1, on a quadratic and on two other strongly convex problems, at every step; and the delay, to ten digits.

# %%
for name in ("quadratic", "logistic", "softmax"):
    problem = PROBLEMS[name]()
    longer, shorter = run(BB1(), problem, 60), run(BB2(), problem, 60)
    for r in (longer, shorter):
        solid = int(np.cumprod(squares(r.g) > 1e-14).sum())  # while differences of gradients have digits
        eta = r.eta[1:solid]
        assert (eta >= (1 - 1e-6) / problem.L).all()
        assert (eta <= (1 + 1e-6) / problem.mu).all()
        s, y = np.diff(r.x[:solid], axis=0), np.diff(r.g[:solid], axis=0)
        inner = (s * y).sum(axis=1)
        assert (inner / squares(y) <= squares(s) / inner * (1 + 1e-9)).all(), "BB2 is never longer"

quadratic = PROBLEMS["quadratic"]()
r = run(BB1(), quadratic, 60)
cauchy = squares(r.g) / np.einsum("ti,ij,tj->t", r.g, quadratic.A, r.g)
np.testing.assert_allclose(r.eta[1:40], cauchy[:39], rtol=1e-10)

# %% [markdown]
# The run itself looks like no other in this book. The gap rises by orders of magnitude on the way down, and yet BB1
# beats the best constant step, and the exact line search, by far. The middle panel shows why: the steps wander between
# the inverse eigenvalues, and a step $1/\lambda_i$ wipes out the $i$-th component for good. On the right, Theorem 2
# with its constants for eigenvalues 1, 3, 10 (Li and Sun): $|g^i_t| \le C_i\,\theta^t$, $\theta = 1 - 1/\kappa$.

# %%
steps = 120
curves = {
    "BB1": run(BB1(), quadratic, steps),
    "BB2": run(BB2(), quadratic, steps),
    "Cauchy": run(Cauchy(), quadratic, steps),
    r"$2/(L+\mu)$": run(GradientDescent(2 / (quadratic.L + quadratic.mu)), quadratic, steps),
}
fig, panels = plt.subplots(1, 3, figsize=(7.4, 3.4))
gaps(panels[0], {name: r.f - quadratic.f_star for name, r in curves.items()})
panels[0].set(ylim=(1e-12, 1e8))
panels[0].legend(loc="upper right", ncols=2, fontsize=8)
gap = curves["BB1"].f - quadratic.f_star
jump = (gap[1:] / gap[:-1])[gap[1:] > 1e-9].max()
print(f"BB1's gap rises up to {jump:.0f}-fold in one step")
assert jump > 10
assert gap[80] < 1e-6 * (curves["Cauchy"].f[80] - quadratic.f_star)

ends = int(np.argmax(gap < 1e-12))
eigenvalues = np.linalg.eigvalsh(quadratic.A)
for inverse in 1 / eigenvalues:
    panels[1].axhline(inverse, color="0.75", linewidth=0.9, linestyle="-")
panels[1].semilogy(np.arange(1, ends), curves["BB1"].eta[1:ends], ".", color=BLUE)
panels[1].set(xlabel="step $t$", ylabel=r"$\eta$ of BB1, and the $1/\lambda_i$")
panels[1].grid(False)

lam = np.array([1.0, 3.0, 10.0])
three = Quadratic(np.diag(lam), np.zeros(3), 0.0, np.array([1.0, 1.0, 1.0]))
g, theta = abs(run(BB1(0.3), three, 40).g), 1 - lam[0] / lam[-1]
C = []
for i, delta in enumerate(np.maximum(lam / lam[0] - 1, 1)):
    sum_before = delta**2 * theta**-2.5 * np.linalg.norm(C)
    C.append(max(g[0, i], g[1, i] / theta, sum_before))
bounds = np.array(C) * theta ** np.arange(40)[:, None]
assert (g <= bounds * (1 + 1e-9) + 1e-300).all(), "Theorem 2, component by component"
panels[2].semilogy(np.linalg.norm(g, axis=1), label="$|g_t|$")
panels[2].semilogy(np.linalg.norm(bounds, axis=1), color="0.35", linestyle=(0, (1, 1)), linewidth=2.6, label="bound")
panels[2].set(xlabel="step $t$", ylabel="length of the gradient", ylim=(1e-16, 1e7))
panels[2].legend()
save(
    fig,
    "03-check",
    "Left: BB1 and BB2 are far from monotone, and far ahead. Middle: BB1's steps between the inverse eigenvalues (grey "
    "lines). Right: the length of the gradient on another quadratic, and the bound of Theorem 2.",
)

# %% [markdown]
# Theorem 3 is an identity, so it can be checked to the digits that float64 leaves. $\log |g|$ goes up and down as it
# grows: for nine steps not much happens, and the tenth brings five digits at once. From the one exceptional start,
# where both components are equal after an exact first step, $u$ stays at 0 and the rule is merely linear, with factor
# $(\kappa - 1)/(\kappa + 1)$.

# %%
two = Quadratic(np.diag([1.0, 10.0]), np.zeros(2), 0.0, np.array([3.0, 0.2]))
r = run(BB1(0.15), two, 11)
u = np.log(abs(r.g[:, 0] / r.g[:, 1]))
np.testing.assert_allclose(u[3:9], u[2:8] - 2 * u[1:7], rtol=1e-6)
energy = u[2:9] ** 2 - u[2:9] * u[1:8] + 2 * u[1:8] ** 2
np.testing.assert_allclose(energy[1:] / energy[:-1], 2, rtol=1e-6)
digits = np.log10(np.linalg.norm(r.g, axis=1))
print("log10 |g|:", *[f"{v:.1f}" for v in digits])
assert digits[9] > -1
assert digits[10] < digits[9] - 5

unlucky = SPECIAL["zigzag"](10)
r = run(BB1(2 / 11), unlucky, 20)
np.testing.assert_allclose(np.linalg.norm(r.x[1:], axis=1) / np.linalg.norm(r.x[:-1], axis=1), 9 / 11, rtol=1e-6)

# %% [markdown]
# A small network
# ---------------
#
# On mini-batches $g_t$ and $g_{t-1}$ belong to different functions, and $y$ is mostly their difference. Liang et al.
# (2020) hold $\eta$ for an epoch and compare averages: with $\bar g_k$ an average of the gradients of epoch $k$ and
# $x_k$ the point where it begins,
#
# $$ s = \frac{x_k - x_{k-1}}{T}, \quad y = \bar g_{k-1} - \bar g_{k-2}, \quad \eta = \frac{|s|^2}{|\langle s, y
# \rangle|} \quad\text{if } \frac{\tau_{\min}}{k+1} \le \eta \le \frac{\tau_{\max}}{k+1}, \text{ else }
# \frac{\tau_0}{k+1}. $$

# %%
show(StochasticBB.bounded, StochasticBB.begin, StochasticBB.step)

# %% [markdown]
# The paper has two windows: $[0.1, 10]$ for deep networks, $[0.33, 3]$ for shallow ones. Our network is shallow, and it
# matters. (The first two epochs take $\eta = 0.1$ as given.)

# %%
epochs = pick(25, 6)
rules = {
    "StochasticBB, shallow window": StochasticBB(tau_min=0.33, tau_max=3.0),
    "StochasticBB, deep window": StochasticBB(),
    "BB1 on mini-batches": BB1(),
    "BB2 on mini-batches": BB2(),
    "SPS_max": SPSMax(),
    r"constant $\eta=0.1$": GradientDescent(0.1),
}
runs = {name: train(rule, epochs) for name, rule in rules.items()}
fig = plt.figure(figsize=(7.4, 3.7))
learning(fig, runs)
save(
    fig,
    "03-network",
    "The rule made for mini-batches learns in its shallow window, and is thrown off by its deep one; BB1 and BB2 "
    "measure noise.",
)
scores(runs)
assert runs["StochasticBB, shallow window"].accuracy[-1] > 0.93
assert runs["StochasticBB, deep window"].loss[-1] > 10 * runs["StochasticBB, shallow window"].loss[-1]

# %% [markdown]
# What breaks it
# --------------
#
# **Noise in $y$.** BB2 divides by $|y|^2$, which noise only makes larger: its steps fall, the moves become smaller, the
# noise does not, and the next steps fall further. It dies within an epoch. BB1 divides by $\langle s, y \rangle$, in
# which noise partly cancels: its steps scatter over more than a factor of ten.

# %%
for name in ("BB1 on mini-batches", "BB2 on mini-batches"):
    low, middle, high = np.quantile(runs[name].eta, (0.05, 0.5, 0.95))
    print(f"{name}: steps from {low:.1e} to {high:.1e}, the middle one {middle:.1e}")
assert runs["BB2 on mini-batches"].eta[44] < 1e-6, "after one epoch"
spread = np.quantile(runs["BB1 on mini-batches"].eta, (0.05, 0.95))
assert spread[1] > 10 * spread[0]

# %% [markdown]
# **A function that is no quadratic.** Theorem 2 says nothing of other functions, and nothing is true. On $\log \cosh x
# + x^2 / 200$, smooth and strongly convex, in *one* variable, both rules run from $x = 3$ into a cycle of four points:
# $100$, $100(\sqrt5 - 2)$, and their negatives. Far out the function is nearly straight, $y$ is small, and the step $s
# / y$ is enormous. Remedies are a line search that tolerates some rise (chapter 4), or a bound on the length of a step
# (the last exercise).

# %%
bowl = Formula(
    lambda x: ((np.logaddexp(x, -x) - np.log(2) + x * x / 200).sum(), np.tanh(x) + x / 100), x0=3.0, f_star=0.0
)
cycles = run(BB1(), bowl, 108).x[:, 0]
np.testing.assert_allclose(cycles[100:], np.resize([100, 100 * (5**0.5 - 2), -100, -100 * (5**0.5 - 2)], 9), rtol=1e-9)
stabilised, x, last = [3.0], np.array([3.0]), None
for _ in range(40):
    _, g = bowl(x)
    eta = 0.1 if last is None else abs((x - last[0]) @ (x - last[0]) / ((x - last[0]) @ (g - last[1])))
    last = x, g
    x = x - min(eta, 1.0 / np.linalg.norm(g)) * g
    stabilised.append(float(x[0]))
    if abs(g[0]) < 1e-12:
        break
assert abs(stabilised[-1]) < 1e-9

fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.1))
line = np.linspace(-115, 115, 400)
left.plot(line, [bowl.value(np.array([v])) for v in line], "-", color="0.6")
points = cycles[100:105]
heights = [bowl.value(np.array([v])) for v in points]
left.plot(points, heights, "o--", color=ORANGE, linewidth=1)
left.set(xlabel="$x$", ylabel="$f$", title="four points for ever")
right.plot(cycles[:60], marker=".", linewidth=0.8, color=ORANGE, linestyle="--", label="BB1")
right.plot(stabilised, marker=".", color=BLUE, label=r"BB1, $|\eta g|\leq 1$")
right.set(xlabel="step $t$", ylabel="$x_t$", yscale="symlog")
right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
save(
    fig,
    "03-cycle",
    "On a smooth, strongly convex function of one variable BB1 runs in a cycle of four points, left; bounded in length "
    "it converges, right (linear up to one, logarithmic beyond).",
)

# %% [markdown]
# **A window too wide.** The deep window let an $\eta$ of almost 2 pass in epoch 4, and the network was thrown out.
# What lies outside the window is *replaced* by $\tau_0/(k+1)$ and not clipped: an $\eta$ just above $\tau_{\max}/(k+1)$
# falls to a tenth of it, in the deep window.

# %%
deep = runs["StochasticBB, deep window"]
by_epoch = deep.eta[:: deep.net.steps_per_epoch]
print("deep window, eta by epoch:", *[f"{eta:.2f}" for eta in by_epoch[:8]])
assert by_epoch.argmax() == 4
assert 1.9 < by_epoch[4] < 2.0
assert deep.loss[4] > 3 * deep.loss[3]
window = StochasticBB()
window.start(np.zeros(1), quadratic)
assert window.bounded(np.float64(10.01 / 5), 4) == 1 / 5
assert window.bounded(np.float64(9.99 / 5), 4) == 9.99 / 5

# %% [markdown]
# Three exercises
# ---------------
#
# Fill in the functions in `tutorials/exercises/ch03.py`, then run
# `python -m pytest tutorials/exercises/test_ch03.py`. The first is the pair of steps. The second is the observation
# on which the rule lives: the right steps, one for each eigenvalue, end a quadratic exactly. The third is the
# stabilised rule of Burdakov, Dai and Huang (2019), which we ran above by hand.

# %%
show(ch03)

# %% [markdown]
# Sources: the references of `refopt/rules/barzilai_borwein.py`. J. Barzilai and J. M. Borwein 1988; M. Raydan 1993;
# Y.-H. Dai and L.-Z. Liao 2002; O. Burdakov, Y.-H. Dai and N. Huang 2019; D.-W. Li and R.-Y. Sun 2021; J. Liang et al.
# 2020.

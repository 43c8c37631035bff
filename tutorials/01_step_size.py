# %% [markdown]
"""
Chapter 1. What a step size is
==============================
"""

# %% [markdown]
# The question
# ------------
#
# At a point $x$ the gradient $g = \nabla f(x)$ tells which way is down, and how steeply. It does not tell how far the
# slope goes on. A step $x^+ = x - \eta g$ needs that knowledge, in one number $\eta$. *Which $\eta$ are safe, which is
# best, and what does a bad one cost?*

# %%
import matplotlib.pyplot as plt
import numpy as np
from exercises import ch01
from pages import (
    BLUE,
    GREEN,
    ORANGE,
    Formula,
    contours,
    gaps,
    handwritten_digits,
    path,
    pick,
    run,
    save,
    show,
    squares,
    star,
)
from scipy.sparse.linalg import LinearOperator, eigsh

from nets import Tanh, glorot_normal
from nets.models import mlp
from nets.oracle import NetOracle
from refopt import PROBLEMS, SPECIAL, GradientDescent, HeavyBall, NesterovLookAhead, Shuffled
from refopt.problems import rot
from refopt.rules.gradient import Momentum, against

# %% [markdown]
# The theorem
# -----------
#
# Call $f$ *$L$-smooth* if its gradient cannot change faster than $L$: $|\nabla f(x) - \nabla f(y)| \le L\,|x - y|$.
# Integrating this along the way from $x$ to $x + d$ bounds $f$ by a paraboloid that touches it at $x$.
#
# **Descent lemma.** *If $f$ is $L$-smooth, then for every $d$*
#
# $$ f(x + d) \le f(x) + \langle g, d \rangle + \frac{L}{2} |d|^2,
# \qquad\text{and so}\qquad f(x - \eta g) \le f(x) - \eta \left(1 - \frac{\eta L}{2}\right) |g|^2. $$
#
# The right side falls for $0 < \eta < 2/L$, and is lowest at $\eta = 1/L$. What this buys depends on what else is
# known of $f$.
#
# **Theorem 1.** *Let $f$ be $L$-smooth, and $\eta = 1/L$.*
#
# - *(Drori and Teboulle 2014) If $f$ is convex, $f(x_t) - f^* \le L\,|x_0 - x^*|^2 / (4t + 2)$, and for every $t$ there
#   is a function for which this is an equality.*
# - *(Polyak 1963) If $|g|^2 \ge 2 \mu (f - f^*)$ everywhere, convex or not, $f(x_t) - f^* \le (1 - \mu/L)^t\,
#   (f(x_0) - f^*)$.*
#
# **Theorem 2.** *On a quadratic with eigenvalues $\mu = \lambda_1 \le \dots \le \lambda_n = L$, each step multiplies
# the part of $x - x^*$ along the $i$-th eigenvector by $1 - \eta \lambda_i$. So all starts converge if and only if
# $0 < \eta < 2/L$, and the best $\eta$ is $2/(L + \mu)$, with the factor*
#
# $$ \rho = \frac{\kappa - 1}{\kappa + 1}, \qquad \kappa = \frac{L}{\mu}. $$

# %% [markdown]
# A picture of the mechanism
# --------------------------
#
# On the left, the lemma: a function under its paraboloid. The step $1/L$ goes to the lowest point of the paraboloid,
# where $f$ must be lower still; at $2/L$ the paraboloid is back at the old height, and the lemma promises nothing. On
# the right, Theorem 2: one factor $|1 - \eta \lambda|$ for each eigenvalue. The flat direction wants $\eta$ long, the
# steep one forbids it, and the largest factor rules.

# %%
hill = Formula(lambda x: ((np.logaddexp(x, -x) + x * x / 20).sum(), np.tanh(x) + x / 10), x0=2.2, f_star=np.log(2))
L = 1.1  # tanh' is at most 1
f0, g0 = hill(hill.x0)
y = np.linspace(-3.2, 3.4, 300)

fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.5))
left.plot(y, [hill.value(np.array([v])) for v in y], "-", color="k", label="$f$")
left.plot(y, f0 + g0 * (y - 2.2) + L / 2 * (y - 2.2) ** 2, "--", color=BLUE, label="paraboloid of curvature $L$")
left.axhline(f0, color="0.6", linewidth=0.8, linestyle=":")
for share, name in ((1, "$1/L$"), (2, "$2/L$")):
    to = hill.x0 - share / L * g0
    assert hill.value(to) <= f0 - share / L * (1 - share / 2) * g0[0] ** 2, "the lemma"
    bound = f0 - share / L * (1 - share / 2) * g0[0] ** 2
    left.plot([to[0], to[0]], [bound, hill.value(to)], color=ORANGE, linewidth=1, linestyle="-")
    left.plot(to, [hill.value(to)], "o", color=ORANGE)
    left.text(to[0] + 0.15, hill.value(to) - 0.3, name, color=ORANGE)
left.plot(2.2, f0, "ko")
left.text(2.3, f0 - 0.25, "$x$")
left.set(xlabel="$x$", ylabel="$f$", ylim=(0.2, 5.4))
left.legend(loc="upper left")

eta = np.linspace(0, 0.24, 400)
for eigenvalue, name in ((1, r"$\lambda=\mu=1$"), (4, r"$\lambda=4$"), (10, r"$\lambda=L=10$")):
    right.plot(eta, abs(1 - eta * eigenvalue), label=name)
best = 2 / 11
right.plot(best, 9 / 11, "o", color=ORANGE, markersize=6)
right.annotate(r"$\frac{2}{L+\mu}$", (best, 9 / 11), (0.14, 1.1), arrowprops={"arrowstyle": "-", "color": ORANGE})
right.axvline(0.2, color="0.5", linewidth=1, linestyle=":")
right.text(0.203, 0.05, "$2/L$", color="0.3")
right.set(xlabel=r"step size $\eta$", ylabel=r"factor $|1-\eta\lambda|$ of one step", ylim=(0, 1.45))
right.legend(loc="upper left", ncols=1)
save(
    fig,
    "01-lemma",
    "Left: the function lies below a paraboloid that touches it at x. Right: what one step does to three directions of "
    "a quadratic; the best constant step balances the flattest and the steepest.",
)

# %% [markdown]
# Seen from above, on the quadratic with eigenvalues 1 and 10: too short a step crawls, the best one overshoots the
# steep direction as much as it falls short in the flat one, and close to $2/L$ the path bounces between the walls.

# %%
zigzag = SPECIAL["zigzag"](10)
fig, panels = plt.subplots(3, 1, figsize=(6.6, 5.8), sharex=True)
for ax, (rate, title) in zip(
    panels, ((0.03, r"$\eta=0.3/L$"), (2 / 11, r"$\eta=2/(L+\mu)$"), (0.195, r"$\eta=1.95/L$")), strict=True
):
    r = run(GradientDescent(rate), zigzag, 25)
    contours(ax, zigzag, (-1.5, 11), (-1.5, 1.5), levels=9)
    path(ax, r.x, color=BLUE, linestyle="-", markersize=2.5)
    star(ax, zigzag.x_star, None)
    ax.set(title=title, aspect="equal")
    left_over = np.sqrt(squares(r.x[-1]) / squares(r.x[0]))
    print(f"{title:18} after 25 steps the distance is {left_over:.4f} of what it was")
    factors = (1 - rate * np.array([1.0, 10])) ** np.arange(26)[:, None]
    np.testing.assert_allclose(r.x, factors * zigzag.x0, atol=1e-12)
for ax in panels:
    ax.label_outer()
save(
    fig, "01-zigzag", "Twenty-five steps on a quadratic with eigenvalues one and ten: too short, best, nearly too long."
)

# %% [markdown]
# The rule itself
# ---------------
#
# One line of mathematics. `lr` is a number, or a schedule: a function of the steps taken (chapter 8).

# %%
show(GradientDescent)

# %% [markdown]
# A check against the theorem
# ---------------------------
#
# The package has problems whose $L$, $\mu$, $x^*$ and $f^*$ are certified. First the lemma, on every smooth one of
# them, at every point of a run. It is an equality where a quadratic is steepest.

# %%
checked = 0
for name in ("quadratic", "least-squares", "logistic", "softmax", "log-sum-exp", "huber"):
    problem = PROBLEMS[name]()
    r = run(GradientDescent(1 / problem.L), problem, 100)
    promised = r.f[:-1] - squares(r.g) / (2 * problem.L)
    assert (r.f[1:] <= promised + 1e-13 * (1 + abs(r.f[:-1]))).all(), name
    checked += len(promised)
print(f"the descent lemma holds in {checked} of {checked} steps")

quadratic = PROBLEMS["quadratic"]()
top = Formula(quadratic, quadratic.x_star + rot(8)[:, -1], quadratic.f_star)
r = run(GradientDescent(1 / quadratic.L), top, 1)
assert np.isclose((r.f[0] - r.f[1]) * 2 * quadratic.L, squares(r.g[0]), rtol=1e-12), "an equality"

# %% [markdown]
# Then the rates. Drori and Teboulle's function is a parabola round the solution that goes on as a straight line; for
# $N = 20$ steps its start is chosen so that the run stays on the line up to the last of them. That the curve touches
# the bound there says that no better bound can be proved. The sum of $x_i^2 + 3 \sin^2 x_i$ is not convex, and still
# converges linearly, as Polyak says.

# %%
fig, panels = plt.subplots(1, 3, figsize=(7.4, 3.2))
cases = (SPECIAL["drori-teboulle"](20), PROBLEMS["log-sum-exp"](), SPECIAL["polyak-lojasiewicz"]())
titles = ("the hardest convex function", "log-sum-exp", "not convex")
for ax, problem, title, steps in zip(panels, cases, titles, (40, 40, 40), strict=True):
    r = run(GradientDescent(1 / problem.L), problem, steps)
    gap, t = r.f - problem.f_star, np.arange(steps + 1)
    if title == "not convex":
        bound, formula = (1 - problem.mu / problem.L) ** t * gap[0], r"$(1-\mu/L)^t (f(x_0)-f^*)$"
    else:
        bound, formula = problem.L * squares(problem.x0 - problem.x_star) / (4 * t + 2), r"$\frac{L|x_0-x^*|^2}{4t+2}$"
    gaps(ax, {"measured": gap}, bound, formula)
    assert (gap <= bound * (1 + 1e-12)).all(), title
    ax.set_title(title)
    if title == titles[0]:
        assert np.isclose(gap[20], bound[20], rtol=1e-12), "equality at t = N"
        ax.plot(20, gap[20], "o", color=ORANGE, markersize=6)
        ax.set_ylim(bottom=1)
    if title == "not convex":
        ax.set_ylim(1e-14, 1e4)
for ax in panels[1:]:
    ax.set_ylabel("")
save(fig, "01-bounds", "Measured gap and Theorem 1. The first function was made to touch its bound, at the circle.")

# %% [markdown]
# A small network
# ---------------
#
# A network has no $L$ that holds everywhere. It has a steepest direction at each point: the eigenvector of the largest
# eigenvalue $\lambda$ of the Hessian there. SciPy finds it from some Hessian-vector products, each of them the
# difference of two gradients. We train 64-32-10 (with tanh, which is smooth) on handwritten digits, all images in
# every step, from one start and at many rates.


# %%
def sharpness(net, theta):
    """Return the largest eigenvalue of the Hessian at theta."""
    product = LinearOperator((theta.size, theta.size), matvec=lambda v: net.hvp(theta, v), dtype=theta.dtype)
    return eigsh(product, k=1, which="LA", tol=1e-2, v0=np.ones(theta.size), return_eigenvectors=False)[0]


digits = handwritten_digits()
images = pick(slice(None), slice(None, None, 4))
whole = NetOracle(
    mlp((64, 32, 10), Tanh, glorot_normal),
    digits.x_train[images],
    digits.y_train[images],
    Shuffled(len(digits.y_train[images]), batch=len(digits.y_train[images])),
    scale=digits.scale,
    dtype=np.float64,
)
whole.x0 = whole.layout.initial(0).astype(np.float64)
limit = 2 / sharpness(whole, whole.x0)

rates = np.geomspace(0.002, 60, pick(18, 7))
steps = pick(100, 25)
final = np.array([run(GradientDescent(rate), whole, steps).f[-1] for rate in rates])
best_rate, best_loss = rates[np.argmin(final)], final.min()
for rate, loss in zip(rates, final, strict=True):
    print(f"eta {rate:8.3f}, {rate / limit:8.2f} times 2/lambda at the start: loss {loss:.4f}")
hundredth = np.exp(np.interp(np.log(best_rate / 100), np.log(rates), np.log(final)))
print(f"a hundredth of the best rate leaves {hundredth / best_loss:.0f} times the loss")
assert best_rate > limit
assert final[-1] > 20 * best_loss
assert hundredth > 20 * best_loss

# %% [markdown]
# Here is the first fact that a theory of networks has to explain: the best rate lies *beyond* $2/\lambda$. On a
# quadratic that would be the end. A network has other places to go: thrown out of its steep valley, it lands where
# the curvature is below $2/\eta$, and can stay there. The second: the rate matters by orders of magnitude, and behind
# the best one is a cliff.

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.3))
left.loglog(rates, final, "o-", color=BLUE)
left.axvline(limit, color=ORANGE, linestyle="--", label=r"$2/\lambda$ at the start")
left.set(xlabel=r"step size $\eta$", ylabel=f"training loss after {steps} steps")
left.legend()
every = pick(10, 20)
for rate, color, dash in ((0.1, BLUE, "-"), (0.5, GREEN, "--"), (2.0, ORANGE, "-.")):
    x = run(GradientDescent(rate), whole, pick(200, 60)).x[::every]
    sharp = np.array([sharpness(whole, point) for point in x])
    right.semilogy(every * np.arange(len(x)), sharp, dash, color=color, label=rf"$\eta={rate}$")
    right.axhline(2 / rate, color=color, linewidth=0.9, linestyle=":")
    right.text(90, 2.1 / rate, rf"$2/\eta={2 / rate:g}$", color=color)
    print(f"eta = {rate}: curvature {sharp[0]:.2f} at first, {sharp[-1]:.2f} at last, limit 2/eta = {2 / rate:.2f}")
    assert sharp[-1] < 2 / rate
assert sharp[0] > 2 / rate
right.set(xlabel="step $t$", ylabel=r"largest curvature $\lambda$", ylim=(0.2, 40))
right.legend(loc="upper right")
save(
    fig,
    "01-network",
    "Left: the loss a small network reaches, by step size. Right: the largest curvature on the way, and as dotted "
    "lines the limits two over the step size; who begins above its limit ends below it.",
)

# %% [markdown]
# What breaks it
# --------------
#
# **A step beyond $2/L$.** The steepest mode is multiplied by a number below $-1$ for ever. There is no recovery.

# %%
r = run(GradientDescent(2.02 / quadratic.L), quadratic, 400)
growth = squares(r.x[-1] - r.x[-2]) / squares(r.x[-2] - r.x[-3])
print(f"1 % beyond the limit, each step is {np.sqrt(growth):.4f} times the last")
assert np.isclose(np.sqrt(growth), 1.02, rtol=1e-3)

# %% [markdown]
# **A bad condition number.** With the best constant step the distance falls by $\rho = (\kappa - 1)/(\kappa + 1)$: one
# digit costs about $1.15\,\kappa$ steps. Memory helps. A sum of past gradients grows where they agree and cancels
# where they alternate (*heavy ball*, Polyak 1964); Nesterov's method asks for the gradient where the momentum is about
# to lead. Their price is $\sqrt\kappa$ in place of $\kappa$: for Nesterov's, with $\eta = 1/L$ and the momentum below,
#
# $$ f(x_t) - f^* \le \left(1 - \frac{1}{\sqrt\kappa}\right)^t
# \left(f(x_0) - f^* + \frac{\mu}{2} |x_0 - x^*|^2\right). $$

# %%
show(against, Momentum.moved, HeavyBall.remember, NesterovLookAhead.step)

steps, kappa = 150, quadratic.L / quadratic.mu
root = np.sqrt(kappa)
rules = {
    r"gradient descent, $2/(L+\mu)$": GradientDescent(2 / (quadratic.L + quadratic.mu)),
    "heavy ball": HeavyBall(4 / (np.sqrt(quadratic.L) + np.sqrt(quadratic.mu)) ** 2, mu=((root - 1) / (root + 1)) ** 2),
    "Nesterov": NesterovLookAhead(1 / quadratic.L, mu=(root - 1) / (root + 1)),
}
curves = {name: run(rule, quadratic, steps).f - quadratic.f_star for name, rule in rules.items()}
t = np.arange(steps + 1)
bound = (1 - 1 / root) ** t * (curves["Nesterov"][0] + quadratic.mu / 2 * squares(quadratic.x0 - quadratic.x_star))
while_digits = curves["Nesterov"] > 1e-12
assert (curves["Nesterov"] <= bound)[while_digits].all()
assert curves["heavy ball"][-1] < curves["Nesterov"][-1] < curves[r"gradient descent, $2/(L+\mu)$"][-1]
digit = np.log(10) / -np.log((kappa - 1) / (kappa + 1))
print(f"condition number {kappa:.0f}: gradient descent needs {digit:.0f} steps for a digit, {digit / kappa:.3f} kappa")
assert np.isclose(digit / kappa, 1.15, atol=0.005)

# %% [markdown]
# **Constants borrowed from quadratics.** Heavy ball owes its speed to an assumption. Lessard, Recht and Packard (2016)
# found a strongly convex function with $\mu = 1$ and $L = 25$, made of three parabolas, on which the best constants
# for quadratics run in a cycle of three points for ever. Gradient descent, the slow one, converges.
#
# **Kinks.** On $|x|$ there is no $L$, and no constant step converges: it hops round the kink at a distance of order
# $\eta$. Steps must shrink (chapter 8), or know how far it is to the bottom (chapter 2).

# %%
lessard = SPECIAL["lessard"]()
ball = run(HeavyBall(1 / 9, mu=4 / 9), lessard, 60).x[:, 0]
plain = run(GradientDescent(2 / 26), lessard, 60).x[:, 0]
cycle = np.array([792, -2208, 2592]) / 1225
np.testing.assert_allclose(np.sort(ball[-3:]), np.sort(cycle), rtol=1e-6)
assert abs(plain[-1]) < 0.01
kink = Formula(lambda x: (abs(x).sum(), np.sign(x)), x0=1.0, f_star=0.0)
hops = run(GradientDescent(0.3), kink, 30).x[:, 0]
assert np.allclose(abs(np.diff(hops[-4:])), 0.3)

fig, panels = plt.subplots(1, 3, figsize=(7.4, 3.2))
gaps(panels[0], curves, bound, "Nesterov's bound")
panels[0].set(title=rf"a quadratic, $\kappa={kappa:.0f}$", ylim=(1e-9, 1e9))
panels[0].legend(fontsize=7.5, loc="upper right")
panels[1].plot(ball, marker=".", label="heavy ball")
panels[1].plot(plain, label="gradient descent")
panels[1].set(title="three parabolas", xlabel="step $t$", ylabel="$x_t$", ylim=(-3.6, 5.4))
panels[1].legend()
panels[2].plot(hops, marker=".")
panels[2].set(title=r"$|x|$, $\eta=0.3$", xlabel="step $t$", ylabel="$x_t$")
save(
    fig,
    "01-breaks",
    "Left: momentum beats a bad condition number. Middle: heavy ball with constants for quadratics cycles on another "
    "function. Right: at a kink a constant step never settles.",
)

# %% [markdown]
# Three exercises
# ---------------
#
# Fill in the functions in `tutorials/exercises/ch01.py`, then run
# `python -m pytest tutorials/exercises/test_ch01.py`. The first two are Theorem 2 as a calculator; the third finds the
# $L$ of a function one can only ask for products, as we did with the network.

# %%
show(ch01)

# %% [markdown]
# Sources: the references of `refopt/rules/gradient.py`. B. T. Polyak 1963 and 1964; Y. Nesterov 2018, Lectures on
# convex optimization; Y. Drori and M. Teboulle 2014; H. Karimi et al. 2016; L. Lessard et al. 2016, arXiv:1408.3595;
# J. Cohen et al. 2021, Gradient descent on neural networks typically occurs at the edge of stability,
# arXiv:2103.00065, on what becomes of the curvature in larger networks.

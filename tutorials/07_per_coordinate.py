# %% [markdown]
"""
Chapter 7. A step per coordinate: AdaGrad to AMSGrad
====================================================
"""

# %% [markdown]
# The question
# ------------
#
# So far one number scaled the whole gradient. But some coordinates of a gradient are always large, and some are hardly
# ever anything but 0: the weight of a rare word, of a pixel at the rim. *What rate should each coordinate have, if all
# we know of it are the gradients it has seen?*

# %%
from itertools import islice

import matplotlib.pyplot as plt
import numpy as np
from exercises import ch07
from pages import (
    BLUE,
    GREEN,
    ORANGE,
    QUICK,
    Formula,
    contours,
    learning,
    path,
    pick,
    run,
    save,
    scores,
    show,
    star,
    train,
)

from refopt import (
    PROBLEMS,
    SPECIAL,
    AdaDelta,
    AdaGrad,
    Adam,
    AMSGrad,
    AMSGradOriginal,
    Box,
    Constrained,
    FiniteSum,
    GradientDescent,
    Oracle,
    Recorded,
    RMSProp,
    Shuffled,
    descend,
)
from refopt.convex import Quadratic
from refopt.rules.adam import moments, unbiased
from refopt.rules.diagonal import Diagonal, rates

# %% [markdown]
# The theorem
# -----------
#
# All that follows is meant coordinate by coordinate. With rates $\eta_t$ that never grow and $|x_t - x^*| \le D$,
# expanding $(x_{t+1} - x^*)^2$ and summing bounds a coordinate's share of the *regret*, $\sum_t f_t(x_t) - f_t(x^*)$,
# by
#
# $$ \frac{D^2}{2 \eta_T} + \frac12 \sum_{t \le T} \eta_t\, g_t^2. $$
#
# The best constant rate in it is $D / \sqrt{\sum_t g_t^2}$, known when all is over. AdaGrad takes it over the squares
# so far.
#
# **Theorem 1** (Duchi, Hazan and Singer 2011). *Let all $f_t$ be convex, on a box of side $D$. With $\eta_t =
# \mathrm{lr}/\sqrt{\sum_{s \le t} g_s^2}$ in each coordinate, the regret is at most*
#
# $$ \left(\frac{D^2}{2\,\mathrm{lr}} + \mathrm{lr}\right) \sum_i \sqrt{\textstyle\sum_{t \le T} g_{t,i}^2}, $$
#
# *for $\mathrm{lr} = D/\sqrt2$ only $\sqrt2$ times what the best constant rates would have given.*
#
# AdaGrad never forgets: its rates can only fall. RMSProp puts an average with memory $\beta_2$ in
# place of the sum, Adam averages the gradient as well, with $\beta_1$, and frees both averages of the bias of their
# start at 0:
#
# $$ m \leftarrow \beta_1 m + (1 - \beta_1) g, \quad v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \quad
# d = -\mathrm{lr}\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}. $$
#
# **Theorem 2.** *With $\epsilon = 0$ and $r = \beta_1^2/\beta_2 < 1$, Adam's step $t$ is at most $\mathrm{lr}\,R_t$
# long in each coordinate, and there are gradients for which it is that long:*
#
# $$ R_t = \frac{1 - \beta_1}{\sqrt{1 - \beta_2}} \sqrt{\frac{1 - r^t}{1 - r}}\,
# \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}. $$
#
# **Theorem 3** (Reddi, Kale and Kumar 2018). *There is a sequence of three linear functions on $[-1, 1]$, played in
# turn, on which Adam with $\mathrm{lr}_t = \mathrm{lr}/\sqrt t$ ends every round at the worst point.*

# %% [markdown]
# A picture of the mechanism
# --------------------------
#
# Two quadratics, the same but for a rotation by 45 degrees. Where the steep direction is a coordinate, AdaGrad divides
# it away, and walks as if the bowl were round. Turned, every coordinate sees a mixture, and the advantage is gone.
# Gradient descent takes the same steps in both: it knows no coordinates. *A rate per coordinate is a bet that the
# coordinates mean something.*

# %%
turn = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
start = np.array([3.0, 1.0])
fig, panels = plt.subplots(1, 2, figsize=(7.4, 4.4))
ends = {}
for ax, (title, Q) in zip(panels, (("along the axes", np.eye(2)), ("turned by 45 degrees", turn)), strict=True):
    bowl = Quadratic(Q @ np.diag([1.0, 30.0]) @ Q.T, np.zeros(2), 0.0, Q @ start)
    contours(ax, bowl, (-1.2, 3.6), (-1.6, 3.2), levels=10)
    for name, rule, look in (
        ("gradient descent", GradientDescent(2 / 31), {"color": ORANGE, "linestyle": "--"}),
        ("AdaGrad", AdaGrad(1.2), {"color": BLUE, "linestyle": "-"}),
    ):
        r = run(rule, bowl, 25)
        path(ax, r.x, label=name, markersize=2.5, **look)
        ends[title, name] = r.f[-1]
    star(ax, (0, 0), None)
    ax.set(title=title, aspect="equal")
    ax.label_outer()
panels[0].legend(loc="upper left")
save(
    fig,
    "07-turned",
    "The same quadratic along the axes and turned. AdaGrad walks straight down where the axes mean something; gradient "
    "descent does not care.",
)
for (title, name), gap in ends.items():
    print(f"{name:18} {title:22} f - f* after 25 steps {gap:.1e}")
assert np.isclose(*[ends[title, "gradient descent"] for title in ("along the axes", "turned by 45 degrees")])
assert ends["along the axes", "AdaGrad"] < 1e-3 * ends["turned by 45 degrees", "AdaGrad"]

# %% [markdown]
# The rule itself
# ---------------
#
# Each member differs from the one before by a line.

# %%
show(rates, Diagonal.along, AdaGrad.update, RMSProp.average, moments, unbiased, Adam.along, AMSGradOriginal.update)

# %% [markdown]
# A check against the theorem
# ---------------------------
#
# Theorem 1 with kinks and one row of a least-absolute-deviations problem at a time, on a box of side 8. The regret is
# measured against the solution for the whole sum.

# %%
total = PROBLEMS["least-absolute"]()
side = 8.0
rows = Constrained(FiniteSum(total, Shuffled(total.n, batch=1)), Box(-side / 2, side / 2))
steps = pick(1500, 300)
regret, sums, bounds, regrets = 0.0, 0.0, [], []
for step in islice(descend(AdaGrad(side / np.sqrt(2), eps=0.0), rows, total.x0), steps):
    regret += step.f - rows.value(total.x_star)
    sums = sums + step.g**2
    regrets.append(regret)
    bounds.append(np.sqrt(2) * side * np.sqrt(sums).sum())
regrets, bounds = np.array(regrets), np.array(bounds)
assert (regrets <= bounds).all(), "Theorem 1, at every step"
print(f"regret after {steps} steps {regrets[-1]:.1f}, bound {bounds[-1]:.1f}")

# %% [markdown]
# Theorem 2. The gradients that drive Adam fastest grow geometrically, like $(\beta_2/\beta_1)^t$. For the defaults
# $R_t$ tends to 7.27: neither $\mathrm{lr}$, as is often said, nor 3.2 lr, is a bound. And under a constant gradient
# every step is lr, for ever: Adam does not slow down by itself.


# %%
class Scripted(Oracle):
    """Loss 0, and the listed gradients (T, n) one after the other, wherever x is."""

    f_star, x0 = 0.0, np.zeros(1)

    def __init__(self, gradients):
        self.gradients, self.drawn = np.asarray(gradients, float).reshape(-1, 1), 0

    def __call__(self, x):
        return np.float64(0), self.gradients[max(self.drawn - 1, 0)].copy()

    def draw(self):
        self.drawn += 1


beta1, beta2, T = 0.9, 0.999, 400
t = np.arange(1, T + 1)
r = beta1**2 / beta2
R = (1 - beta1) / np.sqrt(1 - beta2) * np.sqrt((1 - r**t) / (1 - r)) * np.sqrt(1 - beta2**t) / (1 - beta1**t)
limit = (1 - beta1) / np.sqrt(1 - beta2) / np.sqrt(1 - r)
patterns = {
    "growing geometrically": (beta2 / beta1) ** np.arange(100),
    "constant": np.ones(T),
    "random signs": np.random.default_rng(3).choice([-1.0, 1.0], T),
}
lengths = {}
for name, gradients in patterns.items():
    points = run(Adam(lr=1.0, eps=0.0), Scripted(gradients), len(gradients)).x[:, 0]
    lengths[name] = abs(np.diff(points))
    assert (lengths[name] <= R[: len(gradients)] * (1 + 1e-9)).all(), "Theorem 2"
np.testing.assert_allclose(lengths["growing geometrically"], R[:100], rtol=1e-9)
np.testing.assert_allclose(lengths["constant"], 1, rtol=1e-9)
print(f"R_t tends to {limit:.2f}; (1 - beta1)/sqrt(1 - beta2) = {(1 - beta1) / np.sqrt(1 - beta2):.1f}")
assert f"{limit:.2f}" == "7.27"

fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.2))
left.loglog(np.arange(1, steps + 1), np.where(regrets > 0, regrets, np.nan), label="regret of AdaGrad")
left.loglog(np.arange(1, steps + 1), bounds, color="0.35", linestyle=(0, (1, 1)), linewidth=2.6, label="Theorem 1")
left.set(xlabel="step $t$", ylabel="sum of $f_t(x_t)-f_t(x^*)$")
left.legend()
for name, length in lengths.items():
    right.loglog(t[: len(length)], np.maximum(length, 1e-3), label=name, linewidth=1.3)
right.loglog(t, R, color="0.35", linestyle=(0, (1, 1)), linewidth=2.6, label="$R_t$")
right.set(xlabel="step $t$", ylabel="Adam's step over lr", ylim=(1e-2, 60))
right.legend(loc="upper left", fontsize=8.5, ncols=2)
save(
    fig,
    "07-bounds",
    "Left: AdaGrad's regret and its bound. Right: the length of Adam's steps for three sequences of gradients, and the "
    "sharp bound, which one of them attains until it ends.",
)

# %% [markdown]
# What the squares buy is independence of scale. Multiply the loss by $2^k$: without $\epsilon$ the path is the same,
# bit for bit.

# %%
logistic = PROBLEMS["logistic"]()
for rule in (AdaGrad(0.3, eps=0.0), RMSProp(0.01, eps=0.0), Adam(0.1, eps=0.0)):
    large = Formula(lambda x: tuple(2.0**20 * v for v in logistic(x)), x0=logistic.x0)
    assert np.array_equal(run(rule, large, 50).x, run(rule, logistic, 50).x)

# %% [markdown]
# A small network
# ---------------
#
# The defaults of the libraries, but for lr of AdaGrad; and Adam once more with a rate ten times as large.

# %%
epochs = pick(20, 3)
rules = {
    "AdaGrad, 0.05": AdaGrad(0.05),
    "RMSProp, 0.01": RMSProp(0.01),
    "AdaDelta": AdaDelta(),
    "Adam, 0.001": Adam(),
    "Adam, 0.01": Adam(0.01),
    "AMSGrad, 0.01": AMSGrad(0.01),
    r"gradient descent, 0.3": GradientDescent(0.3),
}
runs = {name: train(rule, epochs) for name, rule in rules.items()}
fig = plt.figure(figsize=(7.4, 3.7))
learning(fig, runs)
save(
    fig,
    "07-network",
    "A rate for each coordinate, on handwritten digits. The step size shown is the length of the step over that of the "
    "gradient: it grows as gradients shrink.",
)
scores(runs)
for name in ("AdaGrad, 0.05", "Adam, 0.01", "AMSGrad, 0.01"):
    assert runs[name].accuracy[-1] > 0.93
assert runs["Adam, 0.01"].loss[-1] < runs["Adam, 0.001"].loss[-1]
first, last = runs["Adam, 0.01"].eta[:45], runs["Adam, 0.01"].eta[-45:]
print(f"Adam: |d|/|g| is {np.median(first):.3f} in the first epoch, {np.median(last):.3f} in the last")
if not QUICK:
    assert np.median(last) > np.median(first)

# %% [markdown]
# What breaks it
# --------------
#
# **Rates that grow.** Theorem 3, played: $f_t = 3x$ in every third step, $-x$ in the others, on $[-1, 1]$. The mean is
# $x/3$, best at $-1$. With $\beta_1 = 0$, $\beta_2 = 0.1$ Adam forgets the large gradient at once, and two small steps
# in the wrong direction outweigh the one in the right. AMSGrad keeps the largest $v$, its rates never grow, and it
# arrives.
#
# **A constant lr near the solution.** With $\beta_1 = \beta_2 = \epsilon = 0$ Adam is $-\mathrm{lr}\,\mathrm{sign}(g)$,
# and on $x^2/2$ jumps between $\pm\mathrm{lr}/2$ for ever.
#
# **Overflow.** The square of a gradient leaves float32 where the gradient itself is far from it. Then $v$ is infinite
# for ever, and the coordinate rests.

# %%
game = SPECIAL["reddi"]()
in_turn = Recorded(np.array([[0], [1], [2]]), steps_per_epoch=3)
rounds = pick(1000, 300)
played = {}
for name, kind in (("Adam", Adam), ("AMSGrad", AMSGradOriginal)):
    rule = kind(lr=lambda t: 0.5 / np.sqrt(t + 1), beta1=0.0, beta2=0.1, eps=0.0)
    played[name] = run(rule, game, 3 * rounds, FiniteSum(game, in_turn)).x[:, 0]
assert (played["Adam"][3::3] == 1).all(), "the worst point after every round, exactly"
print(f"AMSGrad after {rounds} rounds: x = {played['AMSGrad'][-1]:.3f}")
assert played["AMSGrad"][-1] < -0.9

jump = run(Adam(lr=0.5, beta1=0.0, beta2=0.0, eps=0.0), Formula(lambda x: (x @ x / 2, x), x0=0.25, f_star=0.0), 20).x[
    :, 0
]
assert np.array_equal(jump, 0.25 * (-1.0) ** np.arange(21))

rule, huge = AdaGrad(), np.full(1, 2e19, np.float32)
with np.errstate(over="ignore"):
    (v,) = rule.update(np.zeros(1, np.float32), huge)
    d = rule.along(huge, v)
assert np.isinf(v[0])
assert d[0] == 0

fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.1))
left.plot(played["Adam"][::3], "-", color=ORANGE, label="Adam, after each round")
left.plot(played["AMSGrad"][::3], "--", color=BLUE, label="AMSGrad")
left.axhline(-1, color="0.5", linewidth=1, linestyle=":")
left.text(rounds, -0.93, "best point", color="0.4", ha="right")
left.set(xlabel="round", ylabel="$x$", ylim=(-1.15, 1.6))
left.legend(loc="upper right")
shown = played["Adam"][3 * 20 : 3 * 20 + 10]
right.plot(np.arange(60, 70), shown, "o-", color=ORANGE, label="Adam, every step")
right.plot(np.arange(60, 70), played["AMSGrad"][60:70], "s--", color=GREEN, label="AMSGrad, every step")
right.set(xlabel="step $t$", ylabel="$x$")
right.legend(fontsize=8.5, loc="center left")
save(
    fig,
    "07-reddi",
    "Three linear functions in turn: Adam is back at the worst point after every round; AMSGrad goes to the best.",
)

# %% [markdown]
# Three exercises
# ---------------
#
# Fill in the functions in `tutorials/exercises/ch07.py`, then run
# `python -m pytest tutorials/exercises/test_ch07.py`: AdaGrad, Adam (mind the power of $t$, the commonest slip), and
# the sharp bound of Theorem 2.

# %%
show(ch07)

# %% [markdown]
# Sources: the references of `refopt/rules/diagonal.py` and `adam.py`. J. Duchi, E. Hazan and Y. Singer 2011; T.
# Tieleman and G. Hinton 2012; M. D. Zeiler 2012, arXiv:1212.5701; D. P. Kingma and J. Ba 2015, arXiv:1412.6980; S. J.
# Reddi et al. 2018, arXiv:1904.09237.

# %% [markdown]
"""
Chapter 8. The step as a function of time: cycles and super-convergence
=======================================================================
"""

# %% [markdown]
# The question
# ------------
#
# All rules so far look at the function. The most used ones do not: they look at the clock. *What can a rate that
# depends on time alone do, that no constant can? And why should it ever go up?*

# %%
import matplotlib.pyplot as plt
import numpy as np
from exercises import ch08
from pages import (
    BLUE,
    GREEN,
    ORANGE,
    Formula,
    all_paths,
    animate,
    gaps,
    learning,
    pick,
    run,
    save,
    scores,
    show,
    squares,
    train,
)

from refopt import (
    PROBLEMS,
    Cosine,
    Cycle,
    CycleAsPrinted,
    Exponential,
    GradientDescent,
    InverseTime,
    Linear,
    OneCycle,
    Random,
)
from refopt.linear_models import LeastSquares

# %% [markdown]
# The theorem
# -----------
#
# **Theorem 1.** *On a quadratic, steps $\eta_1, \dots, \eta_n$ multiply the part of $x - x^*$ along an eigenvector of
# eigenvalue $\lambda$ by $\prod_j (1 - \eta_j \lambda)$. Repeated for ever they converge if and only if this is less
# than 1 in size for every eigenvalue, though single $\eta_j$ may exceed $2/L$. The best $n$ steps for eigenvalues in
# $[\mu, L]$ are*
#
# $$ \eta_j = \frac{2}{L + \mu - (L - \mu) \cos\frac{(2j - 1)\pi}{2n}}, \qquad \max_\lambda \Big|\prod_j (1 - \eta_j
# \lambda)\Big| = \frac{1}{T_n\left(\frac{\kappa + 1}{\kappa - 1}\right)}, $$
#
# *with Chebyshev's polynomial $T_n$ (Richardson 1910, Young 1953).*
#
# That is why a rate may go up. Why it must come down is noise. Take samples $f_i = (x - b_i)^2 / 2$, drawn
# independently, whose $b_i$ have mean 0 and variance $V$.
#
# **Theorem 2.** *At a constant rate $\eta$,* $\ \mathrm{E}\,x_t^2 = (1 - \eta)^{2t} x_0^2 + \frac{\eta V}{2 - \eta}
# \left(1 - (1 - \eta)^{2t}\right)$.
#
# The first term is the speed, and wants $\eta$ large; the second is a floor, and wants it small.
#
# **Theorem 3** (Robbins and Monro 1951). *Rates with $\sum \eta_t = \infty$ and $\sum \eta_t^2 < \infty$ converge. Here
# $\eta_t = 1/t$, $t = 1, 2, \dots$, makes $x$ the mean of all $b_i$ drawn so far, so that $\mathrm{E}\,x_t^2 = V/t$.*
#
# And a remark that is only as deep as Theorem 1: *near a minimum of curvature $h$ an iterate stays only if $\eta h <
# 2$.* A phase of large rates leaves every minimum sharper than that.

# %% [markdown]
# A picture of the mechanism
# --------------------------
#
# Left, the factor of sixteen steps by eigenvalue. The triangle's peak lies beyond the limit $2/L$, where the steepest
# modes grow; its short steps more than make up for it. Chebyshev's longest step is seven times beyond the limit and
# more, and his cycle treats all eigenvalues alike. Right, the rates that do it.

# %%
mu, L, n = 1.0, 20.0, 16
cycles = {
    r"constant $2/(L+\mu)$": np.full(n, 2 / (L + mu)),
    "triangle": np.array([Cycle(0.02, 0.16, n)(k) for k in range(n)]),
    "Chebyshev": 2 / (L + mu - (L - mu) * np.cos((2 * np.arange(1, n + 1) - 1) * np.pi / (2 * n))),
}
lam = np.linspace(mu, L, 600)
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.3))
worst, steepest = {}, {}
for name, etas in cycles.items():
    factor = abs(np.prod(1 - etas[:, None] * lam, axis=0))
    worst[name] = factor.max()
    steepest[name] = factor[-1]
    left.semilogy(lam, np.maximum(factor, 1e-9), label=name)
    right.plot(np.arange(1, n + 1), etas, marker="o", label=name)
    print(f"{name:22} largest factor of {n} steps: {worst[name]:.1e}")
left.set(xlabel=r"eigenvalue $\lambda$", ylabel=f"factor of {n} steps", ylim=(1e-7, 3))
right.axhline(2 / L, color="0.5", linewidth=1, linestyle=":")
right.text(16, 2 / L + 0.01, "$2/L$", color="0.4", ha="right")
right.set(xlabel="step of the cycle", ylabel=r"step size $\eta$", yscale="log", xticks=(1, 4, 8, 12, 16))
right.legend(loc="upper right", fontsize=8.5)
save(fig, "08-cycles", "What three cycles of sixteen steps do to each eigenvalue (left), and their step sizes (right).")
chebyshev = 1 / np.cosh(n * np.arccosh((L + mu) / (L - mu)))
assert np.isclose(worst["Chebyshev"], chebyshev, rtol=1e-9), "Theorem 1"
assert cycles["triangle"].max() > 2 / L
assert worst["triangle"] < 1, "it converges all the same"
assert steepest["triangle"] < steepest[r"constant $2/(L+\mu)$"]
assert cycles["Chebyshev"].max() > 7 * 2 / L
assert worst["Chebyshev"] < worst[r"constant $2/(L+\mu)$"]

# %% [markdown]
# The escape, in motion: one sharp dip in a wide bowl. The cycle begins with rates at which the dip holds the iterate;
# as they pass $2/h$ it is shaken out; when they fall again it is in the wide minimum, and stays. A constant rate from
# the bottom of the cycle would have stayed in the dip.


# %%
def dip(x):
    """A bowl of curvature 0.3 at 2, with a dip of width 0.2 at -1."""
    hole = np.exp(-((x + 1) ** 2) / 0.08)
    return (0.15 * (x - 2) ** 2 - hole).sum(), 0.3 * (x - 2) + hole * (x + 1) / 0.04


landscape = Formula(dip, x0=-1.05)
schedule = Cycle(0.02, 0.5, 80)
shaken = run(GradientDescent(schedule), landscape, 80).x[:, 0]
held = run(GradientDescent(0.02), landscape, 80).x[:, 0]
sharp = held[-1]
hole = np.exp(-((sharp + 1) ** 2) / 0.08)
h = 0.3 + hole / 0.04 * (1 - (sharp + 1) ** 2 / 0.04)
print(f"the dip has curvature {h:.1f}, and lets go at rates beyond {2 / h:.3f}")
assert abs(sharp + 1) < 0.1
assert abs(shaken[-1] - 2) < 0.1
leaves = int(np.argmax(abs(shaken - sharp) > 0.5))
assert schedule(leaves) > 2 / h

line = np.linspace(-2.6, 4.2, 500)
heights = np.array([landscape.value(np.array([v])) for v in line])
fig, (above, below) = plt.subplots(2, 1, figsize=(5.6, 4.4), height_ratios=(2, 1))


def draw(frame):
    """The iterate on the landscape, and the rate up to now."""
    t = 2 * frame
    above.clear()
    above.plot(line, heights, "-", color="k")
    trail = shaken[max(0, t - 4) : t + 1]
    above.plot(trail, [landscape.value(np.array([v])) for v in trail], "o--", color="0.7", linewidth=0.8)
    above.plot(shaken[t], landscape.value(shaken[t : t + 1]), "o", color=ORANGE, markersize=9)
    above.set(xlabel="$x$", ylabel="$f$", ylim=(-0.5, 3.4), title=f"step {t}")
    below.clear()
    below.plot([schedule(k) for k in range(81)], color="0.7", linestyle="-")
    below.plot(t, schedule(t), "o", color=ORANGE)
    below.axhline(2 / h, color=BLUE, linestyle="--", linewidth=1)
    below.text(40, 2 / h + 0.02, "$2/h$ of the dip", color=BLUE, ha="center")
    below.set(xlabel="step $t$", ylabel=r"rate $\eta$", ylim=(0, 0.55))


caption = "A cycle of rates shakes the iterate out of a sharp minimum into a wide one."
animate(fig, draw, pick(41, 2), "08-escape", caption, fps=4)
plt.close(fig)

# %% [markdown]
# The rule itself
# ---------------
#
# A schedule is a frozen dataclass, a pure function of the steps taken, and can stand wherever a rule has an `lr`. A
# resumed run needs nothing but the number of the step. (Even `Random` is such a function: step $k$ has the $k$-th
# number of its stream.)

# %%
show(Cycle, OneCycle, Random.__call__, InverseTime, GradientDescent.step)

# %% [markdown]
# A check against the theorem
# ---------------------------
#
# Theorem 1 on the quadratic of condition number 100, in Chebyshev cycles of eight steps. (Long cycles in this order are
# dangerous in floating point: the large steps come together, and rounding grows with them.) Theorem 2 over all paths of
# three samples $b = -1, 0, 1$: an equality. Theorem 3 likewise.

# %%
quadratic = PROBLEMS["quadratic"]()
n, rounds = 8, 8
j = np.arange(1, n + 1)
span, middle = quadratic.L - quadratic.mu, quadratic.L + quadratic.mu
etas = 2 / (middle - span * np.cos((2 * j - 1) * np.pi / (2 * n)))
best = run(GradientDescent(lambda k: float(etas[k % n])), quadratic, n * rounds)
constant = run(GradientDescent(2 / middle), quadratic, n * rounds)
distance = np.sqrt(squares(best.x - quadratic.x_star))
bound = distance[0] / np.cosh(n * np.arccosh(middle / span)) ** np.arange(rounds + 1)
assert (distance[::n] <= bound * (1 + 1e-9)).all(), "Theorem 1, after every cycle"

fig, panels = plt.subplots(1, 2, figsize=(7.4, 3.4))
panels[0].semilogy(np.sqrt(squares(constant.x - quadratic.x_star)), label=r"constant $2/(L+\mu)$")
panels[0].semilogy(distance, linewidth=0.9, label="Chebyshev")
panels[0].semilogy(np.arange(0, n * rounds + 1, n), bound, "o", color="0.35", label="Theorem 1")
panels[0].set(xlabel="step $t$", ylabel="$|x_t-x^*|$", title=r"a quadratic, $\kappa=100$", ylim=(1e-4, 1e4))
panels[0].legend(loc="upper right")

three = LeastSquares(np.ones((3, 1)), np.array([-1.0, 0.0, 1.0]), np.array([2.0]))
k, V = 7, 2 / 3
t = np.arange(k + 1)
for eta in (0.8, 0.3):
    mean = all_paths(GradientDescent(eta), three, k)
    decay = (1 - eta) ** (2 * t)
    np.testing.assert_allclose(mean, decay * 4 + eta * V / (2 - eta) * (1 - decay), rtol=1e-12)
    (drawn,) = panels[1].semilogy(mean, marker="o", label=rf"$\eta={eta}$")
    panels[1].axhline(eta * V / (2 - eta), color=drawn.get_color(), linewidth=0.9, linestyle=":")

points = [2.0]
means = [4.0]
for step in range(k):
    points = [x - InverseTime()(step) * (x - b) for x in points for b in three.b]
    means.append(np.mean(np.square(points)))
np.testing.assert_allclose(means[1:], V / t[1:], rtol=1e-12)
panels[1].semilogy(means, marker="s", label=r"$\eta_t=1/t$")
panels[1].set(xlabel="step $t$", ylabel=r"$\mathrm{E}\,x_t^2$, over all paths", title="noise")
panels[1].legend()
save(
    fig,
    "08-bounds",
    "Left: Chebyshev's cycles and the bound after each. Right: constant rates end on their floors (dotted), and "
    "the rate one over t has none.",
)

# %% [markdown]
# A small network
# ---------------
#
# First a *range test* (Smith 2017): one run in which the rate rises from almost nothing until the loss turns. It costs
# one epoch or two, and shows the window in which a cycle may live.

# %%
epochs_of_test = pick(4, 2)
rise = Exponential(1e-3, 10.0, 45 * epochs_of_test)
tested = train(GradientDescent(rise), epochs_of_test)
rates = np.array([rise(k) for k in range(len(tested.steps))])
smooth = np.convolve(tested.steps, np.ones(9) / 9, mode="valid")
low_point = rates[4:-4][np.argmin(smooth)]
fig, ax = plt.subplots(figsize=(5.6, 3.0))
ax.loglog(rates, tested.steps, color="0.8", linestyle="-", linewidth=0.8, label="each mini-batch")
ax.loglog(rates[4:-4], smooth, "-", color=BLUE, label="mean of nine")
ax.axvline(low_point, color=ORANGE, linestyle="--", linewidth=1)
ax.set(xlabel=r"rate $\eta$", ylabel="loss")
ax.legend(loc="lower left")
save(
    fig, "08-range", "A range test: the loss falls while the rate grows, turns where the dashed line is, and explodes."
)
print(f"the loss turns at a rate of about {low_point:.2f}")
assert 0.05 < low_point < 5
assert smooth[-1] > 3 * smooth.min()

# %% [markdown]
# Then a few epochs, no more, at rates in that window. *One cycle* goes up, down, and at last far down: the noise floor
# of Theorem 2 is left behind in the last steps. Smith and Topin call its speed *super-convergence*.

# %%
epochs = pick(8, 3)
total = 45 * epochs
schedules = {
    "constant 0.1": 0.1,
    "constant 1": 1.0,
    "one cycle, up to 1": OneCycle(0.1, 1.0, 0.001, 0.4 * total, 0.8 * total, total),
    "cosine from 1": Cosine(1.0, 0.0, total),
    "two cycles, 0.01 to 1": Cycle(0.01, 1.0, total / 2),
    "random in [0.01, 1]": Random(0.01, 1.0, seed=0),
}
runs = {name: train(GradientDescent(schedule), epochs) for name, schedule in schedules.items()}
fig = plt.figure(figsize=(7.4, 3.7))
learning(fig, runs)
save(fig, "08-network", "A few epochs of handwritten digits under six functions of time.")
scores(runs)
assert runs["one cycle, up to 1"].accuracy[-1] > 0.93
assert runs["one cycle, up to 1"].loss[-1] < runs["constant 0.1"].loss[-1]
assert runs["cosine from 1"].loss[-1] < runs["constant 0.1"].loss[-1]

# %% [markdown]
# What breaks it
# --------------
#
# **The wrong horizon.** A schedule is told how long the run will be. Past its end a linear one is negative, and climbs
# the hill it came down; a cosine goes up again.
#
# **The wrong formula.** The triangle as printed in Sasse's thesis (eq. 2.21) never reaches its upper rate, and plays
# the lower one twice in a row. Its code runs the right one.
#
# **A rate that falls too fast.** $\sum \eta_t$ must be infinite. With $\eta_t = 0.5 \cdot
# 0.8^t$ the way that can be gone at all ends before the solution.

# %%
past = run(GradientDescent(Linear(1.0 / quadratic.L, 0.0, 100)), quadratic, 200)
gap = past.f - quadratic.f_star
assert np.argmin(gap) == 100
assert gap[-1] > 100 * gap[100]
assert Cosine(1.0, 0.0, 100)(150) > Cosine(1.0, 0.0, 100)(100)

printed, meant = ([kind(0.0, 1.0, 10)(k) for k in range(21)] for kind in (CycleAsPrinted, Cycle))
assert np.isclose(max(printed), 0.8)
assert max(meant) == 1.0
assert printed[9] == printed[10] == 0.0

slow = LeastSquares(np.ones((1, 1)), np.zeros(1), np.array([1.0]))
fast_decay = run(GradientDescent(lambda k: 0.5 * 0.8**k), slow, 200).x[:, 0]
product = np.prod(1 - 0.5 * 0.8 ** np.arange(200))
assert np.isclose(fast_decay[-1], product, rtol=1e-9)
print(f"with geometric decay x stops at {fast_decay[-1]:.3f}, not 0")
assert fast_decay[-1] > 0.03

fig, panels = plt.subplots(1, 3, figsize=(7.4, 3.1))
gaps(panels[0], {"linear, to step 100": gap})
panels[0].set(title="past the horizon")
panels[1].plot(meant, "o-", color=BLUE, markersize=3, label="as meant")
panels[1].plot(printed, "s--", color=ORANGE, markersize=3, label="as printed")
panels[1].set(title="a triangle of ten steps", xlabel="step $k$", ylabel="rate", ylim=(-0.05, 1.4))
panels[1].legend(loc="upper right")
panels[2].semilogy(fast_decay[:60], color=ORANGE, linestyle="--", label=r"$0.5\cdot 0.8^t$")
inverse = run(GradientDescent(InverseTime(0.5)), slow, 60).x[:, 0]
panels[2].semilogy(inverse, color=GREEN, label=r"$0.5/(t+1)$")
panels[2].set(title="a rate that falls too fast", xlabel="step $t$", ylabel="$x_t$")
panels[2].legend()
save(
    fig,
    "08-breaks",
    "Left: a linear schedule past its horizon climbs. Middle: the printed triangle misses its top. Right: a rate whose "
    "sum is finite stops on the way, one over t goes on.",
)

# %% [markdown]
# Three exercises
# ---------------
#
# Fill in the functions in `tutorials/exercises/ch08.py`, then run `python -m pytest tutorials/exercises/test_ch08.py`:
# the triangle, Chebyshev's cycle, and the constant rate for a given floor of noise.

# %%
show(ch08)

# %% [markdown]
# Sources: the references of `refopt/rules/schedules.py` and `switch.py`. H. Robbins and S. Monro 1951; D. Young 1953;
# L. Smith 2017, arXiv:1506.01186; L. Smith and N. Topin 2018, arXiv:1708.07120; R. Sasse, Investigating the influence
# of learning rates on the learning speed of neural networks.

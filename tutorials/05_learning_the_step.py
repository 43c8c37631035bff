# %% [markdown]
"""
Chapter 5. Learning the step: hypergradients and Newton's method for the rate
=============================================================================
"""

# %% [markdown]
# The question
# ------------
#
# A line search spends trials inside every step, and forgets what they told. But a rate changes slowly; it is a
# parameter, like those of the model. *If $x$ descends $f$, can the rate descend it too?*

# %%
import matplotlib.pyplot as plt
import numpy as np
from exercises import ch05
from pages import (
    BLUE,
    GREEN,
    ORANGE,
    QUICK,
    Formula,
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
    BB1,
    NTLR,
    PROBLEMS,
    GradientDescent,
    GradientDescentHD,
    MultiplicativeHD,
    NTLRConsecutive,
    NTLRLookAhead,
    WindowMultiplicativeHD,
)
from refopt.rules.hypergradient import Window
from refopt.rules.trainable_rate import newton_factor

# %% [markdown]
# The theorem
# -----------
#
# Fix $x$ and a direction $u$, the gradient or something made of it. The loss after the step is a function of the rate
# alone, and its slope costs one gradient:
#
# $$ \varphi(\alpha) = f(x - \alpha u), \qquad \varphi'(\alpha) = -\langle \nabla f(x - \alpha u),\ u \rangle, \qquad
# \varphi''(\alpha) = \langle u,\ \nabla^2 f(x - \alpha u)\, u \rangle. $$
#
# If the gradient after the step still points along $u$, the slope is negative and the step was too short; if it points
# back, too long. Two ways to use it. **Descend** (Almeida et al. 1999; Baydin et al. 2018): the gradient $g_t$ *is* the
# one after the last step, so
#
# $$ \alpha_t = \alpha_{t-1} + \beta\, \langle g_t, u_{t-1} \rangle. $$
#
# **Newton** (Retsinas et al.): look for the root of $\varphi'$. The second derivative along $u$ is told by the two
# gradients at both ends of the step, $g$ at $x$ and $\hat g$ at $x - \alpha u$, as $\langle u, g - \hat g \rangle /
# \alpha$; the $\alpha$ cancels, and with damping $\gamma$
#
# $$ \alpha^+ = \alpha \left( 1 + \gamma\,\frac{\langle u, \hat g \rangle}{\langle u, g - \hat g \rangle} \right). $$
#
# **Theorem 1.** *With $\gamma = 1$ this is one step of the secant method on $\varphi'$, from the points 0 and $\alpha$.
# On a quadratic it finds the exact step $\alpha^*$ from any rate, and for $\gamma < 1$, $\alpha^+ - \alpha^* =
# (1 - \gamma)(\alpha - \alpha^*)$.*
#
# **Theorem 2.** *Applied to the step before, $u = g_{t-1}$, it is $\alpha_t = (1 - \gamma)\,\alpha_{t-1} +
# \gamma\,\mathrm{BB1}$ on every function, where neither is bounded and the curvature is positive.*
#
# **Theorem 3.** *On $\lambda x^2/2$ the descending rate obeys $\alpha_t - \alpha_{t-1} = \beta \lambda^2 x_{t-1}^2 (1 -
# \alpha_{t-1} \lambda)$: it rises below $1/\lambda$, falls above it. Its cousin that looks at angles only, $\alpha_t =
# \alpha_{t-1} (1 + \beta \cos(g_t, u_{t-1}))$, stays between $\alpha_0 (1 - \beta)^t$ and $\alpha_0 (1 + \beta)^t$.*

# %% [markdown]
# A picture of the mechanism
# --------------------------
#
# Above, the loss along the search line of a logistic regression; below, its slope. The exact step is where the slope
# is 0. The chord of $\varphi'$ from 0 to $\alpha$ meets the axis at $\alpha^+$. From a rate too short (left) it
# leaps ahead, from one too long (right) it comes back; being a ratio of slopes it needs no scale of its own. The
# hypergradient uses only the height of $\varphi'(\alpha)$, and needs a $\beta$ to turn it into a rate.

# %%
logistic = PROBLEMS["logistic"]()
x = logistic.x0
f, g = logistic(x)
alphas = np.linspace(0, 17, 200)
phi = np.array([logistic.value(x - a * g) for a in alphas])
slope = np.array([-(logistic(x - a * g)[1] @ g) for a in alphas])
exact = np.interp(0, slope, alphas)

fig, panels = plt.subplots(2, 2, figsize=(7.4, 5.0), sharex=True, sharey="row")
for column, alpha in enumerate((3.0, 14.0)):
    above, below = panels[:, column]
    rule = NTLRLookAhead(lr=alpha, gamma=1.0)
    rule.start(x, logistic)
    rule.step(x, logistic)
    at_alpha = -(logistic(x - alpha * g)[1] @ g)
    better = alpha * (-(g @ g)) / (-(g @ g) - at_alpha)
    assert np.isclose(rule.eta, better, rtol=1e-12), "the secant step from 0 and alpha"
    assert abs(better - exact) < abs(alpha - exact)
    above.plot(alphas, phi, "-", color="k", label=r"$\varphi(\alpha)$")
    below.plot(alphas, slope, "-", color="k", label=r"$\varphi'(\alpha)$")
    ends = np.array([0, max(alpha, better) * 1.05])
    below.plot(ends, -(g @ g) + ends * (at_alpha + g @ g) / alpha, "--", color=BLUE, label="chord")
    below.plot([0, alpha], [-(g @ g), at_alpha], "o", color=BLUE)
    below.axhline(0, color="0.4", linewidth=0.8)
    for ax, heights in (
        (above, (logistic.value(x - alpha * g), logistic.value(x - better * g))),
        (below, (at_alpha, 0)),
    ):
        ax.plot(alpha, heights[0], "o", color=ORANGE)
        ax.plot(better, heights[1], "o", color=GREEN)
    above.text(alpha, logistic.value(x - alpha * g) + 0.12, r"$\alpha$", color=ORANGE, ha="center")
    above.text(better, logistic.value(x - better * g) + 0.12, r"$\alpha^+$", color=GREEN, ha="center")
    below.text(better + 0.2, -0.055, r"$\alpha^+$", color=GREEN)
    below.plot([alpha, alpha], [0, at_alpha], color=ORANGE, linewidth=1.2, linestyle=":")
    below.set(xlabel=r"rate $\alpha$")
    print(f"from {alpha:.0f} to {better:.2f}; the exact step is {exact:.2f}")
panels[0, 0].set_ylabel("loss after the step")
panels[1, 0].set_ylabel("its slope")
panels[1, 1].legend(loc="lower right")
save(
    fig,
    "05-chord",
    "Loss along the search line and its slope. The chord of the slope from zero to the present rate points at a better "
    "one, from below (left) and from above (right).",
)

# %% [markdown]
# The rule itself
# ---------------
#
# Of the descending family, additive and by angle, only the change of the rate differs:

# %%
show(GradientDescentHD.step, GradientDescentHD.adapted, MultiplicativeHD.adapted)

# %% [markdown]
# Newton's. The factor has two guards: concave along $u$, where the root would be a maximum, it is 1; and it is never
# above 100.

# %%
show(newton_factor, NTLRLookAhead.step, NTLRConsecutive.step)

# %% [markdown]
# On mini-batches two gradients belong to two functions. `NTLR` lets any other rule take $K$ steps at one rate, and sees
# them from afar as *one* step $S = (z - x)/\alpha$, the sum of the directions; the window before serves as $u$ and
# $g$, the last one as $\hat g$.

# %%
show(Window.look_back, NTLR.adapted)

# %% [markdown]
# A check against the theorem
# ---------------------------
#
# Theorem 1 on a quadratic, from a rate a thousand times too small and one a thousand times too large; Theorem 2 on a
# function that is no quadratic; Theorem 3 in one variable.

# %%
quadratic = PROBLEMS["quadratic"]()
f, g = quadratic(quadratic.x0)
exact = g @ g / (g @ (quadratic.A @ g))
for start in (1e-3 * exact, 1e3 * exact):
    for gamma in (1.0, 0.2):
        found = run(NTLRLookAhead(lr=start, gamma=gamma, factor_max=np.inf), quadratic, 1).eta[0]
        np.testing.assert_allclose(found - exact, (1 - gamma) * (start - exact), rtol=1e-9, atol=1e-9 * exact)

softmax = PROBLEMS["softmax"]()
damped, pure = (
    run(NTLRConsecutive(lr=1.0, gamma=0.2), softmax, 15),
    run(NTLRConsecutive(lr=1.0, gamma=1.0), softmax, 15),
)
s, y = np.diff(damped.x[:-1], axis=0), np.diff(damped.g, axis=0)
bb1 = squares(s) / (s * y).sum(axis=1)
np.testing.assert_allclose(damped.eta[1:], 0.8 * damped.eta[:-1] + 0.2 * bb1, rtol=1e-9)
np.testing.assert_allclose(pure.x[:12], run(BB1(lr=1.0), softmax, 15).x[:12], rtol=1e-8)

curvature, beta = 4.0, 0.001
parabola = Formula(lambda x: (curvature * x @ x / 2, curvature * x), x0=3.0, f_star=0.0)
r = run(GradientDescentHD(lr=0.01, meta_lr=beta), parabola, 12)
change = beta * curvature**2 * r.x[:-2, 0] ** 2 * (1 - r.eta[:-1] * curvature)
np.testing.assert_allclose(np.diff(r.eta), change, rtol=1e-8, atol=1e-15)

# %% [markdown]
# Now the rates themselves, on logistic regression, from four guesses that span six orders of magnitude. Newton's rate
# forgets where it began within a few steps. The multiplicative one needs $\log(\alpha/\alpha_0)/\log(1 + \beta)$
# steps, the additive one depends on $\beta$ *and* on the size of the gradients, which shrink: it freezes where it is.

# %%
steps = 80
fig, panels = plt.subplots(1, 3, figsize=(7.4, 3.3), sharey=True)
families = {
    r"Newton, $\gamma=0.2$": lambda a: NTLRLookAhead(lr=a),
    r"angles, $\beta=0.1$": lambda a: MultiplicativeHD(lr=a),
    r"additive, $\beta=0.1$": lambda a: GradientDescentHD(lr=a, meta_lr=0.1),
}
spread = {}
for ax, (title, make) in zip(panels, families.items(), strict=True):
    rates = []
    for start, color, dash in zip(
        (1e-4, 1e-2, 1.0, 10.0), (BLUE, ORANGE, GREEN, "k"), ("-", "--", "-.", ":"), strict=True
    ):
        r = run(make(start), logistic, steps)
        rates.append(r.eta)
        ax.semilogy(r.eta, dash, color=color, label=f"from {start:g}")
    for level, name in ((2 / logistic.L, "$2/L$"), (1 / logistic.mu, r"$1/\mu$")):
        ax.axhline(level, color="0.6", linewidth=0.9, linestyle="-")
        ax.text(steps, level * 1.1, name, color="0.4", ha="right")
    ax.set(title=title, xlabel="step $t$", ylim=(5e-5, 100))
    late = np.array(rates)[:, 25]
    spread[title] = late.max() / late.min()
    print(f"{title:24} rates after 25 steps differ by a factor of {spread[title]:.1f}")
panels[0].set_ylabel(r"rate $\alpha$")
panels[2].legend(loc="lower right")
save(fig, "05-rates", "Three ways of learning the rate, each from four first guesses, on logistic regression.")
newtons, angles, additive = spread.values()
assert newtons < 3
assert additive > 20
assert angles > 1000
multiplicative = run(MultiplicativeHD(lr=1e-4), logistic, steps).eta / 1e-4
t = np.arange(steps)
assert (multiplicative <= 1.1**t * (1 + 1e-9)).all()
assert (multiplicative >= 0.9**t * (1 - 1e-9)).all()

# %% [markdown]
# A small network
# ---------------
#
# From $10^{-4}$ to 1, the rate that NTLR is given hardly matters (the papers' $\gamma = 0.2$, windows of a third of
# an epoch). The rate it finds falls as training goes on, which no one asked for.

# %%
epochs = pick(15, 5)
runs = {}
for start in (1e-4, 1e-2, 1.0):
    runs[rf"NTLR from {start:g}"] = train(NTLR(GradientDescent(start)), epochs)
    runs[rf"constant {start:g}"] = train(GradientDescent(start), epochs)
runs["by angle, from 0.01"] = train(WindowMultiplicativeHD(GradientDescent(1e-2)), epochs)
fig = plt.figure(figsize=(7.4, 3.7))
learning(fig, runs)
save(fig, "05-network", "A network trained at rates learned on the way, and at the constant rates they began with.")
scores(runs)
assert runs["NTLR from 0.0001"].accuracy[-1] > runs["constant 0.0001"].accuracy[-1] + 0.3
assert runs["NTLR from 0.01"].loss[-1] < runs["constant 0.01"].loss[-1]
found = [runs[f"NTLR from {start:g}"].eta for start in (1e-4, 1e-2)]
print(f"rates found, from 0.0001 and from 0.01: {found[0][-1]:.3f} and {found[1][-1]:.3f}")
assert 0.2 < found[0][-1] / found[1][-1] < 5
assert (NTLR().gamma, NTLR().share) == (0.2, 1 / 3)
if not QUICK:
    assert found[0][-1] < found[0].max(), "it falls again"
    ends = [runs[f"NTLR from {start:g}"].loss[-1] for start in (1e-4, 1e-2, 1.0)]
    assert max(ends) < 3 * min(ends)

# %% [markdown]
# What breaks it
# --------------
#
# **The unit of $\beta$.** In the additive rule $\beta$ has the unit of $\alpha^2 / f$. Measure the same loss in cents
# instead of dollars, 100 times as many, and scale the rate as its unit asks: a $\beta$ that was right becomes a
# million times too large. The Newton rate and the angle have no such number.

# %%
cents = Formula(lambda x: tuple(100 * v for v in logistic(x)), x0=logistic.x0, f_star=100 * logistic.f_star)
for make, name in ((lambda a, b: NTLRLookAhead(lr=a), "Newton"), (lambda a, b: MultiplicativeHD(lr=a), "angles")):
    np.testing.assert_allclose(run(make(0.01, 0), cents, 12).x, run(make(1.0, 0), logistic, 12).x, rtol=1e-8), name
scaled = run(GradientDescentHD(lr=0.01, meta_lr=0.1 / 100**3), cents, 12).x
np.testing.assert_allclose(scaled, run(GradientDescentHD(lr=1.0, meta_lr=0.1), logistic, 12).x, rtol=1e-8)
wild = run(GradientDescentHD(lr=0.01, meta_lr=0.1), cents, 5)
print(f"with the same beta, in cents: rates up to {np.abs(wild.eta).max():.0e}, one of them {wild.eta.min():.0e}")
assert wild.eta.min() < 0, "and nothing keeps the rate from going negative: uphill"

# %% [markdown]
# **Windows of different rates.** The chord of `NTLR` spans the older window, which had the older rate; its factor
# multiplies the newer one. With windows of a single step, from 0.01 on $2x^2$, the rate overshoots: 0.34, then 0.56,
# when the best is 0.25.
#
# **No curvature along the step.** Where $f$ is concave along $u$, Newton's rate stays as it is, however small. On
# $\sqrt{1 + x^2}$ seen upside down it never moves.

# %%
steep = Formula(lambda x: (2 * x @ x, 4 * x), x0=1.0, f_star=0.0)
overshoot = run(NTLR(GradientDescent(0.01), period=1), steep, 12).eta
print("windows of one step:", *[f"{eta:.2f}" for eta in overshoot[:8]])
assert [f"{eta:.2f}" for eta in overshoot[3:5]] == ["0.34", "0.56"]
dome = Formula(lambda x: (-np.sqrt(1 + x @ x), -x / np.sqrt(1 + x @ x)), x0=0.1)
assert (run(NTLRLookAhead(lr=0.001), dome, 50).eta == 0.001).all()

# %% [markdown]
# **One rate for all directions.** On a quadratic with $\kappa = 100$ no rule of this chapter can beat a good step for
# the steepest direction by much: learning the rate does not cure the condition number. And a rate begun far too high
# takes many steps to come down, while $f$ explodes: damping that protects against noise delays the rescue.

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.2))
steps = 150
compared = {
    r"Newton, $\gamma=0.2$, from 0.01": NTLRLookAhead(lr=0.01),
    r"Newton, $\gamma=0.2$, from 1": NTLRLookAhead(lr=1.0),
    r"Newton, $\gamma=1$, from 1": NTLRLookAhead(lr=1.0, gamma=1.0),
    r"constant $2/(L+\mu)$": GradientDescent(2 / (quadratic.L + quadratic.mu)),
}
compared = {name: run(rule, quadratic, steps) for name, rule in compared.items()}
gaps(left, {name: r.f - quadratic.f_star for name, r in compared.items()})
left.legend(fontsize=7.5)
worst = (compared[r"Newton, $\gamma=0.2$, from 1"].f - quadratic.f_star).max()
print(f"from a rate 100 times 1/L, f - f* rises to {worst:.0e} before the rate has come down")
assert worst > 1e6
newton_gap, constant_gap = (r.f[-1] - quadratic.f_star for r in list(compared.values())[2:])
assert newton_gap > 0.01 * constant_gap
right.plot(overshoot[:10], marker="o", label="windows of one step")
right.axhline(0.25, color="0.5", linewidth=1, linestyle=":", label=r"$1/\lambda$")
right.set(xlabel="step $t$", ylabel=r"rate on $2x^2$")
right.legend()
save(
    fig,
    "05-breaks",
    "Left: learning one rate does not cure a bad condition number, and comes down slowly from too high a guess if "
    "damped. Right: a chord over windows of different rates overshoots.",
)

# %% [markdown]
# Three exercises
# ---------------
#
# Fill in the functions in `tutorials/exercises/ch05.py`, then run
# `python -m pytest tutorials/exercises/test_ch05.py`. First the slope of $\varphi$, then Newton's factor with its
# guards, then the whole additive rule, held to the package's.

# %%
show(ch05)

# %% [markdown]
# Sources: the references of `refopt/rules/hypergradient.py` and `trainable_rate.py`. L. Almeida et al. 1999; A. G.
# Baydin et al. 2018, arXiv:1703.04782; G. Retsinas et al., Newton-based trainable learning rate.

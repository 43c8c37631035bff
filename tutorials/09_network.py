# %% [markdown]
"""
Chapter 9. A network by hand: reverse mode, convolution, batch norm, and a GPU
===============================================================================
"""

# %% [markdown]
# The question
# ------------
#
# A rule asks for $f$ and $g$ at a point. For a network $f$ is a program of many operations, and $g$ has a component for
# each of its thousands of weights. Differences of $f$ would cost one more run of the program for every weight. *How
# does one get all of $g$ for the price of a few runs, to the last digit, without deriving a formula by hand?*

# %%
import timeit
from itertools import islice, pairwise

import matplotlib.pyplot as plt
import numpy as np
from exercises import ch09
from matplotlib.patches import Rectangle
from pages import (
    BLUE,
    GREEN,
    ORANGE,
    QUICK,
    Formula,
    gaps,
    handwritten_digits,
    learning,
    pick,
    run,
    save,
    scores,
    show,
    squares,
    train,
)

from nets import (
    BatchNorm,
    Conv2d,
    Flatten,
    Layout,
    Linear,
    MaxPool2d,
    Mode,
    Sequential,
    Tensor,
    ops,
)
from nets.conv import conv2d, scatter, windows
from nets.models import mlp
from nets.oracle import NetOracle
from refopt import PROBLEMS, GradientDescent, HeavyBall, Shuffled, descend
from refopt.probe import array_module

# %% [markdown]
# The theorem
# -----------
#
# Let a program compute values one after the other, each from some before it, and at last $f$. For each value $v$ write
# $\bar v = \partial f / \partial v$.
#
# **Theorem 1** (reverse mode; Linnainmaa 1970, Baur and Strassen 1983). *With the sum over all operations that use
# $v$, each of them computing a value $w$,*
#
# $$ \bar v = \sum_w \left(\frac{\partial w}{\partial v}\right)^{\!\top} \bar w. $$
#
# *So one walk from $f$ back to the inputs gives all derivatives. Where each operation is a product of matrices, the
# walk has two products for every one of the program: $f$ and $g$ together cost three times $f$.*
#
# An operation needs no more than its *vector-Jacobian product* $\bar w \mapsto (\partial w / \partial v)^\top \bar w$,
# the adjoint of its linearisation. That of a linear operation is found by collecting the terms of each input.
#
# **Theorem 2** (convolution). *Let `windows` list the windows of an image, $X_{ijuv} = x_{si+u,\,sj+v}$. Its adjoint is
# `scatter`, which adds each part of each window to the pixel it came from,*
#
# $$ \langle \mathrm{windows}(x),\, P \rangle = \langle x,\, \mathrm{scatter}(P) \rangle, $$
#
# *and a convolution $Y = X W^\top$, a row of $X$ for each window and one of $W$ for each output channel, has
# $\partial f/\partial W = \bar Y^\top X$ and $\partial f/\partial x = \mathrm{scatter}(\bar Y W)$.*
#
# **Theorem 3** (batch norm). *Let $\hat x = (x - \mu)/\sigma$, with the mean and deviation of a channel over the batch.
# A shift of $x$ and a stretch do not change $\hat x$; so no gradient that comes back through it has a part along
# either. And where a filter $w$ feeds a batch norm, $f(aw) = f(w)$ for $a > 0$, hence*
#
# $$ \langle w, \nabla f(w) \rangle = 0, \qquad \nabla f(aw) = \nabla f(w) / a, \qquad
# |w - \eta \nabla f|^2 = |w|^2 + \eta^2 |\nabla f|^2. $$
#
# *The filter can only grow. What counts is its direction, and the rate for that is $\eta / |w|^2$: it falls by itself*
# (van Laarhoven 2017; Arora, Li and Lyu 2018).

# %% [markdown]
# A picture of the mechanism
# --------------------------
#
# Theorem 1 in one program: $f = a \tanh(ab + c)$. Values go forward, in black. Then $\bar f = 1$, and derivatives go
# back, in orange; $a$ is used twice, and gets two parts, which add.

# %%
a, b, c = (Tensor(np.array(value), needs_grad=True) for value in (1.5, 0.8, -0.5))
product = ops.multiply(a, b)
total = ops.add(product, c)
bent = ops.tanh(total)
f = ops.multiply(bent, a)

bars = {f: np.ones(())}
for node in (f, bent, total, product):  # each after all of its uses
    for operand, vjp in node.operands:
        bars[operand] = bars.get(operand, 0) + vjp(bars[node], None)

f.backward()
places = {a: (0, 2), b: (0, 1), c: (0, 0), product: (1.25, 1.5), total: (2.5, 0.75), bent: (3.75, 0.75), f: (5, 1.5)}
names = {a: "$a$", b: "$b$", c: "$c$", product: "$ab$", total: "$ab+c$", bent: "tanh", f: "$f$"}
fig, ax = plt.subplots(figsize=(7.4, 2.9))
for node, (x, y) in places.items():
    for operand, _vjp in node.operands:
        u, v = places[operand]
        ax.annotate("", (x - 0.36, y), (u + 0.36, v), arrowprops={"arrowstyle": "-|>", "color": "0.5"}, zorder=1)
    ax.add_patch(Rectangle((x - 0.36, y - 0.28), 0.72, 0.56, facecolor="w", edgecolor="0.3", zorder=2))
    ax.text(x, y + 0.12, f"{names[node]} = {node.data:.2f}", ha="center", va="center", fontsize=9, zorder=3)
    ax.text(x, y - 0.13, f"{bars[node]:+.2f}", ha="center", va="center", fontsize=9, color=ORANGE, zorder=3)
ax.set(xlim=(-0.5, 5.5), ylim=(-0.4, 2.4))
ax.set_axis_off()
save(fig, "09-graph", "A program as a graph: in each box the value, and in orange the derivative of f by it.")
for leaf in (a, b, c):
    assert leaf.grad == bars[leaf], "the same as Tensor.backward"
slope = 1 - np.tanh(0.7) ** 2
np.testing.assert_allclose([a.grad, b.grad, c.grad], [np.tanh(0.7) + 1.2 * slope, 2.25 * slope, 1.5 * slope])

# %% [markdown]
# Theorem 2 as a matrix. Every convolution is one: here of an image of 5 x 5 pixels with a filter of 3 x 3, one row for
# each of the nine windows. Its transpose takes $\bar y$ back. On the right, how many windows a pixel is in: `scatter`
# of ones. Nobody stores this matrix: nine products in each row are all there is.

# %%
kernel = np.arange(1.0, 10).reshape(1, 3, 3, 1)
pixels = np.eye(25).reshape(25, 5, 5, 1)  # an image for each pixel
matrix = conv2d(Tensor(pixels), Tensor(kernel)).data.reshape(25, 9).T
uses = scatter(np.ones((1, 3, 3, 3, 3, 1)), (1, 5, 5, 1), stride=1)[0, :, :, 0]

fig, (left, middle, right) = plt.subplots(1, 3, figsize=(7.4, 2.9), width_ratios=(1, 2.1, 1))
image = np.full((5, 5), np.nan)
image[1:4, 2:5] = kernel[0, :, :, 0]
left.imshow(image, cmap="Blues", vmin=-4, vmax=12)
left.add_patch(Rectangle((1.5, 0.5), 3, 3, fill=False, edgecolor=ORANGE, linewidth=2))
left.set_title("one window")
middle.imshow(np.where(matrix, matrix, np.nan), cmap="Blues", vmin=-4, vmax=12, aspect="auto")
middle.add_patch(Rectangle((-0.5, 4.5), 25, 1, fill=False, edgecolor=ORANGE, linewidth=1.5))
middle.set(title="the convolution as a matrix", xlabel="pixel", ylabel="window", yticks=range(0, 9, 2))
right.imshow(uses, cmap="Greys", vmin=0, vmax=16)
for (i, j), count in np.ndenumerate(uses):
    right.text(j, i, f"{count:.0f}", ha="center", va="center")
right.set_title("windows of a pixel")
for ax in (left, right):
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
for ax in (left, middle, right):
    ax.grid(False)
save(
    fig,
    "09-convolution",
    "A window of an image with the filter's numbers in it; the matrix of the convolution, the row of that window "
    "framed; and in how many windows each pixel is.",
)
assert (np.flatnonzero(matrix[5]) == np.flatnonzero(~np.isnan(image))).all()
rng = np.random.default_rng(0)
x, g = rng.standard_normal((1, 5, 5, 1)), rng.standard_normal((1, 3, 3, 1))
leaf = Tensor(x, needs_grad=True)
ops.sum(ops.multiply(conv2d(leaf, Tensor(kernel)), Tensor(g))).backward()
np.testing.assert_allclose(leaf.grad.ravel(), matrix.T @ g.ravel(), rtol=1e-12)

# %% [markdown]
# The rule itself
# ---------------
#
# A `Tensor` is a value and, for each operand, its vector-Jacobian product. `backward` is Theorem 1.

# %%
show(Tensor.backward, Tensor._receive)

# %% [markdown]
# Operations are written with value and products side by side. The layers of a perceptron are these two.

# %%
show(ops.affine, ops.relu)

# %% [markdown]
# Convolution, as Theorem 2 has it. `windows` copies nothing: it is another way of counting through the same memory.

# %%
show(windows, scatter, conv2d)

# %% [markdown]
# And batch norm. `dx` is the orthogonal projection of Theorem 3: the mean of $g$ is taken off, and its part along
# $\hat x$.

# %%
show(ops.batch_norm)

# %% [markdown]
# A check against the theorem
# ---------------------------
#
# First the equations: adjoints for images, strides and batches of all kinds, and the two directions that batch norm
# does not let through.

# %%
checked = 0
for shape, K, stride in (((1, 5, 5, 1), 3, 1), ((2, 9, 7, 3), 3, 2), ((3, 8, 8, 2), 2, 2), ((2, 7, 9, 2), 3, 4)):
    x = rng.standard_normal(shape)
    P = rng.standard_normal(windows(x, K, K, stride).shape)
    np.testing.assert_allclose((windows(x, K, K, stride) * P).sum(), (x * scatter(P, shape, stride)).sum(), rtol=1e-11)
    checked += 1
print(f"<windows(x), P> = <x, scatter(P)> in {checked} of {checked} shapes")

x, gamma, beta = Tensor(rng.standard_normal((16, 4)), needs_grad=True), Tensor(np.ones(4)), Tensor(np.zeros(4))
normed, mean, variance = ops.batch_norm(x, gamma, beta, eps=0.0)
ops.sum(ops.multiply(normed, Tensor(rng.standard_normal((16, 4))))).backward()
along = abs(x.grad.sum(axis=0)).max(), abs((x.grad * normed.data).sum(axis=0)).max()
print(f"parts of the gradient along a shift and a stretch: {along[0]:.0e}, {along[1]:.0e}")
assert max(along) < 1e-13

# %% [markdown]
# Then a network whose loss is convex: one affine layer and softmax cross-entropy, with a penalty on the weights. The
# package has this problem in closed form, with $L$, $x^*$ and $f^*$. The net must give the same $f$ and $g$, and
# gradient descent on it must keep chapter 1's theorem.
#
# And the test that any gradient can be put to: the central difference, $(f(x + hv) - f(x - hv))/2h$. Its error is at
# most $h^2/6$ times the third derivative along $v$; that of $\log \sum e^z$ is the third central moment of $v$'s
# scores, and for numbers in an interval of length $R$ that is at most $R^3/(6\sqrt3)$. To it comes the rounding of $f$,
# some $\epsilon |f| / h$. Where the two meet digits are lost, and there is nothing better to be had.

# %%
problem = PROBLEMS["softmax"]()
features, classes = problem.A, problem.b.argmax(axis=1)
one_layer = Linear(3, 3)
softmax_net = NetOracle(one_layer, features, classes, Shuffled(15, 15), dtype=np.float64)


def to_theta(x):
    """Return the net's parameters with weights x (9,) and biases 0."""
    theta = np.zeros(softmax_net.layout.size)
    softmax_net.layout.views(theta)["weight"][...] = x.reshape(3, 3)
    return theta


class WithoutBias(Formula):
    """The net as a function of its weights x (9,), with the problem's penalty."""

    def __init__(self):
        super().__init__(self.both, problem.x0, problem.f_star)

    @staticmethod
    def both(x):
        f, g = softmax_net(to_theta(x))
        lam = problem.lam
        return f + lam / 2 * x @ x, softmax_net.layout.views(g)["weight"].ravel() + lam * x


by_net = WithoutBias()
for point in rng.standard_normal((20, 9)):
    (f, g), (f_exact, g_exact) = by_net(point), problem(point)
    np.testing.assert_allclose(f, f_exact, rtol=1e-13)
    np.testing.assert_allclose(g, g_exact, atol=1e-14)
r = run(GradientDescent(1 / problem.L), by_net, pick(150, 60))
t = np.arange(len(r.f))
bound = problem.L * squares(problem.x0 - problem.x_star) / (4 * t + 2)
assert (r.f - problem.f_star <= bound).all(), "chapter 1's theorem"

v = np.linspace(-1, 1, 9)
spans = np.ptp(features @ v.reshape(3, 3), axis=1)
third = (spans**3).mean() / (6 * np.sqrt(3))
h = np.geomspace(1e-11, 1, pick(60, 23))
f0, slope = by_net.value(problem.x0), by_net(problem.x0)[1] @ v
errors = np.array(
    [abs((by_net.value(problem.x0 + s * v) - by_net.value(problem.x0 - s * v)) / (2 * s) - slope) for s in h]
)
allowed = h**2 / 6 * third, 8 * np.finfo(float).eps * f0 / h
assert (errors <= sum(allowed)).all()
print(f"the best central difference has an error of {errors.min():.0e}, at h = {h[np.argmin(errors)]:.0e}")

fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.4))
gaps(left, {"one layer": r.f - problem.f_star}, bound, r"$L|x_0-x^*|^2/(4t+2)$")
right.loglog(h, np.maximum(errors, 1e-17), "o", color=BLUE, markersize=3, label="measured")
right.loglog(h, allowed[0], color="0.35", linestyle=(0, (1, 1)), linewidth=2.6, label="$h^2R^3/(36\\sqrt{3})$")
right.loglog(h, allowed[1], color=ORANGE, linestyle="--", label=r"$8\epsilon|f|/h$")
right.set(xlabel="$h$", ylabel="error of the central difference", ylim=(1e-16, 10))
right.legend(loc="upper center")
save(
    fig,
    "09-checks",
    "Left: gradient descent on a net of one layer, whose loss is convex, and its bound. Right: the central difference "
    "against reverse mode; truncation and rounding bound its error from two sides.",
)

# %% [markdown]
# The price: three times $f$, says Theorem 1 of the products of matrices, however many weights there are; the clock adds
# what else there is to do. Differences would need $f$ at two points for each weight.

# %%
digits = handwritten_digits()
priced = NetOracle(mlp((64, 256, 256, 10)), digits.x_train, digits.y_train, Shuffled(1437, 512), scale=digits.scale)
theta = priced.layout.initial(0)
seconds = [
    min(timeit.repeat(lambda call=call: call(theta), number=3, repeat=pick(7, 2))) for call in (priced.value, priced)
]
weights = sum(part.stop - part.start for _, part, _ in priced.blocks)
print(f"{weights} weights: f and g take {seconds[1] / seconds[0]:.1f} times as long as f, ", end="")
print(f"and differences would take {2 * weights} times as long")

# %% [markdown]
# A small network
# ---------------
#
# A convolutional net for the handwritten digits, images of 8 x 8 pixels. And *the same net on a GPU, by changing one
# word*: each formula asks for the array module of what it is given, so the word is "cpu" or "gpu" where the arrays are
# made. Where there is no GPU, the chapter says so and goes on.


# %%
def cnn(norm=True):
    """Make the net: two convolutions, each with batch norm, ReLU and pooling, and an affine map."""
    layers = []
    for inputs, outputs in pairwise((1, 8, 16)):
        layers += [Conv2d(inputs, outputs, 3, padding=1, bias=None), BatchNorm(outputs, relu=True), MaxPool2d(2)]
    return Sequential(*layers, Flatten(), Linear(64, 10))


epochs = pick(10, 1)
runs = {"64-32-10 (chapter 2)": train(HeavyBall(0.05), epochs)}
for device in ("cpu", "gpu"):
    try:
        xp = array_module(device)
    except RuntimeError as missing:
        print(missing)
    else:
        runs[f"convolutions, {device}"] = train(HeavyBall(0.05), epochs, model=cnn, xp=xp)
fig = plt.figure(figsize=(7.4, 3.4))
learning(fig, runs)
save(fig, "09-network", "A net with convolutions and batch norm, and the perceptron of chapter 2, at the same rate.")
scores(runs)
devices = [r for name, r in runs.items() if name.startswith("convolutions")]
for r in devices:
    print(f"{sum(part.stop - part.start for _, part, _ in r.net.blocks)} weights")
    assert r.accuracy[-1] > (0.7 if QUICK else 0.98)
    assert abs(r.loss[0] - devices[0].loss[0]) < 0.02, "a GPU adds in another order, no more"

# %% [markdown]
# **The rate that falls by itself.** Theorem 3, along a run: the length of the filters in the first layer, and beside it
# $|w_0|^2 + \eta^2 \sum |g|^2$, Pythagoras added up. Whatever rate one starts with, the rate that counts, $\eta /
# |w|^2$, ends up much closer together: a large $\eta$ makes the filters long. Here is why networks with batch norm
# forgive a wrong learning rate.

# %%
net = NetOracle(cnn(), digits.x_train, digits.y_train, Shuffled(1437, 128), scale=digits.scale, dtype=np.float64)
net.x0 = net.layout.initial(0, np.float64)
part = net.blocks[0].slice
steps = pick(150, 30)
fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.4))
effective = []
for eta, color, dash in ((0.1, BLUE, "-"), (1.0, GREEN, "--"), (3.0, ORANGE, "-.")):
    start = net.layout.initial(0, np.float64)
    net.seek(0)
    lengths, added = [squares(start[part])], [squares(start[part])]
    for step in islice(descend(GradientDescent(eta), net, start), steps):
        lengths.append(squares(step.x[part]))
        added.append(added[-1] + eta**2 * squares(step.g[part]))
    lengths, added = np.array(lengths), np.array(added)
    assert (np.diff(lengths) > -1e-3 * lengths[1:]).all(), "filters only grow, up to the eps in batch norm"
    np.testing.assert_allclose(lengths, added, rtol=0.05)
    left.semilogy(lengths, dash, color=color, label=rf"$\eta={eta:g}$")
    left.semilogy(added, "o", color=color, markersize=5, fillstyle="none", markevery=steps // 10)
    right.semilogy(eta / lengths, dash, color=color)
    effective.append((eta / lengths)[[0, -1]])
    print(
        f"eta = {eta:4}: |w|^2 from {lengths[0]:.2f} to {lengths[-1]:.2f}, eta/|w|^2 from {effective[-1][0]:.3f}",
        end="",
    )
    print(f" to {effective[-1][1]:.3f}")
left.set(xlabel="step $t$", ylabel="$|w_t|^2$ of the first filters")
left.legend()
right.set(xlabel="step $t$", ylabel=r"$\eta/|w_t|^2$")
save(
    fig,
    "09-batch-norm",
    "Filters before a batch norm only grow: lines are measured, circles are Pythagoras. The rate that counts "
    "falls, and the larger it was the faster.",
)
first, last = np.array(effective).T
assert last.max() / last.min() < 0.5 * first.max() / first.min()

# %% [markdown]
# What breaks it
# --------------
#
# **Depth.** Theorem 1 multiplies one Jacobian per layer. With ReLU and weights of variance $s^2/D$, a layer of width
# $D$ multiplies the mean square of what goes through by $s^2/2$, forwards and backwards alike. Only $s^2 = 2$ (He et
# al. 2015) neither dies out nor explodes.

# %%
depth, width = pick(40, 20), 128
x0 = rng.standard_normal((64, width))


def spread(s2):
    """Return the law of weights (D, K) with variance s2/D."""
    return lambda generator, shape, fan_in, fan_out: generator.standard_normal(shape) * np.sqrt(s2 / fan_in)


fig, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.4))
for s2, name in ((1.0, "$s^2=1$"), (2.0, "$s^2=2$ (He)"), (3.0, "$s^2=3$")):
    layers = [Linear(width, width, spread(s2)) for _ in range(depth)]
    layout = Layout(Sequential(*layers))
    layout.bind(layout.initial(1, np.float64))
    x, values = x0, [x0]
    for layer in layers:
        x = ops.relu(layer(Tensor(x), Mode())).data
        values.append(x)
    bar, bars = rng.standard_normal(x0.shape), []
    for layer, x in zip(layers[::-1], values[-2::-1], strict=True):
        bars.append(bar)
        leaf = Tensor(x, needs_grad=True)
        ops.sum(ops.multiply(ops.relu(layer(leaf, Mode())), Tensor(bar))).backward()
        bar = leaf.grad
    forward = np.array([np.mean(value**2) for value in values])
    backward = np.array([np.mean(each**2) for each in [*bars, bar]])[::-1]
    (drawn,) = left.semilogy(forward / forward[0], label=name)
    right.semilogy(backward / backward[-1], color=drawn.get_color(), linestyle=drawn.get_linestyle())
    predicted = (s2 / 2) ** np.arange(depth + 1)
    left.semilogy(predicted, color="0.35", linestyle=(0, (1, 1)), linewidth=1.6)
    right.semilogy(predicted[::-1], color="0.35", linestyle=(0, (1, 1)), linewidth=1.6)
    print(
        f"s^2 = {s2}: after {depth} layers the mean square is {forward[-1] / forward[0]:.1e} of what it was, ", end=""
    )
    print(f"the gradient's, back again, {backward[0] / backward[-1]:.1e}")
    for ratio in (forward[-1] / forward[0] / predicted[-1], backward[0] / backward[-1] / predicted[-1]):
        assert 0.02 < ratio < 50
left.set(xlabel="layer", ylabel="mean square of the values")
right.set(xlabel="layer", ylabel="mean square of the derivatives")
left.legend()
save(fig, "09-depth", "What goes forward through many layers, and what comes back; dotted, the mean over all weights.")

# %% [markdown]
# **Kinks.** At 0 the slope of ReLU is 0 or 1 or anything between; `ops.relu` takes 0, and the central difference,
# that sees both sides, 1/2. So a check of a gradient by differences fails near a kink though nothing is wrong: choose
# points without one, or smooth activations.
#
# **Digits.** Of two formulas for a variance, equal on paper, mean$(x^2) - \mu^2$ subtracts two large numbers. In
# float32, with a mean a thousand times the deviation, nothing is left of it; batch norm here subtracts first.
#
# **A batch of one.** With one value in a channel $x - \mu$ is 0, whatever $x$ is, and so is every gradient. The layer
# refuses, in a sentence.

# %%
kink = Tensor(np.zeros(1), needs_grad=True)
ops.sum(ops.relu(kink)).backward()
half = (np.maximum(1e-6, 0) - np.maximum(-1e-6, 0)) / 2e-6
print(f"slope of ReLU at 0: {kink.grad[0]:.0f} by reverse mode, {half:.1f} by a difference")
assert kink.grad[0] == 0
assert half == 0.5

far = (10000 + 5 * rng.standard_normal((256, 1))).astype(np.float32)
exact = far.astype(np.float64).var()
naive = float((far * far).mean() - far.mean() ** 2)
_y, _mean, ours = ops.batch_norm(Tensor(far), Tensor(np.ones(1, np.float32)), Tensor(np.zeros(1, np.float32)), eps=0.0)
print(f"variance {exact:.4f}; in float32 by mean(x^2) - mean^2 {naive:.4f}, by batch norm {float(ours[0]):.4f}")
assert abs(float(ours[0]) / exact - 1) < 1e-5
assert abs(naive / exact - 1) > 1e-2

try:
    BatchNorm(4)(Tensor(np.zeros((1, 4))), Mode(train=True))
except ValueError as refusal:
    print(refusal)
else:
    raise AssertionError("a batch of one must be refused")

# %% [markdown]
# Three exercises
# ---------------
#
# Fill in the functions in `tutorials/exercises/ch09.py`, then run
# `python -m pytest tutorials/exercises/test_ch09.py`. The first adds an operation to the package's; the second finds
# the adjoint of a convolution in one dimension; the third is Theorem 3's projection.

# %%
show(ch09)

# %% [markdown]
# Sources: the docstrings of `nets/tensor.py`, `ops.py` and `conv.py`. S. Linnainmaa 1970; W. Baur and V. Strassen 1983,
# The complexity of partial derivatives; S. Ioffe and C. Szegedy 2015, arXiv:1502.03167; K. He et al. 2015,
# arXiv:1502.01852; T. van Laarhoven 2017, arXiv:1706.05350; S. Arora, Z. Li and K. Lyu 2018, arXiv:1812.03981.

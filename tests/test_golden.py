"""Recorded runs of the authors' own code, of PyTorch and of optax, replayed step by step.

What lies in `golden/` says itself what was run: `index.json` names rule, options, problem and batches of every file
(see the README there). Nothing here belongs to a single file. `REFOPT_GOLDEN` may name another folder of this format.

Step by step: loss and gradient come from the recording, at the recorded points, and the rule carries its own state
along; always well conditioned. Free: the real problem, from x_init, as long as the index calls it safe.
"""

import json
import os
import re
from functools import cache
from math import inf
from pathlib import Path

import numpy as np
import pytest

from refopt import (
    L2,
    NTLR,
    PSS,
    SPS,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamHDReleased,
    AdaSecant,
    AdaSecantThesis,
    AdaSecantThesisCorrected,
    ALIGAdjusted,
    ALIGUnclipped,
    AMSGrad,
    AMSGradCorrected,
    Ball,
    Centralized,
    Constrained,
    Cosine,
    CUSAdam,
    Cycle,
    DecayingCycle,
    Every,
    Exponential,
    Goldstein,
    GradientDescent,
    GradientDescentHD,
    HalvingCycle,
    HeavyBall,
    HeavyBallDamped,
    HeavyBallHD,
    MultiStep,
    Nesterov,
    NesterovHD,
    NTLRReleased,
    OneCycle,
    Oracle,
    PSSDelta,
    PSSGamma,
    RMSProp,
    RMSPropCentered,
    RMSPropMomentum,
    SimpleAdaSecantNormalized,
    SimpleAdaSecantReleased,
    SLSReleased,
    SPSMax,
    SPSSmoothReleased,
    StochasticBB,
    StochasticBBBounded,
    descend,
)
from refopt.oracle import Block, Wrapper

FOLDER = Path(os.environ.get("REFOPT_GOLDEN", Path(__file__).parent / "golden"))
INDEX = json.loads((FOLDER / "index.json").read_text())

OUT_OF_SCOPE = {"adabound", "cocob", "l4", "sls_acc_polyak", "sls_acc_nesterov", "sls_eg"}
NOT_YET: set[str] = set()

# --- problems: the formulas of the index -----------------------------------------------------------------------------


def quadratic(p, x, rows):
    e = x - p["c"]
    return (p["d"] * e * e).sum() / 2 + p["f0"], p["d"] * e


def least_squares(p, x, rows):
    A = p["A"][rows]
    r = A @ x - p["b"][rows]
    return (r * r).mean() / 2, A.T @ r / len(r)


def logistic(p, x, rows):
    X, y = p["X"][rows], p["y"][rows]
    z = X @ x
    return (np.logaddexp(0, z) - y * z).mean(), X.T @ (1 / (1 + np.exp(-z)) - y) / len(y)


def perceptron(p, x, rows):
    X, y = p["X"][rows], p["y"][rows].astype(int)
    sizes = [p[name].size for name in ("W1", "b1", "W2", "b2")]
    W1, b1, W2, b2 = (
        part.reshape(p[name].shape)
        for name, part in zip(("W1", "b1", "W2", "b2"), np.split(x, np.cumsum(sizes)[:-1]), strict=True)
    )
    h = np.tanh(X @ W1 + b1)
    z = h @ W2 + b2
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    dz = (np.exp(log_p) - np.eye(z.shape[1])[y]) / len(y)
    dh = dz @ W2.T * (1 - h * h)
    gradients = X.T @ dh, dh.sum(axis=0), h.T @ dz, dz.sum(axis=0)
    return -log_p[np.arange(len(y)), y].mean(), np.concatenate([g.ravel() for g in gradients])


def rosenbrock(p, x, rows):
    u, v = 1 - x[0], x[1] - x[0] ** 2
    return u * u + 100 * v * v, np.array([-2 * u - 400 * x[0] * v, 200 * v])


KINDS = {"A": quadratic, "B": least_squares, "C": logistic, "D": perceptron, "E": rosenbrock}


@cache
def arrays(file):
    with np.load(FOLDER / file, allow_pickle=False) as stored:
        return dict(stored)


class Real(Oracle):
    """The problem of an entry, drawing its batches as they were drawn."""

    def __init__(self, entry):
        problem = INDEX["problems"][entry["problem"]]
        self.data, self.formula, run = arrays(problem["file"]), KINDS[problem["kind"]], arrays(entry["file"])
        table = self.data.get(entry["batch_key"], [])
        self.batches = [table[int(row)] if row >= 0 else slice(None) for row in run["batch_row"]]
        self.peeked = run.get("next_batch_row")  # not always the batch of the next step: some runs skip it
        self.steps_per_epoch = problem["batches_per_epoch"]
        self.drawn, start = 0, 0
        for tensor in problem["parameter_layout"]:
            stop = start + int(np.prod(tensor["shape"]))
            self.blocks += (Block(tensor["name"], slice(start, stop), tuple(tensor["shape"])),)
            start = stop

    def seek(self, position):
        self.drawn = position

    def draw(self):
        self.drawn += 1

    def position(self):
        return self.drawn

    def __call__(self, x):
        return self.formula(self.data, x, self.batches[min(max(self.drawn - 1, 0), len(self.batches) - 1)])

    def peek(self, x):
        if self.peeked is None:
            return super().peek(x)
        row = int(self.peeked[max(self.drawn - 1, 0)])
        return self.formula(self.data, x, self.data["batches"][row] if row >= 0 else slice(None))


class Script(Wrapper):
    """At the recorded points it answers what was recorded there; elsewhere, what the problem says."""

    def __init__(self, oracle, run):
        super().__init__(oracle)
        self.run = run

    def __call__(self, x):
        t = max(self.position() - 1, 0)
        if t < len(self.run["loss"]) and np.array_equal(x, self.run["params"][t]):
            return self.run["loss"][t], self.run["grads"][t].copy()
        return self.oracle(x)

    def peek(self, x):
        return self.oracle.peek(x)


# --- rules: what the options of the index are called here ------------------------------------------------------------


def number(value):
    """A bound: null and "inf" are none."""
    return inf if value in (None, "inf") else float(value)


def torch_schedule(h, lr):
    """The rate as a schedule, and the momentum too if the scheduler moves it, else None."""
    name, mu = h["name"], None
    if name == "MultiStepLR":
        rate = MultiStep(lr, tuple(h["milestones"]), h["gamma"])
    elif name == "ExponentialLR":
        rate = Exponential(lr, lr * h["gamma"], 1)
    elif name == "CosineAnnealingLR":
        rate = Cosine(lr, h["eta_min"], h["T_max"])
    elif name == "CyclicLR":
        assert h["step_size_down"] in (None, h["step_size_up"]), "ours is symmetric"
        steps = 2 * h["step_size_up"]
        kind = {"triangular": Cycle, "triangular2": HalvingCycle, "exp_range": DecayingCycle}[h["mode"]]
        more = {"gamma": h["gamma"]} if kind is DecayingCycle else {}
        rate = kind(h["base_lr"], h["max_lr"], steps, **more)
        mu = kind(h["max_momentum"], h["base_momentum"], steps, **more) if h["cycle_momentum"] else None
    elif name == "OneCycleLR":
        assert h["anneal_strategy"] == "linear"
        low = h["max_lr"] / h["div_factor"]
        rate = one_cycle(h, low, h["max_lr"], low / h["final_div_factor"])
        mu = one_cycle(h, h["max_momentum"], h["base_momentum"], h["max_momentum"]) if h["cycle_momentum"] else None
    else:
        raise ValueError(f"no schedule of ours is called {name}")
    return Every(h.get("every", 1), rate), mu


def one_cycle(h, low, high, final):
    """PyTorch's: straight from high to final, unless in three phases. Ours has a corner where it passes low."""
    steps, rise = h["total_steps"] - 1, h["pct_start"] * h["total_steps"] - 1
    fall = 2 * rise if h["three_phase"] else rise + (high - low) / (high - final) * (steps - rise)
    return OneCycle(low, high, final, rise, min(fall, steps), steps)


def optax_schedule(h):
    name = h["name"]
    if name == "linear_onecycle_schedule":
        steps, high = h["transition_steps"], h["peak_value"]
        low = high / h.get("div_factor", 25)
        rise, fall = int(h.get("pct_start", 0.3) * steps), int(h.get("pct_final", 0.85) * steps)
        return OneCycle(low, high, low / h.get("final_div_factor", 1e4), rise, fall, steps)
    if name == "cosine_decay_schedule":  # stays at its end, where ours climbs again
        cosine = Cosine(h["init_value"], h["alpha"] * h["init_value"], h["decay_steps"])
        return lambda k: cosine(min(k, h["decay_steps"]))
    if name == "exponential_decay":
        return Exponential(h["init_value"], h["init_value"] * h["decay_rate"], h["transition_steps"])
    if name == "piecewise_constant_schedule":
        (gamma,) = set(h["boundaries_and_scales"].values())
        return MultiStep(h["init_value"], tuple(map(int, h["boundaries_and_scales"])), gamma)
    raise ValueError(f"no schedule of ours is called {name}")


def torch_sgd(entry, h):
    lr, mu, decay = h["lr"], h["momentum"], h["weight_decay"]
    if "scheduler" in h:
        lr, moved = torch_schedule({**h["scheduler"], "every": h["scheduler_every"]}, lr)
        mu = mu if moved is None else moved
    wrap = (lambda oracle: L2(oracle, decay)) if decay else None  # what it adds to the loss is not read by these rules
    if h["nesterov"]:
        return Nesterov(lr, mu), wrap
    return HeavyBallDamped(lr, mu, h["dampening"]) if mu else GradientDescent(lr), wrap


def optax_sgd(entry, h):
    kind = Nesterov if h["nesterov"] else HeavyBall
    return kind(h["learning_rate"], h["momentum"] or 0.0), None


def cyclic_sgd(entry, h):
    steps = h["epochs_per_cycle"] * h["len_dataset"] / h["batch_size"]
    return HeavyBall(Cycle(h["base_lr"], h["max_lr"], steps), Cycle(0.9, 0.8, steps)), None


def king(entry, h):
    f_star = h["fstar"]
    rules = {
        "unbounded": lambda: PSS(f_star),
        "gamma": lambda: PSSGamma(f_star, number(h["cap"])),
        "delta": lambda: PSSDelta(f_star, number(h["delta_init"])),
    }
    return rules[h["rule"]](), None


def sps(entry, h):
    f_star = h["fstar_value"] if h["fstar_flag"] else 0.0
    if h["adapt_flag"] == "smooth_iter":
        rule = SPSSmoothReleased(
            h["c"], f_star, h["eps"], h["gamma"], h["init_step_size"], batch_fraction=1 / h["n_batches_per_epoch"]
        )
    else:
        rule = SPS(h["c"], f_star, h["eps"])
        if h["eta_max"] is not None:
            rule = SPSMax(h["c"], f_star, h["eps"], h["eta_max"])
    return rule, Centralized if h["centralize_grad"] or h["centralize_grad_norm"] else None


def optax_polyak(entry, h):
    """There the gradient is scaled by s before its norm is taken: s min{gap / (s² |g|² + eps), max_learning_rate}."""
    s = h["scaling"]
    return SPSMax(c=s, f_star=h["f_min"], eps=h["eps"] / s, eta_max=s * h["max_learning_rate"]), None


def alig(entry, h):
    cap = number(h["max_lr"])
    if "group_max_lr" in h:
        cap = np.zeros(INDEX["problems"][entry["problem"]]["n_parameters"])
        for names, group_cap in zip(groups(entry), h["group_max_lr"], strict=True):
            for block in Real(entry).blocks:
                cap[block.slice] += group_cap * (block.name in names)
    kind = ALIGAdjusted if h["adjusted_momentum"] else ALIGUnclipped
    ball = h.get("max_norm")
    wrap = (lambda oracle: Constrained(oracle, Ball(ball))) if ball else None
    return kind(eta_max=cap, mu=h["momentum"], delta=h["eps"], f_star=0.0), wrap


def adasecant(entry, h):
    assert h["start_var_reduction"] == 0
    assert h["slow_decay"] == 0.995
    assert h["use_adagrad"]
    return AdaSecant(number(h["grad_clip"]), h["gamma_clip"] or inf, h["delta_clip"]), None


def thesis_adasecant(entry, h):
    """Its epochs are a batch short: the last one is only looked at."""
    kind = AdaSecantThesis if h["global_epochs"] else AdaSecantThesisCorrected
    return kind(warmup=int((arrays(entry["file"])["epoch"] == 0).sum())), None


def groups(entry):
    """The tensors of each parameter group, from a note such as "two parameter groups (W1,b1 | W2,b2)"."""
    (listed,) = re.findall(r"groups \(([^)]*)\)", entry["note"])
    return [names.strip().split(",") for names in listed.split("|")]


def liang(entry, h):
    kind = StochasticBBBounded if h["clip_initial"] else StochasticBB
    return kind(h["eta0"], h["beta"], h["tau0"], h["tau_min"], h["tau_max"], period=h["T"]), None


def simple_adasecant(entry, h):
    """Version "delta" multiplies the gradient, "gradient" the normalised one; the notebook is set to the latter."""
    kind = SimpleAdaSecantReleased if h["variant"] == "delta" else SimpleAdaSecantNormalized
    return kind(threshold=h["max_lr"]), None


def torch_adagrad(entry, h):
    lr, decay = h["lr"], h["lr_decay"]
    assert not h["weight_decay"]
    return AdaGrad(lambda k: lr / (1 + k * decay), h["eps"], v_init=h["initial_accumulator_value"]), None


def optax_adagrad(entry, h):
    return AdaGrad(h["learning_rate"], 0.0, h["eps"], h["initial_accumulator_value"]), None


def adadelta(entry, h):
    assert not h["weight_decay"]
    lr = h["lr"] if "lr" in h else h["learning_rate"]
    return AdaDelta(lr, eps_root=h["eps"], rho=h["rho"], eps_u=h["eps"]), None


def torch_rmsprop(entry, h):
    assert not any([h["weight_decay"], h["momentum"] and h["centered"]])
    values = {"lr": h["lr"], "eps": h["eps"], "rho": h["alpha"]}
    if h["centered"]:
        return RMSPropCentered(**values), None
    return RMSPropMomentum(**values, mu=h["momentum"]) if h["momentum"] else RMSProp(**values), None


def optax_rmsprop(entry, h):
    assert h["eps_in_sqrt"]
    assert not any(h[name] for name in ("momentum", "nesterov", "centered", "bias_correction", "initial_scale"))
    return RMSProp(h["learning_rate"], 0.0, h["eps"], h["decay"]), None


def torch_adam(entry, h):
    assert not h["weight_decay"]
    kind = AMSGrad if h["amsgrad"] else Adam
    return kind(h["lr"], h["eps"], beta1=h["betas"][0], beta2=h["betas"][1]), None


def optax_adam(entry, h):
    assert not h.get("nesterov")
    kind = AMSGradCorrected if h["name"] == "amsgrad" else Adam
    return kind(h["learning_rate"], h["eps"], h["eps_root"], h["b1"], h["b2"]), None


def cus_adam(entry, h):
    """With amsgrad it is ours with the warm-up that CUS-Adam amounts to."""
    lr, (beta1, beta2), decay, clr = h["lr"], h["betas"], h["weight_decay"], h.get("clr")
    if clr:
        lr = Cycle(clr["base_lr"], clr["max_lr"], clr["epochs_per_cycle"] * clr["len_dataset"] / clr["batch_size"])
    kind, rate = (AMSGrad, lambda k: lr * (1 - beta1 ** (k + 1))) if h["amsgrad"] else (CUSAdam, lr)
    return kind(rate, h["eps"], beta1=beta1, beta2=beta2), (lambda oracle: L2(oracle, decay)) if decay else None


def armijo(entry, h):
    assert h["reset_option"] == 1
    c, beta, tau = h["c"], h["beta_b"], h["gamma"]
    return SLSReleased(h["init_step_size"], c, beta, tau, batch_fraction=1 / h["n_batches_per_epoch"]), None


def goldstein(entry, h):
    assert h["reset_option"] == 0
    assert h["beta_f"] == 2
    assert h["bound_step_size"]
    return Goldstein(h["init_step_size"], h["c"], h["beta_b"], h["eta_max"]), None


def sgd_hd(entry, h):
    lr, beta, mu, decay = h["lr"], h["hypergrad_lr"], h["momentum"], h["weight_decay"]
    assert not h["dampening"]
    rule = (NesterovHD if h["nesterov"] else HeavyBallHD)(lr, beta, mu) if mu else GradientDescentHD(lr, beta)
    return rule, (lambda oracle: L2(oracle, decay)) if decay else None


def adam_hd(entry, h):
    decay = h["weight_decay"]
    rule = AdamHDReleased(h["lr"], h["hypergrad_lr"], *h["betas"], h["eps"])
    return rule, (lambda oracle: L2(oracle, decay)) if decay else None


def tlr(entry, h):
    """A share of an epoch, int(share * batches_per_epoch) steps; of none of ours if these are 0."""
    inner, period = h["inner"], int(h["meta_update"] * h["batches_per_epoch"])
    if inner["name"] == "Adam":
        base, wrap = Adam(inner["lr"]), None
    else:
        base, wrap = torch_sgd(entry, {"momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": False, **inner})
    return NTLRReleased(base, period or None, share=0.1, gamma=h["meta_gamma"]), wrap


def tlr_paper(entry, h):
    return NTLR(GradientDescent(h["lr"]), period=h["K"], gamma=h["gamma"], factor_max=h["max_factor"]), None


BUILD = {
    "sgd_hd": sgd_hd, "adam_hd": adam_hd, "ntlr": tlr, "ntlr_paper": tlr_paper,
    "adasecant_scribe": adasecant, "ba_adasecant": thesis_adasecant,
    "sgd": torch_sgd, "sgd_momentum": torch_sgd, "sgd_nesterov": torch_sgd, "sched_multistep": torch_sgd,
    "sched_exponential": torch_sgd, "sched_cyclic": torch_sgd, "sched_onecycle": torch_sgd, "sched_cosine": torch_sgd,
    "optax_sgd": optax_sgd, "ba_clr_sgd": cyclic_sgd, "pss": king, "pss_gamma": king, "pss_delta": king, "sps": sps,
    "optax_polyak_sgd": optax_polyak, "alig": alig,
    "sls_armijo": armijo, "sls_goldstein": goldstein,
    "adagrad": torch_adagrad, "adadelta": adadelta,
    "rmsprop": torch_rmsprop, "adam": torch_adam, "amsgrad": torch_adam, "ba_cus_adam": cus_adam,
    "optax_adagrad": optax_adagrad, "optax_adadelta": adadelta, "optax_rmsprop": optax_rmsprop,
    "optax_adam": optax_adam, "optax_amsgrad": optax_adam,
    "bb": liang, "ba_simple_adasecant": simple_adasecant,
}  # fmt: skip
"""By the index' name of a rule: (entry, its hyper-parameters) to (our rule, the wrapper around its oracle or None)."""

SCHEDULES = {
    "schedule_values_torch": lambda h: torch_schedule(h, h["optimizer_lr"]),
    "schedule_values_optax": lambda h: (optax_schedule(h), None),
}


def build(entry):
    """Our rule, and what wraps its oracle."""
    rule, wrap = BUILD[entry["rule"]](entry, entry["hyperparameters"])
    return rule, wrap or (lambda oracle: oracle)


# --- the replays -----------------------------------------------------------------------------------------------------


def entries(names):
    return [pytest.param(e, id=e["file"].removesuffix(".npz")) for e in INDEX["files"] if e["rule"] in names]


def test_every_recorded_rule_is_replayed_or_named_as_left_out():
    recorded = {entry["rule"] for entry in INDEX["files"]}
    parts = [set(BUILD), set(SCHEDULES), OUT_OF_SCOPE, NOT_YET]
    assert recorded <= set.union(*parts)
    assert sum(map(len, parts)) == len(set.union(*parts)), "a rule stands in two places"
    assert recorded & set(BUILD)


@pytest.mark.parametrize("entry", [e for e in INDEX["files"] if e["problem"]], ids=lambda entry: entry["file"])
def test_the_formulas_of_the_index_give_the_recorded_losses_and_gradients(entry):
    """Of every run, replayed or not: what the free runs stand on."""
    run, oracle = arrays(entry["file"]), Real(entry)
    for x, loss, gradient in zip(run["params"], run["loss"], run["grads"], strict=False):
        oracle.draw()
        f, g = oracle(x)
        assert abs(f - loss) <= 1e-12 * (1 + abs(loss))
        assert np.abs(g - gradient).max() <= 1e-12 * (1 + np.abs(gradient).max())


def step_by_step(entry):
    """Yield how far each of our moves is from the recorded one, in units of the move, and of 4e-6 |x| for rounding."""
    run = arrays(entry["file"])
    rule, wrap = build(entry)
    oracle = wrap(Script(Real(entry), run))
    rule.start(run["params"][0], oracle)
    assert np.abs(oracle.project(run["x_init"]) - run["params"][0]).max() <= 1e-15 * np.abs(run["x_init"]).max()
    for t, (x, after) in enumerate(zip(run["params"], run["params"][1:], strict=False)):
        oracle.draw()
        mine = oracle.project(x + rule.step(x.copy(), oracle))
        yield np.abs(mine - after).max() / (np.abs(after - x).max() + 4e-6 * np.abs(after).max())
        steps = run.get("applied_step", run.get("step_size"))
        if steps is not None and np.shape(rule.eta) == steps[t].shape:
            expected = steps[t] if run["grads"][t].any() or {"lr", "base"} & set(vars(rule)) else 0
            assert np.allclose(rule.eta, expected, rtol=1e-10, atol=0), t
        if entry["rule"] == "ntlr":  # where q < 0 an error of the rate grows tenfold a window
            rule.load(rule.state() | {"rate": run["step_size"][t]})


def left_alone(entry):
    """Yield how far our run is from the recorded one, in units of the largest coordinate so far, while that is safe."""
    run = arrays(entry["file"])
    rule, wrap = build(entry)
    steps, size = descend(rule, wrap(Real(entry)), run["x_init"]), np.abs(run["x_init"]).max()
    for after in run["params"][1 : entry["free_run_safe_steps"] + 1]:
        size = max(size, np.abs(after).max())
        yield np.abs(next(steps).x - after).max() / size


@pytest.mark.parametrize("entry", entries(BUILD))
def test_step_by_step_the_rule_moves_as_recorded(entry):
    """To 1e-10 of the move, and to the rounding of x: 1e-10 of x would hide a wrong digit in a small step.

    Where the gradient is 0, a rule that computes its step size from it reports 0, whatever was recorded.
    """
    errors = list(step_by_step(entry))
    assert len(errors) == len(arrays(entry["file"])["params"]) - 1
    assert np.max(errors) <= 1e-10, np.argmax(errors)


@pytest.mark.parametrize("entry", entries(BUILD))
def test_left_alone_the_rule_follows_the_recorded_run(entry):
    """To 1e-10 of the largest coordinate so far: the index' safe steps amplify rounding a thousandfold at most."""
    errors = list(left_alone(entry))
    assert len(errors) == min(entry["free_run_safe_steps"], len(arrays(entry["file"])["params"]) - 1)
    assert np.max(errors, initial=0) <= 1e-10, np.argmax(errors)


@pytest.mark.parametrize("entry", entries(SCHEDULES))
def test_schedules_have_the_recorded_values(entry):
    """Up to their horizon, where they have one: PyTorch's OneCycleLR goes on beyond it by its last line, into negative
    rates, and ours stays at its end."""
    run, (rate, momentum) = arrays(entry["file"]), SCHEDULES[entry["rule"]](entry["hyperparameters"])
    horizon = entry["hyperparameters"].get("total_steps", inf)
    for recorded, schedule in [("values", rate)] + [("momentum", momentum)] * (momentum is not None):
        pairs = [(k, value) for k, value in zip(run["counts"], run[recorded], strict=True) if k < horizon]
        assert len(pairs) >= len(run["counts"]) - 1
        for k, value in pairs:
            assert abs(schedule(int(k)) - value) <= 1e-10 * np.abs(run[recorded]).max()


def table():
    """Print, for every rule, what was replayed, and the worst error of all its runs; to be read, not tested."""
    replays = {}
    for entry in INDEX["files"]:
        if entry["rule"] in BUILD:
            replays.setdefault(type(build(entry)[0]).__name__, []).append(entry)
    print(f"{'rule':26} {'files':>5} {'steps':>6} {'worst step by step':>20} {'free':>6} {'worst left alone':>18}")
    for name, runs in sorted(replays.items()):
        steps, free = ([error for entry in runs for error in errors(entry)] for errors in (step_by_step, left_alone))
        print(f"{name:26} {len(runs):5} {len(steps):6} {max(steps):20.1e} {len(free):6} {max(free, default=0):18.1e}")
    print(f"{sum(map(len, replays.values()))} files of {len(INDEX['files'])}")


if __name__ == "__main__":
    table()

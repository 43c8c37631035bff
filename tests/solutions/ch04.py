"""Solutions of chapter 4."""


def armijo(f, x, eta, c, beta):
    value, g = f(x)
    while f(x - eta * g)[0] > value - c * eta * (g @ g):
        eta = beta * eta
    return eta


def passing_interval(curvature, c):
    return 2 * c / curvature, 2 * (1 - c) / curvature


def global_bb1(f, x, first, memory, steps):
    eta, values, last = first, [], None
    for _ in range(steps):
        value, g = f(x)
        values.append(value)
        if last is not None:
            s, y = x - last[0], g - last[1]
            eta = s @ s / abs(s @ y) if s @ y else eta
        while f(x - eta * g)[0] > max(values[-memory:]) - 1e-4 * eta * (g @ g):
            eta = eta / 2
        last = x, g
        x = x - eta * g
    return x


SLIPS = [
    ("value - c * eta * (g @ g)", "value - c * eta"),
    ("f(x - eta * g)[0] > value", "f(x - eta * g)[0] >= value"),
    ("2 * c / curvature, ", "c / curvature, "),
    ("max(values[-memory:])", "value"),
    ("max(values[-memory:])", "max(values)"),
    ("abs(s @ y) if", "abs(y @ y) if"),
]

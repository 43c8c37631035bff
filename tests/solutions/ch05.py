"""Solutions of chapter 5."""


def slope_of_the_rate(gradient, x, u, alpha):
    return -(gradient(x - alpha * u) @ u)


def next_rate(alpha, u, g, g_ahead, gamma):
    p, q = u @ g_ahead, u @ (g - g_ahead)
    return alpha * min(1 + gamma * p / q, 100) if q > 0 else alpha


def hypergradient_descent(gradient, x, alpha, beta, steps):
    rates, last = [], 0 * x
    for _ in range(steps):
        g = gradient(x)
        alpha = alpha + beta * (g @ last)
        rates.append(alpha)
        x, last = x - alpha * g, g
    return x, rates


SLIPS = [
    ("-(gradient(x - alpha * u) @ u)", "gradient(x - alpha * u) @ u"),
    ("gradient(x - alpha * u)", "gradient(x)"),
    ("if q > 0 else alpha", "if q else alpha"),
    ("min(1 + gamma * p / q, 100)", "(1 + gamma * p / q)"),
    ("1 + gamma * p / q, 100", "1 + gamma * p / q, 10"),
    ("alpha + beta * (g @ last)", "alpha - beta * (g @ last)"),
]

"""Chapter 3, the step from the secant. Fill in, then: python -m pytest tutorials/exercises/test_ch03.py"""


def bb_steps(s, y):
    """Return the two steps of Barzilai and Borwein, BB1 then BB2, both without their sign; s, y (n,), <s, y> not 0."""
    raise NotImplementedError


def finishing_steps(A):
    """Return step sizes, as few as possible, after which gradient descent is at the minimum of x'Ax/2 from any x.

    A (n, n) is symmetric and positive definite. Eigenvalues that agree to 1e-9 of the largest count as one.
    """
    raise NotImplementedError


def stabilised_bb1(gradient, x, first, longest, steps):
    """Take `steps` steps of BB1 from x (n,), none of them longer than `longest`, and return the last point.

    The first step size is `first`. gradient(x) returns g (n,); it is asked once a step. Where <s, y> = 0 (as at a
    solution, where s = y = 0) the last step size of BB1 is kept. A step that would be too long keeps its direction.
    """
    raise NotImplementedError

"""Chapter 10, what the papers claim. Fill in, then: python -m pytest tutorials/exercises/test_ch10.py"""


def images_needed(points, nets, doubt):
    """Return how many test images make all accuracies of `nets` nets right to less than `points` percentage points.

    With probability 1 - doubt, by Theorem 1: the smallest whole number that it allows.
    """
    raise NotImplementedError


def expected_best(results, k):
    """Return the mean of the largest of k draws, with replacement and each as likely, from results (n,)."""
    raise NotImplementedError


def rates_needed(low, high, factor):
    """Return rates from low to high, as few as Theorem 4 allows, with a constant ratio between neighbours.

    For every curvature λ with low <= 1/λ <= high one of them multiplies x, on λx²/2, by at most `factor` in size.
    """
    raise NotImplementedError

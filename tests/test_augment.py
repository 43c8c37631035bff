"""Augmentation: what an image may become, how often, and that chance follows the draw alone."""

from itertools import islice

import numpy as np
import pytest
import strict
from hypothesis import given, settings
from hypothesis import strategies as st

from nets import small_mlp
from nets.augment import crop_flip, flip
from nets.oracle import NetOracle
from refopt import AdaSecant, Shuffled, SPSMax, descend

quick = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32)


def pictures(n, height=8, width=8, channels=1, *, seed=0):
    return np.random.default_rng(seed).integers(1, 256, (n, height, width, channels), np.uint8)


def windows(image, border):
    """Every image that a crop, and a crop and flip, can make of one (H, W, C); the straight ones first."""
    H, W = image.shape[:2]
    padded = np.pad(image, ((border, border), (border, border), (0, 0)))
    places = range(2 * border + 1)
    straight = [padded[a : a + H, b : b + W] for a in places for b in places]
    return straight + [window[:, ::-1] for window in straight]


@quick
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(1, 3), seeds)
def test_every_image_becomes_one_of_its_windows_and_no_other_images(n, height, width, channels, seed):
    x = pictures(n, height, width, channels, seed=seed)
    before = x.copy()
    for augment, border in ((flip, 0), (crop_flip, 4)):
        made = augment(x, np.random.default_rng(seed))
        assert (made.shape, made.dtype) == (x.shape, x.dtype)
        for image, result in zip(x, made, strict=True):
            assert any(np.array_equal(result, window) for window in windows(image, border))
    np.testing.assert_array_equal(x, before)


def test_every_window_is_as_likely():
    """81 places, straight or flipped: a count of mean 100 and deviation 10 leaves 100 ± 50 once in 10⁶."""
    x = np.repeat(pictures(1), 16200, axis=0)  # no two of its windows are equal
    names = {window.tobytes(): k for k, window in enumerate(windows(x[0], 4))}
    assert len(names) == 162
    made = [names[image.tobytes()] for image in crop_flip(x, np.random.default_rng(0))]
    counts = np.bincount(made, minlength=162)
    assert 50 < counts.min() <= counts.max() < 150
    turned = [not np.array_equal(image, x[0]) for image in flip(x, np.random.default_rng(0))]
    assert abs(np.mean(turned) - 0.5) < 5 * 0.5 / np.sqrt(16200)


@pytest.mark.parametrize("augment", [flip, crop_flip])
def test_a_device_makes_the_same_images_without_a_look_from_the_host(augment):
    x = pictures(6, 7, 5, 3)
    made = augment(strict.asarray(x), np.random.default_rng(3))
    assert isinstance(made, strict.Array)
    np.testing.assert_array_equal(strict.read(made), augment(x, np.random.default_rng(3)))


# --- in an oracle ----------------------------------------------------------------------------------------------------


def oracle(seed=5, scale=(0, 1), augment=crop_flip, **changes):
    x, y = pictures(20), np.arange(20) % 10
    return NetOracle(small_mlp(), x, y, Shuffled(20, 8, seed), scale=scale, augment=augment, seed=seed, **changes)


def batches(net, count):
    found = []
    for _ in range(count):
        net.draw()
        found.append(net.batch[0])
    return found


def test_chance_follows_the_draw_and_not_the_call():
    net, other = oracle(), oracle()
    x = net.layout.initial(0)
    whole = batches(net, 7)
    for position in (3, 6, 1):
        other.seek(position)
        np.testing.assert_array_equal(other.batch[0], whole[position - 1])
    f, g = other(x)
    other.peek(x)
    again, same = other(x)
    assert f == again
    np.testing.assert_array_equal(g, same)
    other.draw()
    np.testing.assert_array_equal(other.batch[0], whole[1])


def test_the_same_image_is_another_one_in_each_epoch_and_under_each_seed():
    """One image alone in its batch, drawn 40 times: 162 windows cannot be the same ones again and again."""

    def seen(seed):
        net = NetOracle(small_mlp(), pictures(1), np.zeros(1, int), Shuffled(1, 1), augment=crop_flip, seed=seed)
        return [image.tobytes() for image in batches(net, 40)]

    assert len(set(seen(0))) > 25
    assert seen(0) != seen(1)


@pytest.mark.parametrize("rule", [SPSMax(), AdaSecant()], ids=lambda rule: type(rule).__name__)
def test_a_run_that_resumes_sees_the_images_of_one_that_was_never_cut(rule):
    whole, first, second = oracle(), oracle(), oracle()
    x0 = whole.layout.initial(0)
    *_, end = islice(descend(rule, whole, x0), 9)
    *_, cut = islice(descend(rule, first, x0), 4)
    state = rule.state()
    second.seek(first.position())
    *_, resumed = islice(descend(rule, second, cut.x.copy(), state=state, taken=4), 5)
    np.testing.assert_array_equal(resumed.x, end.x)


def test_a_batch_is_scaled_after_it_is_augmented_and_so_are_images_to_evaluate():
    """Black is 0 before the scale: the border becomes -mean / std."""
    mean, std = np.array([100.0]), np.array([50.0])
    raw, scaled = oracle(), oracle(scale=(mean, std), dtype=np.float64)
    for a, b in zip(batches(raw, 5), batches(scaled, 5), strict=True):
        np.testing.assert_allclose(b, (a.astype(float) - 100) / 50, rtol=1e-12)
        assert (a.dtype, b.dtype) == (np.float32, np.float64)
    images, labels = pictures(20), np.arange(20) % 10
    x = scaled.layout.initial(0, np.float64)
    plain = NetOracle(small_mlp(), images, labels, Shuffled(20, 8), dtype=np.float64)
    by_hand = plain.evaluate(x, (images - 100.0) / 50.0, labels)
    assert scaled.evaluate(x, images, labels) == pytest.approx(by_hand, rel=1e-12)


def test_images_stay_in_their_own_type():
    assert oracle().images.dtype == np.uint8

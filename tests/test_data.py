"""What must be true of the data: the right split, the right scale, batches that resume."""

import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from nets import data
from refopt import oracle

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32)
shares = st.floats(0, 0.9) | st.sampled_from([0.0, 0.1, 0.25, 0.5])

# --- split ---------------------------------------------------------------------------------------------------------


@quick
@given(st.integers(5, 300), shares, seeds)
def test_split_is_disjoint_complete_exact_ascending_and_reproducible(n, share, seed):
    train, valid = data.split(n, share, seed)
    assert sorted([*train, *valid]) == list(range(n))
    assert len(valid) == round(share * n)
    assert (sorted(train), sorted(valid)) == (list(train), list(valid))
    np.testing.assert_array_equal(valid, data.split(n, share, seed)[1])
    assert set(data.split(n, share / 2, seed)[1]) <= set(valid)


@quick
@given(seeds)
def test_another_seed_splits_off_another_part(seed):
    assert set(data.split(100, 0.5, seed)[1]) != set(data.split(100, 0.5, seed + 1)[1])  # equal once in 10^29


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan"), 0.9999])
def test_a_share_out_of_range_or_that_leaves_nothing_is_refused(share):
    with pytest.raises(ValueError, match=r"validation must be in \[0, 1\) and leave some of the 1437 images"):
        data.load("digits", validation=share)


@quick
@given(st.integers(5, 300), st.integers(2, 12), seeds)
def test_the_folds_of_a_cross_validation_are_disjoint_and_together_everything(n, folds, seed):
    parts = [data.split(n, 1 / folds, seed, fold) for fold in range(folds)]
    assert sorted(np.concatenate([valid for _, valid in parts])) == list(range(n))
    assert {len(valid) for _, valid in parts} <= {n // folds, n // folds + 1, -(-n // folds)}
    for train, valid in parts:
        assert sorted([*train, *valid]) == list(range(n))


@quick
@given(st.integers(5, 300), shares, seeds)
def test_samples_are_a_choice_of_the_training_part_that_grows(n, share, seed):
    whole, valid = data.split(n, share, seed)
    chosen = [data.split(n, share, seed, samples=k) for k in range(1, len(whole) + 1)]
    for k, (train, same) in enumerate(chosen, start=1):
        assert (len(train), list(same)) == (k, list(valid))
        assert sorted(train) == list(train)
    assert all(set(a) < set(b) for (a, _), (b, _) in pairwise(chosen))
    assert list(chosen[-1][0]) == list(whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation": 0.1, "fold": 10}, "fold must be at least 0 and below 1 / validation, got 10, with"),
        ({"validation": 0.1, "fold": -1}, "fold must be at least 0"),
        ({"fold": 1}, "fold must be at least 0 and below 1 / validation, got 1, with validation 0"),
        ({"samples": 0}, "samples must be between 1 and the 1437 images there are to train on, got 0"),
        ({"validation": 0.5, "samples": 720}, "samples must be between 1 and the 719"),
    ],
)
def test_a_fold_or_a_number_of_samples_that_is_not_there_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        data.load("digits", **arguments)


# --- scale ---------------------------------------------------------------------------------------------------------


@quick
@given(st.integers(20, 120), st.just(0.0) | st.floats(0.05, 0.9), seeds)
def test_the_scale_is_that_of_the_training_part_per_channel_and_images_stay_as_they_are(n, share, seed):
    labels = np.arange(n + 3)  # image i has the label i, and i and 255 - 2 i in its two channels
    x = np.stack([labels, 255 - 2 * labels], axis=-1).astype(np.uint8)[:, None, None, :] * np.ones((2, 3, 1), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(data.DATASETS, "i", lambda folder: data.Raw(x[:n], labels[:n], x[n:], labels[n:], n + 3))
        read = data.load("i", share, seed)
    for images, y in [(read.x_train, read.y_train), (read.x_valid, read.y_valid), (read.x_test, read.y_test)]:
        assert (images.dtype, y.dtype) == (np.uint8, np.int64)
        np.testing.assert_array_equal(images, x[y])
    chosen = x[read.y_train].astype(float)
    mean, std = read.scale
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, chosen.mean(axis=(0, 1, 2)), rtol=1e-6)  # rounded to float32
    np.testing.assert_allclose(std, chosen.std(axis=(0, 1, 2)), rtol=1e-6)
    assert (list(read.y_valid), list(read.y_test)) == (list(data.split(n, share, seed)[1]), list(labels[n:]))


@quick
@given(st.integers(1, 3000), st.integers(1, 3), seeds)
def test_moments_of_any_number_of_images_are_those_of_float64(n, channels, seed):
    x = np.random.default_rng(seed).integers(0, 256, (n, 2, 1, channels), np.uint8)
    mean, std = data.moments(x)
    np.testing.assert_allclose(mean, x.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, x.std(axis=(0, 1, 2)), rtol=1e-6, atol=1e-5)  # of one pixel pair it may be 0


@pytest.mark.parametrize(("share", "copies"), [(0.0, 0.0), (0.25, 1.0)])
def test_loading_copies_nothing_but_the_parts_of_a_split(monkeypatch, share, copies):
    x = np.random.default_rng(0).integers(0, 256, (20000, 28, 28, 1), np.uint8)
    raw = data.Raw(x, np.zeros(20000, int), x[:1], np.zeros(1, int), classes=1)
    monkeypatch.setitem(data.DATASETS, "large", lambda folder: raw)
    tracemalloc.start()
    data.load("large", share)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (copies + 0.5) * x.nbytes  # 0.43: twice a thousand images in uint32


def test_digits_are_all_there_balanced_and_standardised():
    whole, original, read = data.digits(None), load_digits(), data.load("digits", validation=0.2, seed=5)
    rows = [[*image.ravel(), label] for part in (whole[:2], whole[2:4]) for image, label in zip(*part, strict=True)]
    assert sorted(rows) == sorted([*row, label] for row, label in zip(original.data, original.target, strict=True))
    assert [x.shape for x in (read.x_train, read.x_valid, read.x_test)] == [(n, 8, 8, 1) for n in (1150, 287, 360)]
    assert set(np.bincount(read.y_test)) <= {35, 36, 37}
    assert read.x_train.max() == 16


def test_the_test_part_of_digits_does_not_depend_on_the_split():
    first, second = data.load("digits"), data.load("digits", validation=0.5, seed=9)
    np.testing.assert_array_equal(first.y_test, second.y_test)
    np.testing.assert_array_equal(first.x_test, second.x_test)


def test_a_data_set_is_read_once_for_loads_in_a_row_and_nobody_can_write_into_it(monkeypatch):
    reads, raw = [], data.digits(None)
    monkeypatch.setitem(data.DATASETS, "seen", lambda folder: reads.append(folder) or raw)
    whole, _, _ = (data.load("seen", share, folder=place) for share, place in ((0, "a"), (0.5, "a"), (0, "b")))
    assert reads == [Path("a"), Path("b")]
    with pytest.raises(ValueError, match="read-only"):
        whole.x_train[0] = 0


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"name must be one of digits, mnist, cifar10, cifar100, .*got 'minst'"):
        data.load("minst")


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        ("y_valid", np.array([0, 10]), "lie in 0..9, got 0..10"),
        ("y_test", np.array([0, -1]), "lie in 0..9, got -1..0"),
        ("y_train", np.zeros(3, int), "be int64 of shape .2,., got int64 .3,."),
        ("y_train", np.zeros(2, np.int32), "be int64 of shape .2,., got int32"),
        ("x_train", np.zeros((2, 8, 8), np.uint8), "be uint8"),
        ("x_test", np.zeros((2, 8, 8, 3), np.uint8), "be uint8"),
        ("x_test", np.zeros((2, 8, 8, 1), np.float32), "be uint8"),
    ],
)
def test_a_data_set_of_wrong_shape_type_or_range_is_refused(part, wrong, message):
    x, y, scale = np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 9]), (np.zeros(1), np.ones(1))
    good = {"x_train": x, "y_train": y, "x_valid": x, "y_valid": y, "x_test": x, "y_test": y}
    good |= {"classes": 10, "scale": scale}
    data.Dataset("good", **good)
    with pytest.raises(ValueError, match=f"{part} must {message}"):
        data.Dataset("bad", **good | {part: wrong})


# --- batches -------------------------------------------------------------------------------------------------------


@quick
@given(st.integers(1, 60), st.data(), seeds)
def test_an_epoch_visits_every_image_once_or_drops_less_than_a_batch(n, draw, seed):
    batch = draw.draw(st.integers(1, n))
    for drop_last in (False, True):
        order = oracle.Shuffled(n, batch, seed, drop_last)
        for first in (0, order.steps_per_epoch):
            batches = [order(t) for t in range(first, first + order.steps_per_epoch)]
            rest = [n % batch] if n % batch and not drop_last else []
            assert [len(b) for b in batches] == [batch] * (n // batch) + rest
            visited = set(np.concatenate(batches))
            assert len(visited) == sum(map(len, batches))
            assert visited <= set(range(n))


@quick
@given(st.integers(0, 20), seeds, st.booleans())
def test_a_run_that_resumes_sees_the_batches_of_one_that_was_never_cut(position, seed, drop_last):
    def batches(start):
        order = oracle.Shuffled(20, 8, seed, drop_last)
        return [order(t).tolist() for t in range(start, 25)]

    whole = batches(0)
    oracle._shuffled.cache_clear()  # a process that resumes starts without one
    assert batches(position) == whole[position:]
    assert whole[:2] != whole[3 - drop_last :][:2]  # the next epoch has an order of its own

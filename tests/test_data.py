"""What must be true of the data: the right files, the right split, the right scale, batches that resume."""

import gzip
import hashlib
import io
import lzma
import tracemalloc

import numpy as np
import pooch
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from nets import data
from refopt import oracle

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32)
shares = st.floats(0, 0.9) | st.sampled_from([0.0, 0.1, 0.25, 0.5])

# --- files: a tiny MNIST, 5 + 3 images of 2 x 4 pixels, with hashes of its own --------------------------------------

COMPRESS = {"": bytes, ".gz": lambda content: gzip.compress(content, mtime=0), ".xz": lzma.compress}
packed = COMPRESS[".gz"]


@pytest.fixture
def tiny(monkeypatch):
    """The content of each file by name; `data.MNIST` has the hashes of these for the time of the test."""
    rng, files = np.random.default_rng(0), {}
    for (name, magic, *_), shape in zip(data.MNIST, [(5, 2, 4), (5,), (3, 2, 4), (3,)], strict=True):
        files[name] = np.array([magic, *shape], ">u4").tobytes() + rng.integers(0, 10, shape, np.uint8).tobytes()
    md5 = {name: [hashlib.md5(kind).hexdigest() for kind in (c, packed(c))] for name, c in files.items()}
    monkeypatch.setattr(data, "MNIST", [(name, magic, *md5[name]) for name, magic, *_ in data.MNIST])
    return files


@pytest.fixture
def network(monkeypatch, tmp_path):
    """A network that has what is put into `served`, by address, and lists what it was `asked`; an empty cache."""
    served, asked = {}, []

    def get(url, timeout, **_):
        asked.append(url)
        assert max(timeout) <= 30, "a dead network must be noticed within seconds"
        if url not in served:
            raise requests.ConnectionError(url)
        response = requests.Response()
        response.status_code, response.raw = 200, io.BytesIO(served[url])
        return response

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("REFOPT_DATA", raising=False)
    return served, asked


def write(folder, files, suffix="", damage=bytes):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / (name + suffix)).write_bytes(damage(COMPRESS[suffix](content)))


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("below", ["mnist", "."])
def test_files_in_the_folder_are_read_as_they_are(tiny, network, tmp_path, suffix, below):
    write(tmp_path / below, tiny, suffix)
    read, (x_train, y_train, x_test, y_test) = data.mnist(tmp_path), tiny.values()
    np.testing.assert_array_equal(read.x_train, np.frombuffer(x_train[16:], np.uint8).reshape(5, 2, 4, 1))
    np.testing.assert_array_equal(read.x_test, np.frombuffer(x_test[16:], np.uint8).reshape(3, 2, 4, 1))
    assert (bytes(read.y_train), bytes(read.y_test)) == (y_train[8:], y_test[8:])
    assert network[1] == []


def test_a_given_folder_goes_before_the_environment_and_mnist_below_it_before_itself(tiny, tmp_path, monkeypatch):
    write(tmp_path / "mnist", tiny)
    write(tmp_path, dict.fromkeys(tiny, b"not this one"))
    write(tmp_path / "other", dict.fromkeys(tiny, b"nor this one"))
    monkeypatch.setenv("REFOPT_DATA", str(tmp_path / "other"))
    assert data.load("mnist", folder=tmp_path).x_train.shape == (5, 2, 4, 1)
    with pytest.raises(data.DataError, match="other"):
        data.load("mnist")


DAMAGE = {
    "empty": (lambda c: b"", "is truncated"),
    "cut in the magic number": (lambda c: c[:3], "is truncated"),
    "cut in the shape": (lambda c: c[:6], "is truncated"),
    "cut in the elements": (lambda c: c[:-1], "is truncated"),
    "one byte more": (lambda c: c + b"\0", "goes on after its end"),
    "one element changed": (lambda c: c[:-1] + b"\xff", "is not the published file"),
    "a web page": (lambda c: b"<html>" + c, "is not an IDX (image|label) file"),
    "images for labels, labels for images": (lambda c: c[:3] + bytes([c[3] ^ 2]) + c[4:], "is not an IDX"),
}


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("case", DAMAGE)
def test_a_file_that_is_not_intact_is_refused_and_not_replaced(tiny, network, tmp_path, which, case):
    (damage, message), name = DAMAGE[case], list(tiny)[which]
    write(tmp_path, tiny | {name: damage(tiny[name])})
    with pytest.raises(data.DataError, match=f"{name} {message}"):
        data.mnist(tmp_path)
    assert network[1] == []


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:-12] + bytes(12), lambda c: c[:10] + b"\xff" * 20])
@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_a_damaged_archive_is_refused(tiny, tmp_path, suffix, damage):
    write(tmp_path, tiny, suffix, damage)
    with pytest.raises(data.DataError, match=f"train-images-idx3-ubyte{suffix} cannot be read"):
        data.mnist(tmp_path)


def test_without_folder_and_network_the_error_names_both_ways(network, tmp_path):
    with pytest.raises(data.DataError, match="REFOPT_DATA to a folder that holds mnist/train-images-idx3") as caught:
        data.load("mnist", folder=tmp_path)
    assert caught.value.__context__ is None  # no traceback of the network below it
    assert network[1] == [mirror + "train-images-idx3-ubyte.gz" for mirror in data.MNIST_MIRRORS]  # once each
    assert all(address in str(caught.value) for address in network[1])


@pytest.mark.parametrize("mirror", [0, 1])
def test_what_is_not_in_the_folder_is_downloaded_once(tiny, network, tmp_path, mirror):
    served, asked = network
    served.update({f"{data.MNIST_MIRRORS[mirror]}{name}.gz": packed(tiny[name]) for name in tiny})
    write(tmp_path, dict(list(tiny.items())[:1]))
    read = data.mnist(tmp_path)
    assert len(asked) == 3 * (mirror + 1)
    served.clear()
    np.testing.assert_array_equal(data.mnist(tmp_path).x_test, read.x_test)  # from the cache
    next((tmp_path / "cache").rglob("t10k-labels*")).write_bytes(b"damaged")
    with pytest.raises(data.DataError, match=r"t10k-labels-idx1-ubyte\.gz is missing"):
        data.mnist(tmp_path)


def test_a_wrong_archive_never_enters_the_cache(tiny, network, tmp_path):
    network[0].update({f"{mirror}{name}.gz": b"log in first" for mirror in data.MNIST_MIRRORS for name in tiny})
    with pytest.raises(data.DataError, match="ValueError"):
        data.mnist(None)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_content_of_a_right_archive_is_checked_too(tiny, network, monkeypatch):
    network[0].update({f"{data.MNIST_MIRRORS[0]}{name}.gz": packed(tiny[name]) for name in tiny})
    monkeypatch.setattr(data, "MNIST", [(name, magic, "0" * 32, archive) for name, magic, _, archive in data.MNIST])
    with pytest.raises(data.DataError, match="is not the published file"):
        data.mnist(None)


@pytest.mark.data("mnist")
def test_the_real_mnist_has_its_known_counts_and_moments():
    try:
        mnist = data.load("mnist")
    except data.DataError as error:
        if "is missing" in str(error):
            pytest.skip(str(error))
        raise
    assert (mnist.x_train.shape, mnist.x_test.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert np.bincount(mnist.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    black, white = mnist.x_train.min(), mnist.x_train.max()  # -mean / std and (1 - mean) / std
    np.testing.assert_allclose([-black / (white - black), 1 / (white - black)], [0.1307, 0.3081], atol=5e-5)
    published = (33.7912 - 33.3184) / 78.5675  # mean of the test part on the scale of the training part, 4 decimals
    np.testing.assert_allclose([v.mean(dtype=float) for v in (mnist.x_train, mnist.x_test)], [0, published], atol=2e-6)


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


# --- scale ---------------------------------------------------------------------------------------------------------


@quick
@given(st.integers(20, 120), shares, seeds)
def test_each_part_is_scaled_per_channel_by_the_moments_of_the_training_part(n, share, seed):
    labels = np.arange(n + 3)  # image i has the label i, and i and 255 - 2 i in its two channels
    x = np.stack([labels, 255 - 2 * labels], axis=-1).astype(np.uint8)[:, None, None, :] * np.ones((2, 3, 1), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(data.DATASETS, "i", lambda folder: data.Raw(x[:n], labels[:n], x[n:], labels[n:], n + 3))
        read = data.load("i", share, seed)
    for x, y in [(read.x_train, read.y_train), (read.x_valid, read.y_valid), (read.x_test, read.y_test)]:
        assert (x.dtype, y.dtype, x.shape) == (np.float32, np.int64, (len(y), 2, 3, 2))
        expected = ((y - read.y_train.mean()) / read.y_train.std())[:, None, None] * np.ones((2, 3))
        for channel, sign in enumerate([1, -1]):  # a mean up to 255 is rounded by 2e-5, the training std is >= 0.5
            np.testing.assert_allclose(x[..., channel], sign * expected, rtol=1e-6, atol=1e-4)
    assert (list(read.y_valid), list(read.y_test)) == (list(data.split(n, share, seed)[1]), list(labels[n:]))


def test_loading_holds_one_float_copy(monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (4000, 28, 28, 1), np.uint8)
    raw = data.Raw(x, np.zeros(4000, int), x[:1], np.zeros(1, int), classes=1)
    monkeypatch.setitem(data.DATASETS, "large", lambda folder: raw)
    tracemalloc.start()
    read = data.load("large")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * read.x_train.nbytes  # 1.25: that copy, and the selected images in uint8


def test_digits_are_all_there_balanced_and_standardised():
    whole, original, read = data.digits(None), load_digits(), data.load("digits", validation=0.2, seed=5)
    rows = [[*image.ravel(), label] for part in (whole[:2], whole[2:4]) for image, label in zip(*part, strict=True)]
    assert sorted(rows) == sorted([*row, label] for row, label in zip(original.data, original.target, strict=True))
    assert [x.shape for x in (read.x_train, read.x_valid, read.x_test)] == [(n, 8, 8, 1) for n in (1150, 287, 360)]
    assert set(np.bincount(read.y_test)) <= {35, 36, 37}
    assert abs(read.x_train.mean(dtype=float)) < 1e-6  # float32: 1e-7 in each term
    assert abs(read.x_train.std(dtype=float) - 1) < 1e-6


def test_the_test_part_of_digits_does_not_depend_on_the_split():
    first, second = data.load("digits"), data.load("digits", validation=0.5, seed=9)
    np.testing.assert_array_equal(first.y_test, second.y_test)
    assert np.corrcoef(first.x_test.ravel(), second.x_test.ravel())[0, 1] > 1 - 1e-9  # equal up to the scale


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="name must be one of digits, mnist, cifar10, got 'minst'"):
        data.load("minst")


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        ("y_valid", np.array([0, 10]), "lie in 0..9, got 0..10"),
        ("y_test", np.array([0, -1]), "lie in 0..9, got -1..0"),
        ("y_train", np.zeros(3, int), "be int64 of shape .2,., got int64 .3,."),
        ("y_train", np.zeros(2, np.int32), "be int64 of shape .2,., got int32"),
        ("x_train", np.zeros((2, 8, 8), np.float32), "be float32"),
        ("x_test", np.zeros((2, 8, 8, 3), np.float32), "be float32"),
        ("x_test", np.zeros((2, 8, 8, 1)), "be float32"),
    ],
)
def test_a_data_set_of_wrong_shape_type_or_range_is_refused(part, wrong, message):
    x, y = np.zeros((2, 8, 8, 1), np.float32), np.array([0, 9])
    good = {"x_train": x, "y_train": y, "x_valid": x, "y_valid": y, "x_test": x, "y_test": y, "classes": 10}
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

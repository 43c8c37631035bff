"""MNIST: the official files found in every form, downloaded once, parsed, and everything else refused."""

import gzip
import hashlib
import lzma

import numpy as np
import pytest
import web

from nets import data, mnist
from refopt.fetch import DataError

COMPRESS = {"": bytes, ".gz": lambda content: gzip.compress(content, mtime=0), ".xz": lzma.compress}
packed = COMPRESS[".gz"]


@pytest.fixture
def tiny(monkeypatch):
    """The content of each file by name, of 5 + 3 images of 2 x 4 pixels; `mnist.FILES` has their hashes meanwhile."""
    rng, files = np.random.default_rng(0), {}
    for (name, (magic, _)), shape in zip(mnist.FILES.items(), [(5, 2, 4), (5,), (3, 2, 4), (3,)], strict=True):
        files[name] = np.array([magic, *shape], ">u4").tobytes() + rng.integers(0, 10, shape, np.uint8).tobytes()
        monkeypatch.setitem(mnist.FILES, name, (magic, f"md5:{hashlib.md5(files[name]).hexdigest()}"))
    return files


@pytest.fixture
def network(monkeypatch, tmp_path):
    return web.fake(monkeypatch, tmp_path)


def write(folder, files, suffix="", damage=bytes):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / (name + suffix)).write_bytes(damage(COMPRESS[suffix](content)))


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("below", ["mnist", "."])
def test_files_in_the_folder_are_read_as_they_are(tiny, network, tmp_path, suffix, below):
    write(tmp_path / below, tiny, suffix)
    read, (x_train, y_train, x_test, y_test) = data.DATASETS["mnist"](tmp_path), tiny.values()
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
    with pytest.raises(DataError, match="other"):
        data.load("mnist")


DAMAGE = {
    "empty": (lambda c: b"", "is truncated"),
    "cut in the magic number": (lambda c: c[:3], "is truncated"),
    "cut in the shape": (lambda c: c[:6], "is truncated"),
    "cut in the elements": (lambda c: c[:-1], "is truncated"),
    "one byte more": (lambda c: c + b"\0", "goes on after its end"),
    "one element changed": (lambda c: c[:-1] + b"\xff", "is not the published"),
    "a web page": (lambda c: b"<html>" + c, "is not an IDX (image|label) file"),
    "images for labels, labels for images": (lambda c: c[:3] + bytes([c[3] ^ 2]) + c[4:], "is not an IDX"),
}


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("case", DAMAGE)
def test_a_file_that_is_not_intact_is_refused_and_not_replaced(tiny, network, tmp_path, which, case):
    (damage, message), name = DAMAGE[case], list(tiny)[which]
    write(tmp_path, tiny | {name: damage(tiny[name])})
    with pytest.raises(DataError, match=f"{name} {message}"):
        mnist.mnist(tmp_path)
    assert network[1] == []


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:-12] + bytes(12), lambda c: c[:10] + b"\xff" * 20])
@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_a_damaged_archive_is_refused(tiny, tmp_path, suffix, damage):
    write(tmp_path, tiny, suffix, damage)
    with pytest.raises(DataError, match=f"train-images-idx3-ubyte{suffix} cannot be read"):
        mnist.mnist(tmp_path)


def test_without_folder_and_network_the_error_names_both_ways(network, tmp_path):
    with pytest.raises(DataError, match="REFOPT_DATA to a folder that holds mnist/train-images-idx3") as caught:
        data.load("mnist", folder=tmp_path)
    assert caught.value.__context__ is None  # no traceback of the network below it
    assert network[1] == [mirror + "train-images-idx3-ubyte.gz" for mirror in mnist.MIRRORS]  # once each
    assert all(address in str(caught.value) for address in network[1])


@pytest.mark.parametrize("mirror", [0, 1])
def test_what_is_not_in_the_folder_is_downloaded_once(tiny, network, tmp_path, mirror):
    served, asked = network
    served.update({f"{mnist.MIRRORS[mirror]}{name}.gz": packed(tiny[name]) for name in tiny})
    write(tmp_path, dict(list(tiny.items())[:1]))
    read = mnist.mnist(tmp_path)
    assert len(asked) == 3 * (mirror + 1)
    served.clear()
    np.testing.assert_array_equal(mnist.mnist(tmp_path)[2], read[2])  # from the cache
    next((tmp_path / "cache").rglob("t10k-labels*")).write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.gz cannot be read"):
        mnist.mnist(tmp_path)


WRONG = {"no archive": lambda c: b"log in first", "another content": lambda c: packed(c[:-1] + b"\xff")}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_archive_never_enters_the_cache(tiny, network, tmp_path, case):
    network[0].update({f"{mirror}{name}.gz": WRONG[case](tiny[name]) for mirror in mnist.MIRRORS for name in tiny})
    with pytest.raises(DataError, match=r"is missing.*(cannot be read|is not the published)"):
        mnist.mnist(None)
    assert len(network[1]) == len(mnist.MIRRORS)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("case", WRONG)
def test_a_mirror_with_a_wrong_archive_is_passed_over(tiny, network, case):
    first, second = mnist.MIRRORS
    network[0].update({f"{first}{name}.gz": WRONG[case](tiny[name]) for name in tiny})
    network[0].update({f"{second}{name}.gz": packed(tiny[name]) for name in tiny})
    assert mnist.mnist(None)[1].tobytes() == tiny["train-labels-idx1-ubyte"][8:]


@pytest.mark.data("mnist")
def test_the_real_mnist_has_its_known_counts_and_moments():
    try:
        read = data.load("mnist")
    except DataError as error:
        if "is missing" in str(error):
            pytest.skip(str(error))
        raise
    assert (read.x_train.shape, read.x_test.shape) == ((60000, 28, 28, 1), (10000, 28, 28, 1))
    assert np.bincount(read.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(read.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    mean, std = read.scale
    np.testing.assert_allclose([mean[0] / 255, std[0] / 255], [0.1307, 0.3081], atol=5e-5)
    assert read.x_test.mean(dtype=float) == pytest.approx(33.7912, abs=5e-5)

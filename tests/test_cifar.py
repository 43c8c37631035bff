"""CIFAR-10 and CIFAR-100: the layouts, files found in every form, pickles that cannot act, all else refused."""

import gzip
import hashlib
import io
import lzma
import os
import pickle
import tarfile
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import web

from nets import cifar, data
from refopt.fetch import DataError

COMPRESS = {"": bytes, ".gz": partial(gzip.compress, mtime=0), ".xz": lzma.compress}
FORMS = {"cifar10": cifar.CIFAR10, "cifar100": cifar.CIFAR100}
CLASSES = {"cifar10": 10, "cifar100": 100}
BOTH = pytest.mark.parametrize("dataset", FORMS)
EITHER = pytest.mark.parametrize("form", [0, 1], ids=["binary", "python"])


def text(t):
    return b"U" + bytes([len(t)]) + t


def pickled(planes, labels, name, kind=b"u1"):
    """A batch as Python 2 and NumPy of 2009 pickled it: protocol 2, texts of bytes, numpy.core."""
    numbers = b"(" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    dtype = (
        b"cnumpy\ndtype\n"
        + text(kind)
        + b"K\0K\1\x87R(K\3"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    )
    shape = b"".join(b"J" + size.to_bytes(4, "little") for size in planes.shape) + b"\x86"
    content = b"T" + planes.nbytes.to_bytes(4, "little") + planes.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text(b"b") + b"\x87R"
    return (
        b"\x80\2}(" + text(name) + b"]" + numbers + text(b"data")
        + array + b"(K\1" + shape + dtype + b"\x89" + content + b"tbu."
    )  # fmt: skip


@pytest.fixture
def network(monkeypatch, tmp_path):
    return web.fake(monkeypatch, tmp_path)


@pytest.fixture
def made(monkeypatch):
    """made(dataset): planes and labels of two images for each file, and the contents, by form and file.

    The forms have the hashes of these contents for the time of the test.
    """

    def make(dataset):
        rng = np.random.default_rng(0)
        classes, forms = CLASSES[dataset], FORMS[dataset]
        parts = [(rng.integers(0, 256, (2, 3072), np.uint8), rng.integers(0, classes, 2)) for _ in forms[0].files]
        coarse = np.full((2, classes // 100), 3)  # CIFAR-100 has the label of a group before the label of the class
        name = b"labels" if dataset == "cifar10" else b"fine_labels"
        writers = (
            lambda x, y: np.hstack([coarse, y[:, None], x]).astype(np.uint8).tobytes(),
            lambda x, y: pickled(x, y, name),
        )
        contents = []
        for form, writer in zip(forms, writers, strict=True):
            contents.append({file: writer(*part) for file, part in zip(form.files, parts, strict=True)})
            for file, content in contents[-1].items():
                monkeypatch.setitem(form.files, file, f"md5:{hashlib.md5(content).hexdigest()}")
        return parts, contents

    return make


def archive(form, contents, mode="w:gz"):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"{form.unpacked}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def write(folder, contents, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / (name + suffix)).write_bytes(COMPRESS[suffix](content))


def check(read, parts, classes):
    images = [planes.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1) for planes, _ in parts]
    np.testing.assert_array_equal(read.x_train, np.concatenate(images[:-1]))
    np.testing.assert_array_equal(read.x_test, images[-1])
    assert [*read.y_train, *read.y_test] == [label for _, labels in parts for label in labels]
    assert (read.x_train.dtype, read.x_test.dtype, read.classes) == (np.uint8, np.uint8, classes)


# --- layout --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [1, 2])
def test_a_binary_record_is_its_labels_and_three_planes_row_by_row(labels):
    planes = np.arange(3072).reshape(3, 32, 32) % 251
    record = np.append([4, 7][-labels:], planes).astype(np.uint8).tobytes()
    x, y = cifar.records(record * 2, labels)
    assert y.tolist() == [7, 7]
    x = cifar.images(x)
    assert x.shape == (2, 32, 32, 3)
    assert [x[1, 3, 5, c] for c in range(3)] == [planes[c, 3, 5] for c in range(3)]


# --- files ---------------------------------------------------------------------------------------------------------


@BOTH
@EITHER
@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("below", ["", "dataset", "unpacked", "dataset/unpacked"])
def test_files_are_found_plain_or_compressed_and_kept_in_order(
    made, network, tmp_path, *, dataset, form, suffix, below
):
    parts, contents = made(dataset)
    below = below.replace("dataset", dataset).replace("unpacked", FORMS[dataset][form].unpacked)
    write(tmp_path / below, contents[form], suffix)
    check(data.DATASETS[dataset](tmp_path), parts, CLASSES[dataset])
    assert network[1] == []


@BOTH
@EITHER
@pytest.mark.parametrize(("mode", "suffix"), [("w", ""), ("w:gz", ".gz"), ("w:xz", ".xz")])
def test_an_archive_is_read_without_unpacking_it(made, network, tmp_path, *, dataset, form, mode, suffix):
    parts, contents = made(dataset)
    kind = FORMS[dataset][form]
    (tmp_path / f"{kind.archive}{suffix}").write_bytes(archive(kind, contents[form], mode))
    check(data.DATASETS[dataset](tmp_path), parts, CLASSES[dataset])
    assert len(list(tmp_path.rglob("*"))) == 1
    assert network[1] == []


@BOTH
def test_what_is_not_there_whole_is_downloaded_once(made, network, tmp_path, dataset):
    (parts, contents), form, (served, asked) = made(dataset), FORMS[dataset][0], network
    write(tmp_path / dataset, dict(list(contents[0].items())[1:]))  # all but one
    served[f"{cifar.PAGE}{form.archive}.gz"] = archive(form, contents[0])
    check(data.DATASETS[dataset](tmp_path), parts, CLASSES[dataset])
    check(data.DATASETS[dataset](None), parts, CLASSES[dataset])
    assert asked == [*served]


@BOTH
@pytest.mark.parametrize("wrong", ["log in first", "another content", "a file less"])
def test_a_wrong_download_never_enters_the_cache(made, network, tmp_path, dataset, wrong):
    (_, contents), form = made(dataset), FORMS[dataset][0]
    last = [*form.files][-1]
    other = {"another content": contents[0] | {last: b"other"}, "a file less": {**contents[0]}}
    other["a file less"].pop(last)
    served = archive(form, other[wrong]) if wrong in other else wrong.encode()
    network[0][f"{cifar.PAGE}{form.archive}.gz"] = served
    with pytest.raises(DataError, match=rf"{form.archive}\.gz is missing: set REFOPT_DATA to a folder that holds"):
        data.DATASETS[dataset](None)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


# --- what is refused -----------------------------------------------------------------------------------------------

DAMAGE = {
    "empty": lambda c: b"",
    "truncated": lambda c: c[:-1],
    "a record less": lambda c: c[: len(c) // 2],
    "one byte more": lambda c: c + b"\0",
    "another label": lambda c: bytes([c[0] ^ 1]) + c[1:],
    "another pixel": lambda c: c[:-2] + bytes([c[-2] ^ 1]) + c[-1:],
    "a web page": lambda c: b"<html>" + c,
}


@BOTH
@EITHER
@pytest.mark.parametrize("case", DAMAGE)
def test_a_file_that_is_not_intact_is_refused_and_not_replaced(made, network, tmp_path, *, dataset, form, case):
    _, contents = made(dataset)
    for name in (next(iter(contents[form])), [*contents[form]][-1]):
        damaged = contents[form] | {name: DAMAGE[case](contents[form][name])}
        write(tmp_path, damaged)
        with pytest.raises(DataError, match=rf"{name} is not the published {name}: its content has the md5 \w+, not"):
            data.DATASETS[dataset](tmp_path)
        assert (tmp_path / name).read_bytes() == damaged[name]
    assert network[1] == []


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_a_damaged_compressed_file_is_refused(made, tmp_path, suffix):
    _, contents = made("cifar10")
    write(tmp_path, contents[0], suffix)
    path = tmp_path / f"test_batch.bin{suffix}"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=rf"test_batch.bin{suffix} cannot be read"):
        cifar.cifar10(tmp_path)


@EITHER
def test_an_archive_that_is_none_or_lacks_a_file_or_was_cut_is_refused(made, tmp_path, form):
    (_, contents), kind = made("cifar10"), cifar.CIFAR10[form]
    last, path = [*kind.files][-1], tmp_path / kind.archive
    whole = archive(kind, contents[form], "w")
    less = archive(kind, {name: c for name, c in contents[form].items() if name != last}, "w")
    for wrong in (b"no archive", less, whole[: whole.rindex(contents[form][last][-9:])]):
        path.write_bytes(wrong)
        with pytest.raises(
            DataError, match=rf"{kind.archive} is not the archive {kind.archive} \(.*put an intact copy"
        ):
            cifar.cifar10(tmp_path)


@pytest.mark.parametrize("dataset", FORMS)
def test_a_label_out_of_range_is_refused(monkeypatch, made, tmp_path, dataset):
    """Even if the hash were right."""
    (_, contents), form = made(dataset), FORMS[dataset][0]
    name = next(iter(form.files))
    at = 0 if dataset == "cifar10" else 1
    content = contents[0][name][:at] + bytes([CLASSES[dataset]]) + contents[0][name][at + 1 :]
    monkeypatch.setitem(form.files, name, f"md5:{hashlib.md5(content).hexdigest()}")
    write(tmp_path, contents[0] | {name: content})
    with pytest.raises(ValueError, match=f"y_train must lie in 0..{CLASSES[dataset] - 1}"):
        data.load(dataset, folder=tmp_path)


# --- pickles -------------------------------------------------------------------------------------------------------


class Hostile:
    """Unpickled by Python's own unpickler, it makes the folder `trace`."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_hostile_pickle_would_act_in_an_ordinary_unpickler(tmp_path):
    pickle.loads(pickle.dumps(Hostile(tmp_path / "trace"), protocol=2))
    assert (tmp_path / "trace").exists()


def test_a_pickle_that_is_not_the_published_one_is_not_even_opened(made, tmp_path, monkeypatch):
    _, contents = made("cifar10")
    hostile = pickle.dumps(Hostile(tmp_path / "trace"), protocol=2)
    monkeypatch.setattr(cifar, "Unpickler", None)  # whoever opens one fails with a TypeError
    write(tmp_path, contents[1] | {"data_batch_1": hostile})
    with pytest.raises(DataError, match="data_batch_1 is not the published data_batch_1"):
        cifar.cifar10(tmp_path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_is_refused_without_acting_even_if_its_hash_were_right(made, tmp_path, monkeypatch, protocol):
    _, contents = made("cifar10")
    hostile = pickle.dumps({"data": Hostile(tmp_path / "trace"), "labels": []}, protocol)
    monkeypatch.setitem(cifar.CIFAR10[1].files, "test_batch", f"md5:{hashlib.md5(hostile).hexdigest()}")
    write(tmp_path, contents[1] | {"test_batch": hostile})
    with pytest.raises(DataError, match=r"holds more than labels and images: it asks for \w+\.mkdir"):
        cifar.cifar10(tmp_path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    "asked", [b"os\nsystem", b"builtins\neval", b"numpy\nload", b"numpy.core.multiarray\nfrombuffer"]
)
def test_only_arrays_of_bytes_can_be_asked_for(asked):
    module, name = asked.decode().split("\n")
    with pytest.raises(DataError, match=f"it asks for {module}.{name}"):
        cifar.unpickled(b"\x80\2c" + asked + b"\n(tR.", b"labels")


def test_a_pickle_that_asks_for_an_array_of_objects_gets_one_of_bytes():
    planes, _ = cifar.unpickled(pickled(np.zeros((2, 3072), np.uint8), [1, 2], b"labels", kind=b"O8"), b"labels")
    assert planes.dtype == np.uint8


# --- parts of the sets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["cifar10-small", "cifar100-subset"])
def test_a_part_that_is_not_there_is_asked_of_nobody(network, tmp_path, dataset):
    with pytest.raises(DataError, match=f"{dataset} is missing, and published nowhere: .* or take {dataset[:7]}"):
        data.load(dataset, folder=tmp_path)
    assert network[1] == []


@pytest.mark.data("cifar10-small")
def test_cifar10_small_is_the_first_images_of_each_class_of_cifar10():
    small, whole = (real(data.DATASETS[name], folder()) for name in ("cifar10-small", "cifar10"))
    for x, y, first, labels, count in (
        (small.x_train, small.y_train, whole.x_train[:10000], whole.y_train[:10000], 100),
        (small.x_test, small.y_test, whole.x_test, whole.y_test, 50),
    ):
        index = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)]))
        np.testing.assert_array_equal(x, first[index])
        np.testing.assert_array_equal(y, labels[index])


@pytest.mark.data("cifar100-subset")
def test_the_subset_of_cifar100_has_as_many_images_of_each_class():
    subset = real(data.DATASETS["cifar100-subset"], folder())
    assert np.bincount(subset.y_train).tolist() == [20] * 100
    assert np.bincount(subset.y_test).tolist() == [5] * 100


# --- the real files ------------------------------------------------------------------------------------------------


def real(load, *arguments):
    try:
        return load(*arguments)
    except DataError as error:
        if "is missing" in str(error):
            pytest.skip(str(error))
        raise


def folder():
    return Path(os.environ["REFOPT_DATA"]) if os.environ.get("REFOPT_DATA") else None


@pytest.mark.data("cifar10")
def test_the_real_images_have_the_published_means_and_counts():
    """Means (0.4914, 0.4822, 0.4465) and deviations (0.2470, 0.2435, 0.2616) in units of full scale."""
    raw = real(data.DATASETS["cifar10"], folder())
    assert (raw.x_train.shape, raw.x_test.shape) == ((50000, 32, 32, 3), (10000, 32, 32, 3))
    assert np.bincount(raw.y_train).tolist() == [5000] * 10
    assert np.bincount(raw.y_test).tolist() == [1000] * 10
    mean, std = data.moments(raw.x_train)
    np.testing.assert_allclose(mean / 255, [0.4914, 0.4822, 0.4465], atol=5e-5)
    np.testing.assert_allclose(std / 255, [0.2470, 0.2435, 0.2616], atol=5e-5)


@BOTH
@EITHER
@pytest.mark.parametrize("packed", ["plain", ".gz", "archive"])
def test_loading_never_holds_the_images_twice(monkeypatch, network, tmp_path, *, dataset, form, packed):
    kind, classes, rng = FORMS[dataset][form], CLASSES[dataset], np.random.default_rng(0)
    name = b"labels" if dataset == "cifar10" else b"fine_labels"
    for file in kind.files:
        x, y = rng.integers(0, 256, (900, 3072), np.uint8), rng.integers(0, classes, 900)
        labels = np.repeat(y[:, None], 1 + classes // 100, axis=1)
        content = pickled(x, y, name) if form else np.hstack([labels, x]).astype(np.uint8).tobytes()
        monkeypatch.setitem(kind.files, file, f"md5:{hashlib.md5(content).hexdigest()}")
        write(tmp_path, {file: content}, ".gz" if packed == ".gz" else "")
    if packed == "archive":
        contents = {file: (tmp_path / file).read_bytes() for file in kind.files}
        (tmp_path / f"{kind.archive}.gz").write_bytes(archive(kind, contents))
        for file in kind.files:
            (tmp_path / file).unlink()
    tracemalloc.start()
    try:
        x_train, _, x_test, _ = (cifar.cifar10 if dataset == "cifar10" else cifar.cifar100)(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    file, whole = 900 * 3072, x_train.nbytes + x_test.nbytes
    assert peak < whole + 4.2 * file  # a file while it is decompressed, unpickled, and copied
    assert len(x_train) == 900 * (len(kind.files) - 1)


@pytest.mark.data("cifar100")
def test_the_real_images_of_100_classes_have_their_known_means_and_counts():
    """Means (129.30, 124.07, 112.43) and deviations (68.17, 65.39, 70.42)."""
    raw = real(data.DATASETS["cifar100"], folder())
    assert np.bincount(raw.y_train).tolist() == [500] * 100
    assert np.bincount(raw.y_test).tolist() == [100] * 100
    mean, std = data.moments(raw.x_train)
    np.testing.assert_allclose(mean, [129.30, 124.07, 112.43], atol=6e-3)
    np.testing.assert_allclose(std, [68.17, 65.39, 70.42], atol=6e-3)

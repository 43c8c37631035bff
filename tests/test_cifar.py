"""CIFAR-10: the layout of a record, files found plain, compressed or in the archive, and everything else refused."""

import hashlib
import io
import lzma
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from nets import cifar, data
from refopt.fetch import DataError

NAMES = [*cifar.MD5]


@pytest.fixture
def contents(monkeypatch):
    """Six files of two records each, and their hashes in place of the published ones."""
    rng = np.random.default_rng(0)
    made = {name: rng.integers(0, 10, (2, 3073)).astype(np.uint8).tobytes() for name in NAMES}
    monkeypatch.setattr(cifar, "MD5", {name: hashlib.md5(content).hexdigest() for name, content in made.items()})
    return made


def archive(path, contents):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_a_record_is_a_label_and_three_planes_row_by_row():
    planes = np.arange(3072).reshape(3, 32, 32) % 251
    record = np.append(7, planes).astype(np.uint8).tobytes()
    x, y = cifar.images_and_labels(record * 2)
    assert y.tolist() == [7, 7]
    assert x.shape == (2, 32, 32, 3)
    assert [x[1, 3, 5, c] for c in range(3)] == [planes[c, 3, 5] for c in range(3)]


@pytest.mark.parametrize("kind", ["plain", "xz", "archive"])
@pytest.mark.parametrize("below", ["", "cifar10"])
def test_files_are_found_in_every_form_and_kept_in_order(contents, tmp_path, kind, below):
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    if kind == "archive":
        archive(folder / "cifar-10-binary.tar.gz", contents)
    for name, content in contents.items() if kind != "archive" else ():
        (folder / name).write_bytes(content) if kind == "plain" else None
        (folder / f"{name}.xz").write_bytes(lzma.compress(content)) if kind == "xz" else None
    x_train, y_train, x_test, y_test = cifar.cifar10(tmp_path)
    labels = [content[at] for name, content in contents.items() for at in (0, 3073)]
    assert [*y_train, *y_test] == labels
    assert (x_train.shape, x_test.shape) == ((10, 32, 32, 3), (2, 32, 32, 3))


@pytest.mark.parametrize("damage", [b"", b"x" * 6146])
def test_another_content_is_refused(contents, tmp_path, damage):
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / NAMES[2]).write_bytes(damage)
    with pytest.raises(DataError, match=r"data_batch_3.bin is not the known data_batch_3.bin: its content has the MD5"):
        cifar.cifar10(tmp_path)


def test_an_archive_that_is_none_or_lacks_a_file_is_refused(contents, tmp_path):
    (tmp_path / "cifar-10-binary.tar").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"is not the archive of CIFAR-10"):
        cifar.cifar10(tmp_path)
    (tmp_path / "cifar-10-binary.tar").unlink()
    archive(tmp_path / "cifar-10-binary.tar.gz", {name: contents[name] for name in NAMES[:-1]})
    with pytest.raises(DataError, match=r"is not the archive of CIFAR-10 \('test_batch.bin'\)"):
        cifar.cifar10(tmp_path)


@pytest.mark.data("cifar10")
def test_the_real_images_have_the_published_means_and_counts():
    """Means (0.4914, 0.4822, 0.4465) and deviations (0.2470, 0.2435, 0.2616) in units of full scale."""
    place = os.environ.get("REFOPT_DATA")
    try:
        raw = data.DATASETS["cifar10"](Path(place) if place else None)
    except DataError as error:
        if "is missing" in str(error):
            pytest.skip(str(error))
        raise
    assert np.bincount(raw.y_train).tolist() == [5000] * 10
    assert np.bincount(raw.y_test).tolist() == [1000] * 10
    mean, std = data.moments(raw.x_train)
    np.testing.assert_allclose(mean / 255, [0.4914, 0.4822, 0.4465], atol=5e-5)
    np.testing.assert_allclose(std / 255, [0.2470, 0.2435, 0.2616], atol=5e-5)

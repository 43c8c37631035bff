"""A sweep on a Dask cluster of two workers, on this machine: the same runs, whichever worker is killed."""

import os
import signal

import pytest
from test_sweep import finished_runs, holder, process, rows, same_runs, trials, wait_for, whole  # noqa: F401

from nets import sweep
from nets.checkpoint import Checkpoint, RunError
from nets.train import fit

pytestmark = pytest.mark.needs("dask")


@pytest.fixture
def cluster():
    """Two workers of one thread each; one that dies is started again."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as two:
        yield two


def test_a_cluster_leaves_the_runs_that_single_runs_leave(cluster, tmp_path):
    planned = trials(0, 1, 2)
    sweep.sweep(planned, tmp_path, address=cluster.scheduler_address)
    for trial in planned:
        fit(trial.options, trial.rule, tmp_path / "alone" / str(trial.options.seed))
        alone = Checkpoint.load(tmp_path / "alone" / str(trial.options.seed) / "checkpoint.npz")
        assert Checkpoint.load(trial.folder(tmp_path) / "checkpoint.npz").theta.tobytes() == alone.theta.tobytes()


def test_its_workers_do_the_work_at_the_same_time(cluster, tmp_path):
    run = process(tmp_path, "--out", "many", "--backend", "dask", "--address", cluster.scheduler_address)
    locks = [tmp_path / "many" / "SPSSmooth" / f"seed-{seed}" / ".lock" for seed in (0, 1)]
    wait_for(lambda: None not in {holder(lock) if lock.exists() else None for lock in locks}, run)
    workers = {nanny.process.process.pid for nanny in cluster.workers.values()}
    assert {holder(lock) for lock in locks} == workers
    run.kill()
    run.communicate(timeout=120)


def test_a_killed_worker_of_a_cluster_loses_and_doubles_nothing(cluster, whole, tmp_path):  # noqa: F811
    run = process(tmp_path, "--out", "killed", "--backend", "dask", "--address", cluster.scheduler_address)
    out = tmp_path / "killed"
    for seed, reached in ((1, 4), (2, 9)):
        folder = out / "SPSSmooth" / f"seed-{seed}"
        wait_for(lambda folder=folder, reached=reached: rows(folder / "epochs.csv") >= reached, run)
        os.kill(holder(folder / ".lock"), signal.SIGKILL)
    printed, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    assert "3 / 3" in printed
    assert finished_runs(out) == [0, 1, 2]
    same_runs(out, whole)


@pytest.mark.parametrize("address", ["127.0.0.1", "host:port", "", "http://host:1", "tcp://127.0.0.1:1"])
def test_an_address_where_no_cluster_is_ends_in_one_sentence(address, tmp_path, monkeypatch):
    """A client with an address that is none would wait for its own end."""
    from distributed import config

    monkeypatch.setitem(config["distributed"]["comm"]["timeouts"], "connect", "1s")
    with pytest.raises(RunError, match=rf"^no cluster at '{address}' \(.*\): pass the --address that its scheduler"):
        sweep.sweep(trials(0), tmp_path, address=address)


def test_a_trial_that_cannot_be_run_keeps_no_other_from_it(cluster, tmp_path):
    impossible = trials(3, batch=5000)
    with pytest.raises(RunError, match="1 of 3 runs did not come to their end; the first: sps, seed 3: batch must"):
        sweep.sweep([*impossible, *trials(0, 1)], tmp_path, address=cluster.scheduler_address)
    assert all(sweep.ended(trial, tmp_path) for trial in trials(0, 1))

"""Two processes that share every mini-batch, under MPI, take the steps of one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranks

HERE = Path(__file__).parent


def run(*arguments):
    """What became of two processes of a script, started as the README says."""
    environment = os.environ | {
        "PYTHONPATH": str(HERE.parent),
        "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",  # of a container, say
        "OMPI_MCA_rmaps_base_oversubscribe": "1",  # on a single core, too
    }  # fmt: skip
    command = ["mpiexec", "-n", "2", sys.executable, "-m", "mpi4py", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The walks of each of two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    ended = run(HERE / "ranks.py", folder)
    assert ended.returncode == 0, ended.stderr
    return [dict(np.load(folder / f"{rank}-of-2.npz")) for rank in range(2)]


@pytest.mark.needs("mpi")
@pytest.mark.parametrize("name", ranks.WALKS)
def test_two_ranks_take_the_steps_of_one(both, name):
    """To rounding: the means of two halves are added up in another order, and the rules that divide amplify it.

    Bit for bit the ranks agree with each other: else they would drift apart, each with its own idea of x.
    """
    first, second = (walks[name] for walks in both)
    assert first.tobytes() == second.tobytes()
    alone = ranks.walk(name)
    assert np.abs(np.diff(alone, axis=0)).max() > 1e-4, "it walks"
    np.testing.assert_allclose(first, alone, rtol=0, atol=1e-12 * np.abs(alone).max())


@pytest.mark.needs("mpi")
def test_a_rank_that_fails_ends_the_others(tmp_path):
    """Which would wait for its answers for ever."""
    script = tmp_path / "script.py"
    script.write_text(
        "from mpi4py import MPI\nassert MPI.COMM_WORLD.rank == 0, 'a share is missing'\nMPI.COMM_WORLD.allreduce(1)\n"
    )
    ended = run(script)
    assert ended.returncode != 0
    assert "a share is missing" in ended.stderr


@pytest.mark.parametrize("name", ranks.WALKS)
def test_a_rank_that_keeps_its_answers_to_itself_would_be_noticed(name):
    """The same test, without the sum over ranks, fails."""
    own = ranks.walk(name, 0, 2)
    alone = ranks.walk(name)
    assert np.abs(own - alone).max() > 1e-6 * np.abs(alone).max()

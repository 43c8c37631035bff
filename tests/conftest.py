"""Settings for the whole test run."""

import os

# Tests run in parallel processes; linear algebra in each of them shall not compete for the same cores.
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

"""Settings for the whole test run."""

import os

from hypothesis import settings

# Tests run in parallel processes; linear algebra in each of them shall not compete for the same cores.
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# No example is too slow for a busy machine, and every machine tries the same ones; --hypothesis-profile=explore
# looks for new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("same")

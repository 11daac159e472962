"""Random tables and snapshots; each load is judged by an oracle that shares no code with the load.

LOAD_PROPERTY_SECONDS says how long it tries (60), LOAD_PROPERTY_SEED repeats a run; `python -m tests.soak_load`
is its long form.
"""

import os
import random

import pytest

from tests.support.load.soak import soak

SECONDS = float(os.environ.get("LOAD_PROPERTY_SECONDS", "60"))


@pytest.mark.slow
@pytest.mark.timeout(int(SECONDS) + 300)
@pytest.mark.skipif("TEST_DATABASE_URL" in os.environ, reason="the oracle needs servers of its own, as a superuser")
def test_every_load_of_random_tables_and_snapshots_does_what_the_contract_says() -> None:
    seed = int(os.environ.get("LOAD_PROPERTY_SEED", random.SystemRandom().randrange(10**6)))
    report = soak(seed, SECONDS)
    assert not report.kinds, f"LOAD_PROPERTY_SEED={seed}\n{report}"
    assert report.done["loads"] > SECONDS / 4, f"seed {seed}: the machine was too slow to try enough: {report}"

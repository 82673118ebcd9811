"""A run survives faults: a short cut of ``benchmarks/faults.py``."""

import pytest

from benchmarks import faults


@pytest.mark.slow
def test_killed_in_a_save_a_run_ends_as_if_it_had_not_been(tmp_path):
    moments = {"a save": faults.MOMENTS["a save"]}
    trials = list(faults.kills(faults.Proving(tmp_path), 2, moments))
    assert trials == [("kill -9 in a save", [])] * 2

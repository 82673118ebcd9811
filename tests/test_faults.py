"""A run survives ``kill -9`` during a save: a small part of ``python -m benchmarks.faults``."""

import pytest

from benchmarks.faults import process_faults, reference_run


@pytest.mark.slow
def test_a_run_killed_during_a_save_ends_like_an_undisturbed_one(tmp_path):
    reference = reference_run.ReferenceRun(tmp_path)
    phases = {"a save": process_faults.PHASES["a save"]}
    trials = list(process_faults.kills(reference, 2, phases))
    assert trials == [("kill -9 in a save", [])] * 2

"""Tables of ``benchmarks.pictures`` and ``benchmarks.hnerv``, without any training."""

import pytest

from benchmarks import hnerv, pictures

ROW = {"film": "bunny", "name": "best.flags", "seed": 0, "size": "64x36x16", "schedule": "0.1"}
MEASURES = {key: 1.0 for key, *_ in pictures.COLUMNS} | {"flags": ["--filters=16"], "steps": 960}


def test_measurements_without_a_hold_out_are_not_those_with_one():
    old, held_out = ROW | MEASURES, ROW | {"hold_out": "10s/50s"} | MEASURES
    for row, other in ((ROW | {"hold_out": ""}, held_out), (ROW | {"hold_out": "10s/50s"}, old)):
        assert not pictures.is_measured(row, [other])
        assert pictures.is_measured(row, [old, held_out])


def test_tables_with_a_hold_out_have_its_columns_and_older_rows_stay():
    old = ROW | {key: value for key, value in MEASURES.items() if key != "prior_ratio"}
    held_out = ROW | {"hold_out": "10s/50s", "psnr_held_out": 20.25, "psnr_gap": -5.5} | MEASURES
    _, without, with_hold_out = pictures.format_tables([old, held_out]).split("**bunny, ")
    assert with_hold_out.startswith("64×36, 16 filters, 10s/50s held out**")
    assert "held-out PSNR | gap |" in with_hold_out
    assert with_hold_out.rstrip().endswith("| 1.00 | 20.25 | -5.50 |")
    assert "held" not in without
    assert without.rstrip().endswith(
        "| 1.00 | – | 1.00 |"
    )  # half-way, film-path, prior and mixture ratio


def test_the_table_of_hnerv_adds_up_the_time_and_has_the_published_row():
    row = {"size": "320×160", "steps": 11, "processor_seconds": 90.0, "psnr": 30.0}
    rows = {"1": row | {"mean_psnr": 30.5}, "2": row | {"mean_psnr": 30.5, "steps": 22}}
    table = hnerv.format_table(rows, {"encoder": 1_000_000, "decoder": 2_500_000}, 200)
    first, second, published = table.splitlines()[2:5]
    assert (
        first == "| `best.flags`, 320×160 | 1 | 11 | 1.5 | 30.00 | 30.50 | 2.50 M | 3.50 M | 200 |"
    )
    assert "| 22 | 3.0 |" in second
    assert published == hnerv.PUBLISHED
    assert {line.count("|") for line in table.splitlines()[:5]} == {len(hnerv.TITLES) + 1}


def test_a_command_that_fails_ends_the_benchmark_with_its_message(tmp_path):
    with pytest.raises(SystemExit, match=r"(?s)--mode=prepare.*\nvae_gan_jax: .*nowhere"):
        pictures.run_mode("prepare", [f"--run_dir={tmp_path / 'run'}", "--film=nowhere.mp4"])

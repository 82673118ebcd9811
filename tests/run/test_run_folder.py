"""Which folders a run can be in."""

import pytest

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.run import run_folder


def test_a_run_folder_that_is_no_utf_8_is_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "l\udce9"
    with pytest.raises(InputError, match="is not UTF-8: give another"):
        run_folder.open_run(Config(run_dir=str(folder)))
    assert not folder.exists()

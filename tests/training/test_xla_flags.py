"""The flags that XLA reads before it compiles its first function."""

import pytest

from vae_gan_jax.training import xla_flags


@pytest.mark.parametrize(
    ("version", "before", "after"),
    [
        ("0.10.2", "", "--xla_cpu_experimental_ynn_fusion_type="),
        ("0.11.0", "--xla_a=1", "--xla_a=1 --xla_cpu_experimental_ynn_fusion_type="),
        ("0.10.2", *2 * ("--xla_cpu_experimental_ynn_fusion_type=1",)),
        ("0.12.0", "", ""),
    ],
)
def test_eigen_is_chosen_where_jaxlib_knows_the_flag(version, before, after, monkeypatch):
    monkeypatch.setattr(xla_flags.importlib.metadata, "version", lambda _: version)
    monkeypatch.setenv("XLA_FLAGS", before)
    xla_flags.prefer_eigen_convolutions()
    assert xla_flags.os.environ["XLA_FLAGS"] == after


def test_compiled_code_is_cached_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    xla_flags.cache_compiled_code()
    folder = xla_flags.os.environ["JAX_COMPILATION_CACHE_DIR"]
    assert folder.startswith(str(tmp_path / "vae_gan_jax" / "compiled"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "mine")
    xla_flags.cache_compiled_code()
    assert xla_flags.os.environ["JAX_COMPILATION_CACHE_DIR"] == "mine"

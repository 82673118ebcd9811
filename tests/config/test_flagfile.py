"""Flagfiles are read as absl reads them; one that cannot be read is refused, by name."""

import os
import subprocess

import pytest
from absl import flags

from vae_gan_jax.config import InputError, flagfile


def test_flagfiles_give_the_flags_that_absl_reads_from_them(tmp_path):
    inner, outer = tmp_path / "inner.flags", tmp_path / "outer.flags"
    inner.write_text("--film=a b.mp4\n\n# --seed=1\n  --width=16  \n")
    outer.write_text(f"// text\n--seed=2\n--flagfile={inner}\n--seed=3\n-strict\n")
    arguments = ["--a", f"--flagfile={outer}", "--flagfile=", "-flagfile", str(inner), "--b=c"]
    expected = flags.FlagValues().read_flags_from_files(arguments, force_gnu=False)
    expected = [argument for argument in expected if argument != "--flagfile="]
    assert flagfile.expand(arguments) == expected


def test_a_flagfile_may_come_from_windows_or_from_a_pipe(tmp_path, monkeypatch):
    monkeypatch.setattr(flagfile, "PIPE_SECONDS", 60.0)
    path = tmp_path / "windows.flags"
    path.write_bytes("--film=é.mp4\r\n--seed=1\r\n".encode("utf-8-sig"))
    assert flagfile.expand([f"--flagfile={path}"]) == ["--film=é.mp4", "--seed=1"]
    with subprocess.Popen(
        ["bash", "-c", "sleep 0.3; echo --seed=1"], stdout=subprocess.PIPE
    ) as one:
        path = f"/dev/fd/{one.stdout.fileno()}"
        assert flagfile.expand([f"--flagfile={path}"]) == ["--seed=1"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x90\x00\xff", "is not UTF-8 text (line 1)"),
        (b"--seed=1\n--film=caf\xe9.mp4\n", "is not UTF-8 text (line 2)"),
        ("--seed=1\n".encode("utf-16"), "is not UTF-8 text (line 1)"),
        (b"#" * (flagfile.MAX_BYTES + 1), "has more than 1,000,000 bytes"),
        (b"--seed=1\n--flagfile=THIS\n", "names itself"),
        (b"--flagfile", "is given without a file"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_file_that_is_no_flagfile_is_refused(content, words, tmp_path):
    path = tmp_path / "x.flags"
    if content is not None:
        path.write_bytes(content.replace(b"THIS", os.fsencode(path)))
    with pytest.raises(InputError) as error:
        flagfile.expand([f"--flagfile={path}"])
    assert words in str(error.value)
    assert "--flagfile" in str(error.value)


@pytest.mark.parametrize("kind", ["folder", "pipe", "/dev/zero", "a\0b"])
def test_what_is_no_file_is_refused_without_waiting(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(flagfile, "PIPE_SECONDS", 0.2)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    path = kind if kind == "/dev/zero" else f"{tmp_path}/{kind}"
    with pytest.raises(InputError, match="--flagfile="):
        flagfile.expand([f"--flagfile={path}"])

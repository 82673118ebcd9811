"""The entrypoint, as a user calls it: the whole path, going on, and bad input."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vae_gan_jax
from tests.film import films
from vae_gan_jax import modes
from vae_gan_jax.config import FIELDS
from vae_gan_jax.film.read import video
from vae_gan_jax.run import provenance

PROJECT = Path(__file__).parent.parent
SMALL = [
    "--width=20", "--height=18", "--filters=2", "--z_dim=3", "--batch_size=4", "--sample_every=0",
    "--noise_schedule=0.5",
]  # fmt: skip


@pytest.fixture(scope="session")
def call(program):
    """A function that runs a command; returns its exit code and what it wrote to stderr."""
    return lambda *arguments: program(arguments)


@pytest.fixture(scope="session")
def refused(call):
    """A function that runs a command and returns the one sentence that refuses it."""
    return lambda *arguments: refusal(*call(*arguments))


def refusal(code, stderr) -> str:
    """The one sentence with which a command was refused."""
    assert code == 2, stderr
    assert "Traceback" not in stderr
    (sentence,) = stderr.strip().splitlines()
    assert sentence.startswith("vae_gan_jax: ")
    return sentence


def call_alone(*arguments):
    """``call`` as a process of its own, which reads jax's environment variables."""
    command = [sys.executable, "-m", "vae_gan_jax.main", *map(str, arguments)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def contents(folder):
    """Every file below a folder with its bytes, but for the log and the folder's own name."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("log.txt", "flags.txt")
    }


@pytest.fixture(scope="module")
def trained(film, tmp_path_factory, call):
    """A run folder after the whole path, ``--mode=all``."""
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    code, stderr = call(f"--film={film}", f"--run_dir={run_dir}", *SMALL)
    assert code == 0, stderr
    return run_dir


def test_the_whole_path(trained, film):
    visible = {path.name for path in trained.iterdir() if path.name[0] != "."}
    assert visible == {
        "checkpoints", "figures", "films", "flags.txt", "frames", "learnt_films.json", "log.txt",
        "batch_norm_statistics", "measures", "metrics.jsonl", "provenance", "report.html",
        "samples",
        "shots",
        "tensorboard",
    }  # fmt: skip
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 26 // 4
    assert set(lines[-1]) == {
        "step", "epoch", "noise_std",
        "objective/kl", "objective/similarity", "objective/adversarial",
        "loss/encoder", "loss/decoder", "loss/discriminator",
        "clipped/encoder", "clipped/decoder", "clipped/discriminator",
        "discriminator/real", "discriminator/reconstructed", "discriminator/sampled",
        "gradient_norm/encoder", "gradient_norm/decoder", "gradient_norm/discriminator",
        "latent/mean_magnitude", "reconstruction/spread", "skipped",
        "time/frames_per_second", "time/share_of_peak", "time/goodput", "time/checkpoint_seconds",
    }  # fmt: skip
    made = trained / "films" / "film.mp4"
    framing = video.Framing(width=20, height=18, crop="none")
    assert sum(1 for _ in video.decode(made, framing)) == 26
    assert video.probe(made).rate == video.probe(film).rate
    assert video.probe(made).audio_streams == 1
    page = (trained / "report.html").read_text()
    for part in ("<video", 'class="chart"', 'data-label="epoch 1, step 6"', 'class="shots"'):
        assert part in page


def test_what_is_done_is_not_done_again(trained, film, call):
    before = contents(trained)
    code, stderr = call(f"--film={film}", f"--run_dir={trained}", *SMALL)
    assert code == 0, stderr
    assert contents(trained) == before


@pytest.mark.slow
def test_more_epochs_go_on_and_renew_what_was_made(trained, film, tmp_path, call):
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    longer = [*SMALL[:-1], "--noise_schedule=0.5,0.1"]
    code, stderr = call(f"--film={film}", f"--run_dir={run_dir}", *longer)
    assert code == 0, stderr
    assert {step.name for step in (run_dir / "checkpoints").iterdir()} == {"6", "12"}
    assert provenance.recorded(run_dir, "films/film.mp4")["step"] == 12
    assert "12 steps, epoch 2 of 2" in (run_dir / "report.html").read_text()


def test_a_model_trained_alone_reconstructs_from_shared_frames(film, tmp_path, call):
    """The frames for the statistics are found again though the command trims another film."""
    run_dir, shared = tmp_path / "run", f"--frames_dir={tmp_path / 'shared'}"
    code, stderr = call("--mode=prepare", f"--film={film}", f"--run_dir={run_dir}", shared, *SMALL)
    assert code == 0, stderr
    code, stderr = call("--mode=train", f"--run_dir={run_dir}")
    assert code == 0, stderr
    assert not (run_dir / "frames").exists()
    output = tmp_path / "other.mp4"
    code, stderr = call(
        "--mode=reconstruct", f"--run_dir={run_dir}", f"--source={film}", "--trim_end=0.5",
        f"--output={output}",
    )  # fmt: skip
    assert code == 0, stderr
    assert video.probe(output).frames == 12


def test_a_run_begins_with_another_s_networks(trained, film, tmp_path, call, refused):
    """Of another size they are refused before the film is prepared."""
    run_dir, other = f"--run_dir={tmp_path / 'run'}", f"--init_from={trained}"
    film = f"--film={film}"
    assert "--filters=3 does not fit" in refused(film, run_dir, other, *SMALL, "--filters=3")
    assert not list(tmp_path.iterdir())
    for mode in ("prepare", "train"):
        code, stderr = call(film, run_dir, other, *SMALL, f"--mode={mode}")
        assert code == 0, stderr
    assert f"starting with the networks of {trained} at step 6" in stderr
    assert f"--init_from={trained}\n" in (tmp_path / "run" / "flags.txt").read_text()
    assert {step.name for step in (tmp_path / "run" / "checkpoints").iterdir()} == {"0", "6"}


def test_a_device_s_share_of_a_batch_is_settled_when_the_run_is_made(
    film, tmp_path, monkeypatch, call, refused
):
    """Made on two devices, it has the same mini-batch on one."""
    run_dir = tmp_path / "run"
    small = [flag for flag in SMALL if "batch_size" not in flag]
    command = "--mode=prepare", f"--film={film}", f"--run_dir={run_dir}", *small
    shared = "--per_device_batch_size=3"
    assert "exclude each other" in refused(*command, shared, "--batch_size=3")
    assert not run_dir.exists()
    for devices in "21":
        monkeypatch.setenv("JAX_NUM_CPU_DEVICES", devices)
        code, stderr = call_alone(*command, shared)
        assert code == 0, stderr
        settings = (run_dir / "flags.txt").read_text().splitlines()
        assert {"--batch_size=6", "--per_device_batch_size="} <= set(settings)
    code, stderr = call(f"--flagfile={run_dir / 'flags.txt'}", "--mode=prepare")
    assert code == 0, stderr


def test_a_refused_command_records_nothing_and_the_corrected_one_is_taken(film, tmp_path, call):
    run_dir = f"--run_dir={tmp_path / 'run'}"
    command = "--mode=prepare", f"--film={film}", run_dir, *SMALL
    for flag, words in {
        "--crop=60:30:50:0": "reaches outside",
        "--exclude=0:00-end": "no frame",
        "--hold_out=10s/60s": "holds out no frame",
    }.items():
        code, stderr = call(*command, flag)
        assert code == 2
        assert words in stderr.splitlines()[-1]  # below a progress bar
    assert not (tmp_path / "run" / "flags.txt").exists()
    code, stderr = call(*command, "--precision=float32", "--keep_epochs=50")
    assert code == 0, stderr
    settings = (tmp_path / "run" / "flags.txt").read_text()
    assert {"--exclude=", "--precision=float32", "--keep_epochs=50"} <= set(settings.splitlines())
    code, stderr = call("--mode=prepare", run_dir)
    assert code == 0, stderr
    assert (tmp_path / "run" / "flags.txt").read_text() == settings


def test_help_lists_every_mode_and_every_flag_once():
    done = subprocess.run(
        [sys.executable, "-m", "vae_gan_jax.main", "--help"],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    for mode in modes.MODES:
        assert f"  --mode={mode}" in lines
    flags = [line.partition("=")[0].strip() for line in lines if line.startswith("  --")]
    for name in FIELDS:
        assert flags.count(f"--{name}") == 1
    assert "  --process_timeout=300.0" in lines
    for group in ("films:", "networks:", "objectives:", "training:", "output:", "exploring:"):
        assert group in lines


def test_a_signal_ends_the_program_with_its_number(film, tmp_path, refused):
    """SIGTERM while a thousand epochs are learnt: saved, 143, and the run is whole.

    A second process on the same folder was refused meanwhile.
    """
    schedule = "--noise_schedule=" + ",".join(["0.1"] * 1000)
    process = subprocess.Popen(
        [sys.executable, "-m", "vae_gan_jax.main", f"--film={film}",
         f"--run_dir={tmp_path / 'run'}", *SMALL[:-1], schedule],
        cwd=PROJECT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    metrics = tmp_path / "run" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.05)
    assert "is in use by another process" in refused(f"--run_dir={tmp_path / 'run'}")
    process.terminate()
    assert process.wait(timeout=300) == 128 + signal.SIGTERM
    steps = [int(step.name) for step in (tmp_path / "run" / "checkpoints").iterdir()]
    lines = metrics.read_text().splitlines()
    assert 0 <= max(steps) - json.loads(lines[-1])["step"] < 20  # an unfinished line waits


def test_a_film_that_changed_since_is_refused(trained, film, tmp_path, call, refused):
    """It may move, but not become another one; nothing is lost, and put back it is taken."""
    run_dir, moved = tmp_path / "run", tmp_path / "moved.mp4"
    shutil.copytree(trained, run_dir)
    shutil.copy(film, moved)
    settings = (run_dir / "flags.txt").read_text()
    (run_dir / "flags.txt").write_text(settings.replace(str(film), str(moved)))
    before = contents(run_dir)
    with moved.open("ab") as file:
        file.write(b"more")
    assert "the film has changed since" in refused(f"--run_dir={run_dir}")
    assert contents(run_dir) == before
    shutil.copy(film, moved)
    code, stderr = call("--mode=train", f"--run_dir={run_dir}", "--noise_schedule=0.5,0.1")
    assert code == 0, stderr


def test_another_film_through_a_trained_run(trained, film, tmp_path, call):
    """The run's settings are its own; the trims are the other film's."""
    output = tmp_path / "other.mkv"
    code, stderr = call(
        "--mode=reconstruct",
        f"--run_dir={trained}",
        f"--source={film}",
        "--trim_start=0.5",
        f"--output={output}",
    )
    assert code == 0, stderr
    framing = video.Framing(width=20, height=18, crop="none")
    assert sum(1 for _ in video.decode(output, framing)) == 14  # frames 12 to 25


def test_passthrough_shows_what_would_be_learnt(film, tmp_path, call):
    """Without a run folder: two frames of pixels in, the same shape and count out, with sound."""
    output = tmp_path / "framed.mp4"
    code, stderr = call(
        "--mode=passthrough", f"--source={film}", f"--output={output}", "--width=32",
        "--height=18", "--upscale=64x36",
    )  # fmt: skip
    assert code == 0, stderr
    assert [path.name for path in tmp_path.iterdir()] == ["framed.mp4"]
    probe = video.probe(output)
    assert (probe.width, probe.height, probe.frames, probe.audio_streams) == (64, 36, 26, 1)


@pytest.mark.slow
def test_a_benchmark_needs_neither_film_nor_run_folder(tmp_path, call):
    output = tmp_path / "speed.json"
    code, stderr = call("--mode=benchmark", f"--output={output}", "--seconds=0.1", *SMALL)
    assert code == 0, stderr
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]
    assert json.loads(output.read_text())["settings"]["batch_size"] == 4


@pytest.mark.slow
def test_two_films_are_learnt_together_and_come_out_apart(film, tmp_path, call):
    """One of them is excluded but for its last frames, and both come out whole."""
    other = tmp_path / "other.mp4"
    shutil.copy(film, other)
    run_dir = tmp_path / "run"
    code, stderr = call(
        f"--film={film},{other}", f"--run_dir={run_dir}", "--exclude=0:00-0.5", *SMALL
    )
    assert code == 0, stderr
    assert "training: 28 frames" in (run_dir / "log.txt").read_text()  # frames 12 to 25 of both
    framing = video.Framing(width=20, height=18, crop="none")
    for name in ("film.mp4", "other.mp4"):
        assert sum(1 for _ in video.decode(run_dir / "films" / name, framing)) == 26
    assert (run_dir / "report.html").read_text().count("<video") == 2


@pytest.mark.slow
def test_figures_and_explorations_of_a_run(trained, film, tmp_path, call):
    """Of the learnt film, and of another through the model; frames and films stay as they are."""
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    shutil.rmtree(run_dir / "figures")
    before = contents(run_dir)
    code, stderr = call("--mode=figures", f"--run_dir={run_dir}", "--every=9")
    assert code == 0, stderr
    stems = {path.stem for path in (run_dir / "figures").iterdir()} - {"drawn"}
    assert stems >= {
        "film_alternating_every_9", "film_epoch_1", "film_samples_by_epoch",
        "film_reconstructions_by_epoch",
    }  # fmt: skip
    for stem in stems:
        assert all((run_dir / "figures" / f"{stem}.{ending}").exists() for ending in ("png", "pdf"))
    other = tmp_path / "other.mp4"
    shutil.copy(film, other)
    code, stderr = call(
        "--mode=explore", f"--run_dir={run_dir}", f"--source={other}", "--trim_start=0.5",
        "--explore=interpolation", "--at=0.6,1", "--seconds=1",
    )  # fmt: skip
    assert code == 0, stderr
    stem = "other_interpolation_0h00m00.58s_to_0h00m01.00s"
    assert {path.name for path in (run_dir / "explorations").iterdir()} == {
        f"{stem}.mp4", f"{stem}.png",
    }  # fmt: skip
    assert video.probe(run_dir / "explorations" / f"{stem}.mp4").frames == 24
    after = contents(run_dir)
    changed = {path.relative_to(run_dir) for path in before if after.get(path) != before[path]}
    records = ("provenance/figures/film.json", "provenance/film_checksums.json")
    assert changed <= set(map(Path, records))  # drawn with another --every


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mode=explore", "--at=0:30"], "--at=0:00:30.00 lies outside the film"),
        (["--mode=figures", "--at=0.5,0:30"], "--at=0:00:30.00 lies outside the film"),
        (["--mode=figures", "--source=missing.mp4"], "missing.mp4"),
        (["--mode=explore", "--explore=interpolation"], "give two or more to interpolate"),
        (["--mode=explore"], "explorations: "),
    ],
)
def test_figures_and_explorations_that_cannot_be_are_refused(
    arguments, words, trained, tmp_path, refused
):
    """In the last of these a file has the name of the folder."""
    run_dir = tmp_path / "run"
    shutil.copytree(trained, run_dir)
    if len(arguments) == 1:
        (run_dir / "explorations").write_text("a diary")
    before = contents(run_dir)
    assert words in refused(f"--run_dir={run_dir}", *arguments)
    assert contents(run_dir) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--film=missing.mp4"], "missing.mp4"),
        (["--film=README.md"], "README.md"),
        (
            ["--film=FILM", "--trim_start=5", "--trim_end=5"],
            "--trim_end=5 is not after --trim_start=5",
        ),
        (["--film=FILM", "--trim_start=60"], "trim"),
        (["--film=FILM", "--trim_end=soon"], "--trim_end=soon is not a time"),
        (["--film=FILM", "--width=15"], "--width=15 is too small"),
        (["--film=FILM", "--width=wide"], "--width=wide"),
        (["--film=FILM", "--noise_schedule=0.1,-0.1"], "--noise_schedule=-0.1 is too small"),
        (["--film=FILM", "--noise_schedule=0.1,lots"], "not a number"),
        (["--film=FILM", "--batch_size=27"], "--batch_size=27 is more than the film's 26 frames"),
        (["--film=FILM", "--crop=5000:5000:0:0"], "reaches outside the picture"),
        (["--film=FILM,FILM", "--exclude=0-end"], "--exclude leaves no frame to learn from"),
        (["--film=FILM", "--hold_out=10s/60s"], "--hold_out=10s/60s holds out no frame"),
        (["--film=FILM", "--colour=red"], "--colour is not a flag: give "),
        (["--noise_shedule=0.1"], "is not a flag: give --noise_schedule or another flag of --help"),
        (["--film=FILM", "--mode=paint"], "--mode=paint is not one of all, prepare, train"),
        (["--film=FILM", "red"], "'red' is not a flag"),
        (["--flagfile=missing.flags"], "missing.flags"),
        (["--film=FILM", "--output=missing/folder/out.mp4"], "missing/folder/out.mp4"),
        (["--film=FILM", "--output=film.webm"], "film.webm cannot hold h264"),
        (["--film=FILM", f"--output={'n' * 252}.mp4"], "is longer than 255 bytes"),
        (["--film=FILM", f"--output={'n' * 250}.mp4", "--layout=output,stacked"], "is longer than"),
        (["--film=FILM", "--source=missing.mp4"], "missing.mp4"),
        ([], "--film is missing"),
        (["--film=FILM", "--init_from=missing"], "there is no run in missing"),
        (["--mode=reconstruct"], "has no checkpoint"),
        (["--mode=train"], "prepare"),
        (["--mode=figures"], "has no checkpoint"),
        (["--mode=explore"], "has no checkpoint"),
        (["--mode=explore", "--explore=astral"], "--explore=astral is not one of prior, fitted"),
        (["--mode=report"], "there is no run in"),
        (["--film=FILM", "--fps=12"], "--fps is for stills, and films have their own rate"),
        (["--mode=live", "--run_dir=a,b", "--second_run=c"], "exclude each other"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(arguments, words, film, tmp_path, refused):
    arguments = [argument.replace("FILM", str(film)) for argument in arguments]
    assert words in refused(f"--run_dir={tmp_path / 'run'}", *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("plan --topology=here", "plan.json"),
        ("benchmark", "speed.json"),
        ("encode --source=FILM", "codes.npz"),
        ("explore --explore=prior", "prior.mp4"),
        ("passthrough --source=FILM", "film.mp4"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_at_once(mode, name, film, tmp_path, refused):
    (tmp_path / name).mkdir()
    flags = [f"--mode={mode}".replace("FILM", str(film)), f"--run_dir={tmp_path / 'run'}"]
    flags = [flag for words in flags for flag in words.split()]
    for path, words in (
        (tmp_path / name, "is not an ordinary file"),
        (tmp_path / "missing" / name, f"there is no folder {tmp_path / 'missing'}"),
    ):
        assert words in refused(*flags, f"--output={path}", *SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_gone_sound_is_missed_only_where_a_film_is_written(trained, tmp_path, call, refused):
    run = shutil.copytree(trained, tmp_path / "run")
    flags = (run / "flags.txt").read_text()
    (run / "flags.txt").write_text(flags.replace("--sound=auto", "--sound=gone.wav"))
    code, stderr = call("--mode=report", f"--run_dir={run}")
    assert code == 0, stderr
    assert "--sound=gone.wav is neither a file" in refused("--mode=reconstruct", f"--run_dir={run}")
    model = vae_gan_jax.open(run)
    with pytest.raises(vae_gan_jax.InputError, match=r"gone\.wav is neither a file"):
        model.reconstruct(output=tmp_path / "film.mp4")


def test_the_demo_film_passes_through_before_it_is_learnt(tmp_path, call, refused):
    demo = ("--mode=passthrough", "--film=demo", f"--output={tmp_path / 'film.mp4'}", *SMALL)
    assert "--run_dir is missing: give a folder for the demo film" in refused(*demo)
    code, stderr = call(*demo, f"--run_dir={tmp_path / 'run'}", "--trim_end=0.5")
    assert code == 0, stderr
    assert video.probe(tmp_path / "film.mp4").frames == 12


def test_sound_that_cannot_be_written_is_refused_before_training(tmp_path, refused):
    variant = next(variant for variant in films.VARIANTS if variant.name == "mp3_at_11025.flv")
    film = variant.make(tmp_path)
    words = refused(f"--film={film}", f"--run_dir={tmp_path / 'run'}", "--sound=copy", *SMALL)
    assert f"sound track 1 (mp3, 11025 Hz, mono) of {film} cannot be copied to .mp4" in words
    assert [path.name for path in tmp_path.iterdir()] == [variant.name]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--filters=3", "--filters=3 disagrees with the run"),
        ("--seed=1", "--seed=1 disagrees"),
        ("--noise_schedule=0.1", "--noise_schedule=0.1 disagrees"),
        ("--film=other.mp4", "there is no film other.mp4"),
        (
            "--output=missing/folder/out.mp4",
            "there is no folder missing/folder for missing/folder/out",
        ),
    ],
)
def test_a_run_is_held_to_its_settings_and_keeps_all_it_has(
    argument, words, trained, film, refused
):
    before = contents(trained)
    mode = "reconstruct" if "output" in argument else "all"
    assert words in refused(f"--mode={mode}", f"--run_dir={trained}", argument)
    assert contents(trained) == before


@pytest.mark.parametrize(
    ("variable", "value"),
    [("JAX_PLATFORMS", "cuda"), ("JAX_PLATFORMS", "abacus"), ("JAX_NUM_CPU_DEVICES", "two")],
)
def test_a_device_that_is_not_there_is_one_sentence(variable, value, trained, monkeypatch):
    monkeypatch.setenv(variable, value)
    output = f"--output={trained}/other.mp4"
    sentence = refusal(*call_alone("--mode=reconstruct", f"--run_dir={trained}", output))
    assert "jax finds no device (" in sentence
    assert "correct" in sentence


def test_a_folder_of_something_else_is_refused(film, tmp_path, refused):
    (tmp_path / "letter.txt").write_text("dear")
    assert "is not a run folder" in refused(f"--film={film}", f"--run_dir={tmp_path}")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]

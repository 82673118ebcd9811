"""The flagfiles parse to what their names promise."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest
from absl import flags

from vae_gan_jax import config as config_lib
from vae_gan_jax import main
from vae_gan_jax.run import film_names
from vae_gan_jax.run.settings import resolve
from vae_gan_jax.training import pretrained

PROJECT = Path(__file__).parent.parent
NAMES = [
    "demo", "blade", "scanner", "blade_through_scanner", "scanner_through_blade",
    "apple1984_through_blade", "matrix3_through_blade", "early_test", "released_code", "bunny",
    "blade_512", "blade_1024", "pretrain_many", "tune_one", "demo_thesis", "blade_best",
]  # fmt: skip


@pytest.fixture
def load(monkeypatch):
    """A function from an experiment's name to its mode and Config."""
    monkeypatch.chdir(PROJECT)

    def forget():
        flags.FLAGS.unparse_flags()
        for name in flags.FLAGS:
            flags.FLAGS[name].unparse()

    def load(name):
        forget()
        flags.FLAGS(["main", f"--flagfile=experiments/{name}.flags"])
        return flags.FLAGS.mode, resolve(main.given_settings(), {}, learns=True)

    yield load
    forget()


@pytest.mark.parametrize("name", NAMES)
def test_flagfile_parses_and_says_what_to_expect(name, load):
    mode, config = load(name)
    assert config.run_dir.startswith("runs/")
    assert (mode == "reconstruct") is ("through" in name)
    assert config.source if "through" in name else config.film
    head = (PROJECT / "experiments" / f"{name}.flags").read_text().partition("\n--")[0]
    for word in ("Film", "Hardware", "Expect"):
        assert f"# {word}" in head or f"{word.lower()}" in head.lower(), word


def test_larger_frames_are_blade_runner_s_shape(load):
    for name, scale in (("blade_512", 2), ("blade_1024", 4)):
        _, blade = load("blade")
        larger = dataclasses.replace(blade, width=256 * scale, height=144 * scale)
        _, config = load(name)
        assert dataclasses.replace(config, run_dir=blade.run_dir) == larger


def test_the_demo_and_the_thesis_s_recipe_can_be_compared(load):
    _, demo = load("demo")
    _, thesis = load("demo_thesis")
    for name in ("film", "width", "height", "filters", "noise_schedule", "seed", "batch_size"):
        assert getattr(demo, name) == getattr(thesis, name)
    assert (demo.networks, thesis.networks) == ("residual", "thesis")


def test_networks_learnt_on_many_films_fit_the_one(load):
    _, many = load("pretrain_many")
    _, one = load("tune_one")
    assert len(film_names.learnt_films(many)) > 1
    assert one.film not in film_names.learnt_films(many)
    assert one.init_from == many.run_dir
    for name in pretrained.SIZES:
        assert getattr(one, name) == getattr(many, name)


def test_there_is_no_other_experiment():
    assert {path.stem for path in (PROJECT / "experiments").glob("*.flags")} == {
        *(*NAMES, "base", "best")
    }


CLUSTER = sorted((PROJECT / "experiments" / "cluster").iterdir())


@pytest.mark.parametrize("path", CLUSTER, ids=lambda path: path.name)
def test_launchers_name_flags_and_flagfiles_that_there_are(path):
    text = path.read_text()
    # Slurm's, gcloud's and Kubernetes' own have hyphens, or are single words.
    found = set(re.findall(r"--([a-z]+(?:_[a-z]+)+)", text)) | {"distributed"}
    assert len(found) > 2
    assert found <= set(flags.FLAGS)
    for flagfile in re.findall(r"experiments/\w+\.flags", text):
        assert (PROJECT / flagfile).exists()


@pytest.mark.parametrize("name", ["slurm.sbatch", "tpu_pod.sh"])
def test_launchers_are_sound_shell(name):
    path = PROJECT / "experiments" / "cluster" / name
    subprocess.run(["bash", "-n", path], check=True)


def test_slurm_starts_the_program_and_queues_the_job_again_where_a_signal_ended_it(tmp_path):
    """With programs of those names in place of Slurm's and Python."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    told = tmp_path / "told"
    programs = {
        "bin/srun": '[[ "$1" == --kill* ]] && shift; exec "$@"',
        "bin/scontrol": f'echo "scontrol $*" >> {told}',
        ".venv/bin/python": f'echo "$*" >> {told}; exit "$CODE"',
    }
    (tmp_path / "bin").mkdir()
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = PROJECT / "experiments" / "cluster" / "slurm.sbatch"
    started = "-m vae_gan_jax.main --distributed --flagfile=a.flags --run_dir=a b\n"
    for code, again in ((0, ""), (2, ""), (143, "scontrol requeue 7\n")):
        environment = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7", "CODE": str(code),
                       "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"}  # fmt: skip
        told.unlink(missing_ok=True)
        done = subprocess.run(["bash", script, "a.flags", "--run_dir=a b"], env=environment)
        assert done.returncode == code
        assert told.read_text() == started + again


def test_kubernetes_counts_its_pods_once():
    """The number of processes and the first one's address are those of the job."""
    yaml = pytest.importorskip("yaml")  # comes with flax
    text = (PROJECT / "experiments" / "cluster" / "kubernetes.yaml").read_text()
    service, job = yaml.safe_load_all(text)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    count = job["spec"]["completions"]
    assert job["spec"]["parallelism"] == count
    assert f"--num_processes={count}" in container["args"]
    name = job["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    address = f"--coordinator_address={name}-0.{service['metadata']['name']}:8476"
    assert address in container["args"]


def test_the_best_preset_nests_in_any_experiment(load):
    """It departs in what its head gives reasons for, and in nothing else."""
    _, blade = load("blade")
    flags.FLAGS(["main", "--flagfile=experiments/blade.flags", "--flagfile=experiments/best.flags"])
    best = resolve(main.given_settings(), {}, learns=True)
    assert best == dataclasses.replace(
        blade,
        networks="residual",
        learning_rate=1.3e-3,
        z_dim=1200,
        pixel_share=0.99,
        adversarial_weight=0.0005,
        kl_weight=0.001,
    )


def test_the_thesis_s_experiments_have_its_settings(load):
    _, blade = load("blade")
    assert blade.noise_schedule == (0.25, 0.25, 0.01, 0.01, 0.05, 0.05)
    _, scanner = load("scanner")
    assert scanner.noise_schedule == (0.25, 0.1, 0.1, 0.05, 0.05, 0.05)
    defaults = config_lib.Config()
    for config in (blade, scanner):
        for name in ("width", "height", "filters", "z_dim", "batch_size", "learning_rate",
                     "gamma", "adversarial_weight", "kl_weight", "leak"):  # fmt: skip
            assert getattr(config, name) == getattr(defaults, name)


def test_the_counter_example_and_the_released_code_differ_as_told(load):
    _, early = load("early_test")
    assert early.noise_schedule == (1,) * 6
    assert early.reconstruct_noise == 1
    _, released = load("released_code")
    assert (released.leak, released.prior, released.batch_norm) == (0.2, "uniform", "batch")

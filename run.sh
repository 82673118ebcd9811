#!/usr/bin/env bash
# Installs the requirements into .venv, then runs the demo, the tests or an experiment.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage:
  ./run.sh [demo --flag=value …]                    render, learn and reconstruct the demo film
  ./run.sh experiments/NAME.flags [--flag=value …]  run an experiment, or resume it
  ./run.sh test [pytest arguments]                  lint and run the tests
  ./run.sh lock                                     renew requirements.lock
  ./run.sh --help                                   this text

Paths are relative to the project's folder, wherever this is called from. A flagfile in the current
folder comes first.

environment:
  PLATFORM=cpu|cuda13|tpu   the build of jax; default: cuda13 where an NVIDIA driver answers, else cpu
  PYTHON=python3.12         the Python that .venv is made from; default: python3
  EXTRAS=cloud              extras of pyproject.toml to install too, separated by commas
  LOCKED=0                  the newest versions that requirements.txt allows, not requirements.lock
TEXT
}

# glibc uses huge pages: a training step on a CPU takes 7% less time (benchmarks/RESULTS.md).
export GLIBC_TUNABLES="${GLIBC_TUNABLES-glibc.malloc.hugetlb=1}"

project="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$project/.venv"

choose_platform() {
  if [[ -n "${PLATFORM:-}" ]]; then
    echo "$PLATFORM"
  elif command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi >/dev/null 2>&1; then
    echo cuda13
  else
    echo cpu
  fi
}

# .venv/installed holds the platform with the extras, and a checksum of the requirements. It is
# written last, so that an interrupted installation starts again.
install() { # [extra]
  local extras extra versions had="" lock="$project/requirements.lock"
  extras="$(choose_platform)${EXTRAS:+,$EXTRAS}${1:+,$1}"
  case "${extras%%,*}" in
    cpu | cuda13 | tpu) ;;
    *) echo "run.sh: PLATFORM=${extras%%,*} is unknown: give cpu, cuda13 or tpu." >&2; exit 2 ;;
  esac
  [[ "${LOCKED:-1}" != 0 ]] || lock=""
  versions="$(cd "$project" && cat requirements.txt pyproject.toml ${lock:+"$lock"} | cksum)"
  [[ ! -f "$venv/installed" ]] || had="$(cat "$venv/installed")"
  if [[ "$had" == "$extras"*$'\n'"$versions" ]]; then
    return
  fi
  echo "installing into .venv for $extras (once; some minutes) ..." >&2 || true # stderr may be lost
  if ! "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "run.sh: Python 3.11 or newer is needed: name one, such as PYTHON=python3.12 ./run.sh." >&2
    exit 2
  fi
  [[ -x "$venv/bin/python" ]] || "${PYTHON:-python3}" -m venv "$venv"
  rm -f "$venv/installed"
  extra="${extras/#cuda13/cuda}" && extra="${extra#cpu}" && extra="${extra#,}"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    ${lock:+-c "$lock"} -r "$project/requirements.txt" ${extra:+-e "${project}[$extra]"}
  printf '%s\n' "$extras" "$versions" >"$venv/installed"
}

run() { # from the project's folder, where flagfiles and films are; exec passes signals on
  cd "$project"
  exec "$venv/bin/python" -m vae_gan_jax.main "$@"
}

case "${1:-demo}" in
  -h | --help) usage ;;
  demo)
    install
    # Other settings may not be comparable with the thesis's recipe.
    (($# > 1)) && run --flagfile=experiments/demo.flags "${@:2}"
    (run --flagfile=experiments/demo_thesis.flags)
    run --flagfile=experiments/demo.flags --compare=runs/demo_thesis
    ;;
  lock)
    install
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
    cd "$project"
    "$venv/bin/uv" pip compile --quiet --upgrade --universal --python-version=3.11 --all-extras \
      --no-annotate --custom-compile-command="./run.sh lock" pyproject.toml -o requirements.lock
    ;;
  test)
    install dev
    cd "$project"
    "$venv/bin/python" -m ruff check --quiet .
    "$venv/bin/python" -m ruff format --quiet --check .
    # All tests run on two workers, each file on one of them; chosen tests run one by one.
    (($# > 1)) && exec "$venv/bin/python" -m pytest "${@:2}"
    exec "$venv/bin/python" -m pytest --numprocesses=2 --dist=loadfile ${CI:+--durations=15}
    ;;
  *.flags)
    [[ -f "$1" ]] && flagfile="$(cd "$(dirname "$1")" && pwd)/$(basename "$1")" || flagfile="$project/$1"
    [[ -f "$flagfile" ]] || { echo "run.sh: there is no $1: see the folder experiments." >&2; exit 2; }
    install
    run --flagfile="$flagfile" "${@:2}"
    ;;
  *) echo "run.sh: $1 is neither an experiment nor a command: see ./run.sh --help." >&2; exit 2 ;;
esac

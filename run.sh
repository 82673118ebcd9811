#!/usr/bin/env bash
# Installs the requirements into .venv, then runs the demo, the tests or an experiment.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage:
  ./run.sh [demo --flag=value …]                    render, learn and reconstruct the demo film
  ./run.sh experiments/NAME.flags [--flag=value …]  run an experiment, or resume it
  ./run.sh test [pytest arguments]                  lint and run the tests
  ./run.sh --help                                   this text

Paths are relative to the project's folder, wherever this is called from.

environment:
  PLATFORM=cpu|cuda13|tpu   the build of jax; default: cuda13 where an NVIDIA driver answers, else cpu
  PYTHON=python3.12         the Python that .venv is made from; default: python3
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

# .venv/installed holds the platform and the requirements of .venv. It is written last, so that an
# interrupted installation starts again.
install() {
  local platform wanted extra
  platform="$(choose_platform)"
  case "$platform" in
    cpu) extra="" ;;
    cuda13 | tpu) extra="jax[$platform]" ;;
    *) echo "run.sh: PLATFORM=$platform is unknown: give cpu, cuda13 or tpu." >&2; exit 2 ;;
  esac
  wanted="$platform"$'\n'"$(cat "$project/requirements.txt")"
  if [[ -f "$venv/installed" && "$(cat "$venv/installed")" == "$wanted" ]]; then
    return
  fi
  echo "installing into .venv for $platform (once; some minutes) ..." >&2 || true # stderr may be lost
  if ! "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "run.sh: Python 3.11 or newer is needed: name one, such as PYTHON=python3.12 ./run.sh." >&2
    exit 2
  fi
  [[ -x "$venv/bin/python" ]] || "${PYTHON:-python3}" -m venv "$venv"
  rm -f "$venv/installed"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    -r "$project/requirements.txt" ${extra:+"$extra"}
  printf '%s\n' "$wanted" >"$venv/installed"
}

run() { # from the project's folder, where flagfiles and films are; exec passes signals on
  cd "$project"
  exec "$venv/bin/python" -m vae_gan_jax.main "$@"
}

case "${1:-demo}" in
  -h | --help) usage ;;
  demo) install; run --flagfile=experiments/demo.flags "${@:2}" ;;
  test)
    install
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
  *) echo "run.sh: $1 is no experiment and no command: see ./run.sh --help." >&2; exit 2 ;;
esac

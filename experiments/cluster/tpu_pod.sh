#!/usr/bin/env bash
# One run on all hosts of a Cloud TPU slice: the same command on each, and they find each other.
#
#   experiments/cluster/tpu_pod.sh NAME ZONE experiments/blade.flags --run_dir=/mnt/shared/blade \
#     --frames_dir=/mnt/shared/frames --film=/mnt/shared/blade_runner.mkv --per_device_batch_size=12
#
# Before  the project in ~/vae_gan_jax of every host:
#           gcloud compute tpus tpu-vm scp --recurse . NAME:vae_gan_jax --zone=ZONE --worker=all
#         and one folder that all of them share, such as a Filestore mounted at /mnt/shared, for
#         film, frames and run; or a bucket, gs://BUCKET/runs/blade and so on.
# End     a host that is taken away sends SIGTERM, on which all save; the same command goes on.
set -euo pipefail

if (($# < 3)); then
  echo "usage: $0 NAME ZONE EXPERIMENT.flags [FLAGS]" >&2
  exit 2
fi
printf -v flags '%q ' "$3" --distributed "${@:4}"
exec gcloud compute tpus tpu-vm ssh "$1" --zone="$2" --worker=all \
  --command="cd vae_gan_jax && PLATFORM=tpu ./run.sh $flags"

#!/usr/bin/env bash
# One run on all hosts of a Cloud TPU slice. Each host gets the same command; they find each other.
#
#   experiments/cluster/tpu_pod.sh NAME ZONE experiments/blade.flags --run_dir=/mnt/shared/blade \
#     --frames_dir=/mnt/shared/frames --film=/mnt/shared/blade_runner.mkv --per_device_batch_size=12
#
# Before  Copy the project to ~/vae_gan_jax on every host:
#           gcloud compute tpus tpu-vm scp --recurse . NAME:vae_gan_jax --zone=ZONE --worker=all
#         Film, frames and run need a folder that all hosts share, for example a Filestore mounted at
#         /mnt/shared, or a bucket, for example gs://BUCKET/runs/blade.
# End     A host that is preempted sends SIGTERM to its process: all save, and the same command resumes.
set -euo pipefail

if (($# < 3)); then
  echo "usage: $0 NAME ZONE EXPERIMENT.flags [FLAGS]" >&2
  exit 2
fi
printf -v flags '%q ' "$3" --distributed "${@:4}"
exec gcloud compute tpus tpu-vm ssh "$1" --zone="$2" --worker=all \
  --command="cd vae_gan_jax && PLATFORM=tpu EXTRAS=cloud ./run.sh $flags"

# The program as an image: for a CPU, or with the CUDA build of jax.
#
#   docker build --tag=vae-gan-jax .
#   docker build --tag=vae-gan-jax:cuda --build-arg=EXTRAS=cloud,cuda .
#   docker run --rm --volume="$PWD:/work" vae-gan-jax --flagfile=experiments/demo.flags
#   docker run --rm --gpus=all --volume="$PWD:/work" vae-gan-jax:cuda --mode=benchmark --output=speed.json
FROM python:3.12-slim
ARG EXTRAS=cloud
ENV GLIBC_TUNABLES=glibc.malloc.hugetlb=1 NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY pyproject.toml requirements.txt requirements.lock README.md LICENSE /source/
COPY vae_gan_jax /source/vae_gan_jax
COPY experiments /source/experiments
RUN pip install --no-cache-dir --constraint=/source/requirements.lock "/source[$EXTRAS]"
WORKDIR /work
ENTRYPOINT ["vae-gan-jax"]

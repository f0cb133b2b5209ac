#!/bin/sh
# Writes deploy/lock/requirements.txt from pyproject.toml. torch is left out on purpose: it is installed
# first, by pip, as a CPU or CUDA build; a resolver that saw it here would pull CUDA on every machine.
set -eu
cd "$(dirname "$0")/../.."
skip=""
for name in torch cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti \
    nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand \
    nvidia-cusolver nvidia-cusparse nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink \
    nvidia-nvshmem-cu13 nvidia-nvtx; do
  skip="$skip --no-emit-package $name"
done
# shellcheck disable=SC2086
.venv/bin/uv pip compile pyproject.toml --extra web --extra ingest --extra inference --extra dev \
  --override deploy/lock/overrides.txt --python-version 3.11.2 --no-header --no-annotate $skip \
  -o deploy/lock/requirements.txt --quiet "$@"
# Apart, because python-ldap is built from source where it is installed: without its headers the rest still goes in.
exec .venv/bin/uv pip compile pyproject.toml --extra directory --constraint deploy/lock/requirements.txt \
  --no-emit-package asgiref --no-emit-package django --no-emit-package sqlparse \
  --python-version 3.11.2 --no-header --no-annotate -o deploy/lock/directory.txt --quiet "$@"

# The command line and the studio in a container (docs/gpu.md):
#
#   docker build -t sam2long .
#   docker build -t sam2long:cuda --build-arg BASE=pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" sam2long track VIDEO --point 210,350 -o results
#   docker run --rm -p 127.0.0.1:7860:7860 -v "$PWD:/work" sam2long studio --host 0.0.0.0 --port 7860 --no-browser
ARG BASE=python:3.11-slim
FROM ${BASE}

ENV PIP_NO_CACHE_DIR=1 PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1 SAM2_BUILD_CUDA=0
# Where a base image has no PyTorch; the CPU builds are much smaller.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python -c "import torch, torchvision" 2>/dev/null || pip install --index-url ${TORCH_INDEX} torch torchvision
# Torch first, then sam2 without build isolation: its build needs torch, and isolation would download a second one.
RUN pip install "setuptools>=77" wheel && pip install --no-build-isolation sam2

COPY . /opt/sam2long
RUN pip install --no-build-isolation "/opt/sam2long[video,hub,state,viz,eval,policies,export,studio]"

# Sessions of the studio and downloaded weights: what is not under /work goes with the container.
RUN mkdir /work && chmod 777 /work
ENV HOME=/tmp XDG_CACHE_HOME=/work/.cache
WORKDIR /work
EXPOSE 7860
ENTRYPOINT ["sam2long"]
CMD ["--help"]

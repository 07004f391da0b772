# An image of ddpm: docs/install.md, "Docker".
#
#   docker build -t ddpm .                          LibTorch with CUDA; runs on machines without a GPU too
#   docker build -t ddpm:cpu --build-arg CUDA=OFF \
#     --build-arg PIP_INDEX_URL=https://download.pytorch.org/whl/cpu .      LibTorch without CUDA: 3 GB smaller
#   docker run --rm --gpus all -v "$PWD:/work" ddpm train --config configs/cifar10.toml
ARG DEBIAN=bookworm

FROM debian:${DEBIAN} AS build
ARG CUDA=ON
ARG PIP_INDEX_URL=
ENV DDPM_CACHE=/cache
WORKDIR /source
# The requirements alone: they stay as they are when a source changes.
COPY scripts/setup.sh scripts/steps.sh scripts/
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && \
    if [ -n "$PIP_INDEX_URL" ]; then export PIP_INDEX_URL; else unset PIP_INDEX_URL; fi && \
    ./scripts/setup.sh $(if [ "$CUDA" = ON ]; then echo --cuda; else echo --no-cuda; fi)
COPY . .
RUN cmake --preset release -DDDPM_TESTS=OFF "-DDDPM_CUDA=$CUDA" "-DDDPM_CUDA_ARCHITECTURES=80;90;100;120" && \
    cmake --build --preset release
RUN cmake --install build/release --prefix /opt/ddpm && \
    cmake --install build/release --prefix /opt/ddpm --component libtorch && \
    cmake --install build/release --prefix /opt/ddpm --component libraries

FROM debian:${DEBIAN}-slim
COPY --from=build /opt/ddpm /opt/ddpm
RUN apt-get update && apt-get install -y --no-install-recommends libstdc++6 && rm -rf /var/lib/apt/lists/* && \
    ln -s /opt/ddpm/bin/ddpm /usr/local/bin/ddpm && ln -s /opt/ddpm/share/ddpm/configs /configs
# For the NVIDIA container toolkit.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
ENTRYPOINT ["ddpm"]
CMD ["--help"]

# SPDX-License-Identifier: Apache-2.0
# docker build -t lstmd .
# docker run -p 127.0.0.1:8001:8001 -e LSTMD_ALLOW_PLAINTEXT=true -v "$PWD/deploy/models:/models:ro" lstmd
# That is for one machine: the port is in plain text and open to all that can reach it. For others to use, mount a
# certificate and a file of tokens instead: -v "$PWD/secrets:/secrets:ro" -e LSTMD_TLS_CERT=/secrets/server.pem
# -e LSTMD_TLS_KEY=/secrets/server.key -e LSTMD_AUTH_FILE=/secrets/tokens -p 8001:8001. Without either it does not start.
#
# The same package lists and build command as deploy/quickstart.sh. tests/docker_steps.sh runs the Debian stages where
# there is no Docker engine, and knows only the instructions used here.
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY deploy/install-packages.sh deploy/
COPY deploy/packages deploy/packages
RUN bash deploy/install-packages.sh --build
COPY CMakeLists.txt CMakePresets.json ./
COPY proto proto
COPY engine engine
COPY server server
COPY client client
COPY tests/cmake tests/cmake
COPY deploy/build.sh deploy/
RUN bash deploy/build.sh && strip build/release/bin/lstmd build/release/bin/lstmctl

# docker build --target cuda -t lstmd:cuda . && docker run --gpus all -p 127.0.0.1:8001:8001 -e LSTMD_ALLOW_PLAINTEXT=true -v "$PWD/deploy/models:/models:ro" lstmd:cuda
FROM nvidia/cuda:13.0.1-cudnn-devel-ubuntu24.04 AS build-cuda
WORKDIR /src
COPY deploy/install-packages.sh deploy/
COPY deploy/packages deploy/packages
RUN bash deploy/install-packages.sh --build
COPY CMakeLists.txt CMakePresets.json ./
COPY proto proto
COPY engine engine
COPY server server
COPY client client
COPY tests/cmake tests/cmake
COPY deploy/build.sh deploy/
RUN bash deploy/build.sh && strip build/release/bin/lstmd build/release/bin/lstmctl

FROM nvidia/cuda:13.0.1-cudnn-runtime-ubuntu24.04 AS cuda
COPY deploy/install-packages.sh /tmp/deploy/
COPY deploy/packages /tmp/deploy/packages
RUN bash /tmp/deploy/install-packages.sh --runtime && rm -rf /tmp/deploy /var/lib/apt/lists/* /var/cache/apt
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin lstmd && mkdir /models
COPY --from=build-cuda /src/build/release/bin/lstmd /src/build/release/bin/lstmctl /usr/local/bin/
# Beside the program's folder, where lstmd looks for plug-ins.
COPY --from=build-cuda /src/build/release/lib/lstmd /usr/local/lib/lstmd
COPY LICENSE /usr/share/doc/lstmd/copyright
USER lstmd
EXPOSE 8001
VOLUME /models
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["lstmctl", "--server", "unix:/tmp/lstmd.sock", "health"]
ENTRYPOINT ["lstmd", "--repository", "/models", "--listen", "0.0.0.0:8001", "--listen", "unix:/tmp/lstmd.sock"]

FROM debian:bookworm-slim
COPY deploy/install-packages.sh /tmp/deploy/
COPY deploy/packages /tmp/deploy/packages
RUN bash /tmp/deploy/install-packages.sh --runtime && rm -rf /tmp/deploy /var/lib/apt/lists/* /var/cache/apt
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin lstmd && mkdir /models
COPY --from=build /src/build/release/bin/lstmd /src/build/release/bin/lstmctl /usr/local/bin/
COPY LICENSE /usr/share/doc/lstmd/copyright
USER lstmd
EXPOSE 8001
# The model repository: NAME/VERSION/model.safetensors.
VOLUME /models
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s CMD ["lstmctl", "--server", "unix:/tmp/lstmd.sock", "health"]
ENTRYPOINT ["lstmd", "--repository", "/models", "--listen", "0.0.0.0:8001", "--listen", "unix:/tmp/lstmd.sock"]

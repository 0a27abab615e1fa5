# The server in one image. docs/deploy.md describes how it is run.
FROM node:24-bookworm-slim AS build
WORKDIR /opt/attune
COPY package.json package-lock.json .npmrc rolldown.config.ts ./
COPY patches patches
RUN npm ci
COPY src src
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM node:24-bookworm-slim
# Actions run in python3, whose environments need venv (bash, node and npm are in the base); tini ends with the server and reaps what actions leave behind.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv tini \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/attune
COPY --from=build /opt/attune/node_modules node_modules
COPY --from=build /opt/attune/dist dist
COPY package.json LICENSE ./
COPY drizzle drizzle
COPY packs packs
# The user is 1000, "node" in the base: by its number, because Kubernetes must see that it is not root.
RUN ln -s /opt/attune/dist/attune.js /usr/local/bin/attune \
  && chmod +x dist/attune.js \
  && install -d -o 1000 -g 1000 -m 700 /var/lib/attune
ENV NODE_ENV=production \
  ATTUNE__DATA_DIR=/var/lib/attune \
  ATTUNE__SERVER__HOST=0.0.0.0
USER 1000:1000
VOLUME /var/lib/attune
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.ATTUNE__SERVER__PORT || 8080}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["tini", "--"]
CMD ["node", "dist/attune.js", "serve"]

# syntax=docker/dockerfile:1
# One static binary, the system's certificate authorities, one unprivileged user; no shell and nothing else.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
COPY . .
ARG REVISION=unknown
# Only the last link is static: the dependencies are the same as in any other build.
RUN ROWCOUNT_REVISION=$REVISION cargo rustc --locked --release --bin rowcount -- -C target-feature=+crt-static \
    && deploy/rootfs.sh target/release/rowcount /rootfs

# deploy/image.sh builds from here on too, where there is no Docker.
FROM scratch
COPY --from=build /rootfs/ /
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="rowcount" \
      org.opencontainers.image.description="Counts the rows of a container registry's metadata database, from exactly one instance of a fleet" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="MIT"
USER 65532:65532
EXPOSE 50051 9464
# In plaintext on the default port; with TLS, give the command its options: `rowcount healthcheck --help`.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/usr/bin/rowcount", "healthcheck"]
ENTRYPOINT ["/usr/bin/rowcount"]
CMD ["serve"]

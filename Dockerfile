# A small image of the server: docker build -t terrace . && docker run -p 6379:6379 -v data:/data -e TERRACE_REQUIREPASS=… terrace
#
# Every parameter is an environment variable (TERRACE_MAXMEMORY, TERRACE_DURABILITY, …); docs/server.md lists them.
# Without a password only clients inside the container are served: that is protected mode, and
# TERRACE_PROTECTED_MODE=no turns it off where the network is closed.

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked -p terrace-cli && mkdir /data

# glibc and nothing else: no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/terrace /usr/bin/terrace
COPY --from=build --chown=nonroot:nonroot /data /data
ENV TERRACE_BIND=0.0.0.0 TERRACE_DIR=/data
VOLUME /data
EXPOSE 6379
# As long as it replays the log, the server does not listen; a large log may take a few seconds.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["/usr/bin/terrace", "ping"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/terrace"]
CMD ["serve"]

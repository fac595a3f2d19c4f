# nameroute as an image with one static binary. It routes for its host, so it uses the
# host's network:
#
#   docker run -d --name nameroute --restart unless-stopped --network host \
#     --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_BIND_SERVICE --device /dev/net/tun \
#     --security-opt systempaths=unconfined --security-opt apparmor=unconfined \
#     -v /etc/nameroute:/etc/nameroute:ro -v /etc/wireguard:/etc/wireguard:ro \
#     -v nameroute:/var/lib/nameroute nameroute
#
# The two security options let it write the few sysctls under /proc/sys/net that
# forwarding needs; without them, set the sysctls on the host (docs/install.md). With
# packaging/compose.yml the resolver, which clients reach, runs without them.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The build date is SOURCE_DATE_EPOCH, in seconds since 1970; without it, now: the history
# is not copied.
ARG TARGETOS TARGETARCH VERSION=unknown SOURCE_DATE_EPOCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -buildvcs=false -trimpath \
    -ldflags "-s -w -X main.version=$VERSION -X main.buildDate=${SOURCE_DATE_EPOCH:-$(date +%s)}" \
    -o /nameroute ./cmd/nameroute
RUN mkdir -p /root-of-image/etc/ssl/certs /root-of-image/etc/nameroute /root-of-image/var/lib/nameroute \
        /root-of-image/run/nameroute /root-of-image/run/wireguard /root-of-image/tmp \
    && ln -s ../run /root-of-image/var/run \
    && chmod 1777 /root-of-image/tmp \
    && cp /etc/ssl/certs/ca-certificates.crt /root-of-image/etc/ssl/certs/

# scratch: the program runs no other program and needs no shell and no libc, so a base
# image would only add files to keep up to date and another registry to reach. It needs
# only the CA certificates for DoT and list downloads.
FROM scratch
COPY --from=build /root-of-image/ /
COPY --from=build /nameroute /usr/bin/nameroute
VOLUME ["/etc/nameroute", "/var/lib/nameroute", "/run/nameroute"]
EXPOSE 53/udp 53/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/nameroute"]
CMD ["run"]

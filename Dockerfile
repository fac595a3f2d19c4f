# nameroute as an image with one static binary in it. It routes for the machine that
# it runs on, so it shares that machine's network:
#
#   docker run -d --name nameroute --restart unless-stopped --network host \
#     --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_BIND_SERVICE --device /dev/net/tun \
#     --security-opt systempaths=unconfined --security-opt apparmor=unconfined \
#     -v /etc/nameroute:/etc/nameroute:ro -v /etc/wireguard:/etc/wireguard:ro \
#     -v nameroute:/var/lib/nameroute nameroute
#
# The two security options let it write the few sysctls under /proc/sys/net that
# forwarding needs; without them, set those on the machine (docs/install.md). With
# packaging/compose.yml the half that clients reach runs without them.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION=unknown
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -buildvcs=false -trimpath \
    -ldflags "-s -w -X main.version=$VERSION" -o /nameroute ./cmd/nameroute
RUN mkdir -p /root-of-image/etc/ssl/certs /root-of-image/etc/nameroute /root-of-image/var/lib/nameroute \
        /root-of-image/run/nameroute /root-of-image/run/wireguard /root-of-image/tmp \
    && ln -s ../run /root-of-image/var/run \
    && chmod 1777 /root-of-image/tmp \
    && cp /etc/ssl/certs/ca-certificates.crt /root-of-image/etc/ssl/certs/

# scratch: the program calls no other program, no shell and no libc, so there is
# nothing that a base could add but things to keep up to date, and no second registry
# that must be reachable. It needs only the certificates that DoT and list downloads
# are checked against.
FROM scratch
COPY --from=build /root-of-image/ /
COPY --from=build /nameroute /usr/bin/nameroute
VOLUME ["/etc/nameroute", "/var/lib/nameroute", "/run/nameroute"]
EXPOSE 53/udp 53/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/nameroute"]
CMD ["run"]

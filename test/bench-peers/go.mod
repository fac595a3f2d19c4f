// The peers of the growth table are no dependencies of nameroute: they have a module
// of their own, which nothing imports.
module github.com/nameroute/nameroute/test/bench-peers

go 1.26.0

require (
	github.com/nameroute/nameroute v0.0.0
	github.com/xtls/xray-core v1.260327.0
)

require (
	github.com/fsnotify/fsnotify v1.10.1 // indirect
	github.com/google/renameio/v2 v2.0.2 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/ulikunitz/xz v0.5.17 // indirect
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	golang.org/x/net v0.62.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace github.com/nameroute/nameroute => ../..

//go:build linux

// Package netlab gives tests and the demo real networks: private network
// namespaces joined by veth, with real kernel state, real resolvers and real
// packets. A test binary that calls Main from TestMain runs inside namespaces
// of its own, so every goroutine lives there and nothing needs to be cleaned up.
//
// New builds the world that a home gateway lives in:
//
//	 client                 box                   isp                        internet
//	┌──────────────┐  ┌───────────────┐  ┌─────────────────────┐  ┌───────────────────────────┐
//	│ 192.168.77.2 │  │ br-lan   wan0 │  │ box0           net0 │  │ isp0                      │
//	│ fd77::2 eth0 ├──┤ .77.1  31.0.1.2├─┤ 31.0.1.1  31.0.2.1  ├──┤ 31.0.2.2                  │
//	│              │  │ fd77::1   ▲   │  │    ▲                │  │ owns 30.0.0.0/8           │
//	└──────────────┘  │ [wg0] 10.66.0.2  │ Tap: all that the   │  │      2a0f::/16            │
//	                  └───────────────┘  │ box sends and gets  │  │ World   30.9.9.9  30.8.8.8│
//	                                     │ dnsmasq 31.0.1.1:53 │  │ unbound 30.1.1.1          │
//	                                     │ vpn0 31.0.3.1       │  │ vpn0                      │
//	                                     └──────┬──────────────┘  │ 31.0.4.1                  │
//	                                            │                 └──────┬────────────────────┘
//	                                     ┌──────┴───────────────────────┴──┐
//	                                     │ isp0 31.0.3.2:51820   31.0.4.2  │ vpn (not our code:
//	                                     │ wg0 10.66.0.1, fd66::1 ◄ Tap    │ wireguard-go and wg)
//	                                     └─────────────────────────────────┘
//
// Every address has an IPv6 counterpart; Plan lists them. A packet's source tells the
// internet's hosts by which egress it came: the WAN's address belongs to the box, the far
// end of the tunnel translates to its own. All addresses outside the LAN look public, as
// special-use ones are never learned, and exist only in the lab.
//
// A test of the product reads like this:
//
//	func TestMain(m *testing.M) { netlab.Main(m) }
//
//	func TestListedNameTakesTheTunnel(t *testing.T) {
//		t.Parallel()
//		lab := netlab.New(t, netlab.Options{})
//		lab.Box.WriteFiles(netlab.Setup{Listed: []string{"listed.example"}})
//		lab.Box.StartProduct(binary, "run")
//		lab.Box.AwaitNames("listed.example", 5*time.Second) // the tunnel is up
//		lab.Reset()
//		addrs, err := lab.Client.Resolve("www.listed.example")
//		...
//		egress, err := lab.Client.Connect(addrs[0]) // want netlab.ViaVPN
//		lab.Settle()
//		leaked := lab.ISP.Clear(wire.To(addrs...)) // want none
//		queries := lab.World.Queries("listed.example") // want netlab.ViaVPN as the Egress of each
//	}
package netlab

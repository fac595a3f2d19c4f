// Package firewall says what the nft table inet nameroute is to hold: which packets take
// which route, the kill switch, source NAT, and what redirects DNS. Desired is pure; the
// only other thing here is reading back what the table's rules have counted.
package firewall

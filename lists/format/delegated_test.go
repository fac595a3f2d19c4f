package format

import "testing"

func TestDelegated(t *testing.T) {
	text := "2|apnic|20260101|3|19850701|20260101|+1000\napnic|*|ipv4|*|2|summary\n" +
		"apnic|CN|ipv4|192.0.2.0|256|20110414|allocated\napnic|CN|ipv4|198.51.100.0|768|20110414|allocated\n" +
		"apnic|CN|ipv6|2001:db8::|32|20110414|assigned|x\napnic|CN|asn|64500|1|20110414|allocated\n" +
		"apnic|JP|ipv4|203.0.113.0|256|20110414|allocated\napnic||ipv4|203.0.113.0|256||available\n"
	got, r, err := readSelected(t, "delegated-apnic-latest", text, "cn")
	if err != nil || got != "192.0.2.0/24 198.51.100.0/23 198.51.102.0/24 2001:db8::/32" || r.Skipped != 0 || r.Lines != 3 {
		t.Errorf("CN: %s, %+v, %v", got, r, err)
	}
	if _, _, err = readSelected(t, "delegated-apnic-latest", text, "JX"); err == nil || err.Error() != `delegated: category "JX": unknown; the nearest of 2 is "jp"` {
		t.Errorf("JX: %v", err)
	}
	if _, _, err = readSelected(t, "delegated-apnic-latest", text, ""); err == nil {
		t.Error("without a country")
	}
	_, r, err = readSelected(t, "ff", "a|CN|ipv4|255.255.255.0|512|1|x\na|CN|ipv4|x|1|1|x\na|CN|ipv6|::|129|1|x\na|CN|ipv4|192.0.2.0|99999999999|1|x\n", "CN")
	if err != nil || r.Skipped != 4 || r.Prefixes != 0 {
		t.Errorf("impossible lines: %+v, %v", r, err)
	}
}

package query

import (
	"context"
	"testing"
)

func TestContextWithoutIPv6(t *testing.T) {
	ctx := context.Background()
	if WithoutIPv6(ctx) || !WithoutIPv6(ContextWithoutIPv6(ctx)) {
		t.Error("the context does not carry it")
	}
}

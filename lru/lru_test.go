package lru

import "testing"

func TestTheLeastRecentlyUsedGoesFirst(t *testing.T) {
	c := New[string, int](3)
	c.Put("a", 1, 1)
	c.Put("b", 2, 1)
	c.Put("c", 3, 1)
	c.Get("a")
	c.Put("d", 4, 1)
	if _, ok := c.Get("b"); ok {
		t.Error("b was used least recently, and is still there")
	}
	for key, want := range map[string]int{"a": 1, "c": 3, "d": 4} {
		if got, ok := c.Get(key); !ok || got != want {
			t.Errorf("%s: %d, %v; want %d", key, got, ok, want)
		}
	}
}

func TestTheBoundHolds(t *testing.T) {
	c := New[int, int](100)
	for i := range 1000 {
		c.Put(i%70, i, int64(i%40))
		if held, _ := c.Held(); held > 100 {
			t.Fatalf("%d held", held)
		}
	}
	c.Put(7, 1, 101)
	if _, ok := c.Get(7); ok {
		t.Error("a value above the bound was kept, or its predecessor was")
	}
	c.Delete(8)
	if _, ok := c.Get(8); ok {
		t.Error("a deleted value is there")
	}
}

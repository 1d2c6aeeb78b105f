// Package lru is a cache that holds a bounded cost, such as bytes, and forgets what was not used for
// longest. It is meant for values that never change under their key, so it needs no invalidation
// between nodes.
//
// Invariants: the sum of the costs never exceeds the bound after a Put returns; an entry that alone
// exceeds it is not kept.
package lru

import (
	"container/list"
	"sync"
)

// Cache maps keys to values of a known cost. The zero value is not usable: see New.
type Cache[K comparable, V any] struct {
	mu    sync.Mutex
	most  int64
	held  int64
	order *list.List // front: used last
	items map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key  K
	val  V
	cost int64
}

// New makes a cache that holds values up to a total cost.
func New[K comparable, V any](most int64) *Cache[K, V] {
	return &Cache[K, V]{most: most, order: list.New(), items: make(map[K]*list.Element)}
}

// Get finds a value and marks it as used.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.items[key]
	if !ok {
		var none V
		return none, false
	}
	c.order.MoveToFront(el)
	return el.Value.(*entry[K, V]).val, true
}

// Put keeps a value, and forgets the least recently used ones that no longer fit.
func (c *Cache[K, V]) Put(key K, val V, cost int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.items[key]; ok {
		c.drop(el)
	}
	if cost > c.most {
		return
	}
	c.items[key] = c.order.PushFront(&entry[K, V]{key, val, cost})
	c.held += cost
	for c.held > c.most {
		c.drop(c.order.Back())
	}
}

// Delete forgets a value.
func (c *Cache[K, V]) Delete(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.items[key]; ok {
		c.drop(el)
	}
}

// Held is the cost of all that is kept, and how many values that is.
func (c *Cache[K, V]) Held() (cost int64, values int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held, len(c.items)
}

func (c *Cache[K, V]) drop(el *list.Element) {
	e := c.order.Remove(el).(*entry[K, V])
	delete(c.items, e.key)
	c.held -= e.cost
}

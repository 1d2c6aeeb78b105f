package ephemeral

import "context"

// Tick is what happens every presenceTick.
func (e *Ephemeral) Tick(ctx context.Context) { e.tellPresence(ctx, e.people.keepTime()) }

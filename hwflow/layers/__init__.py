"""One module a layer kind: how it lowers, what it needs, which cases prove it."""

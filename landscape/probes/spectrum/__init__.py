"""The whole spectrum from a few products: trace, diagonal, density, and what the gradient sees of it."""

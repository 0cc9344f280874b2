"""Whether the path of training was convex, and who is the witness if not."""

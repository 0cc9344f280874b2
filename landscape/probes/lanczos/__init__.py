"""Lanczos: Krylov spaces, both ends of a spectrum, when to stop, and what to do when memory is short."""

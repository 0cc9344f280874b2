"""Symmetric matrices known by their products with vectors."""

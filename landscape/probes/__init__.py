"""What can be learned of a loss's curvature from products with vectors."""

"""What can be certified of lambda_min: bounds, verdicts, and the directions left out."""

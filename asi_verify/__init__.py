"""asi_verify."""

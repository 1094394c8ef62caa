"""What a training has reached, measured on faces that it does not learn from."""

"""Training of the restorers of `faceset enhance`."""

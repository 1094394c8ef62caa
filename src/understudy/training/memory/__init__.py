"""What training takes of memory and of work, and what is done when that is too much."""

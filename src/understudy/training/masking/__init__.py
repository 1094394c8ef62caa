"""Training of the mask network: its samples, its losses, its pictures and how it is measured."""

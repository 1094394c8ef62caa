"""Models and their saved states on disk."""

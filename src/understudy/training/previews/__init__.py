"""Pictures of a training for people to look at."""

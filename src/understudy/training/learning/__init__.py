"""One step of learning, for every class of model."""

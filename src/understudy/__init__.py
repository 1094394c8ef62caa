"""understudy: replace one performer's face with another's in footage."""

__version__ = "2.0.0a1"

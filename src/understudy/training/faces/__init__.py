"""Faces made ready once for training: decoded, cropped, kept, and parted into trained and held out."""

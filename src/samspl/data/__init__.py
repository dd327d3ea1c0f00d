"""Data sets: specifications, split lists, pairs, augmentations, loaders, checks and synthetic scenes."""

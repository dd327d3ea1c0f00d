"""From images to targets."""

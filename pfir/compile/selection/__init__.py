"""Which candidate becomes the result: searches, fits, and the fastest within a drop."""

"""Constants that are linked in a compact form, and expanded when a library is loaded."""

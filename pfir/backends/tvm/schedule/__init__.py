"""How a kernel is computed: tiles, blocks, algorithms, and which are worth measuring."""

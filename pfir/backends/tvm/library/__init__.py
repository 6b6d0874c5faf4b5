"""From kernels to a shared library, built once."""

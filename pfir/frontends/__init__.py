"""Readers: a file on disk becomes an ir.Model."""

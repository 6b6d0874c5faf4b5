"""The machine underneath: processes, files, memory, what is installed."""

"""An aarch64 device emulated on this machine."""

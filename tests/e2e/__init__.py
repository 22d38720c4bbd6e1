"""The whole product with a real QEMU."""

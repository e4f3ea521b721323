"""The path under which programs import kernels."""

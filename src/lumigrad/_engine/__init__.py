"""The only package that knows ctypes, torch.library and devices."""

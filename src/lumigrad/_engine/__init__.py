"""The only rooms that know ctypes, torch.library and devices."""

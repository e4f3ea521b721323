"""Adapters that offer lumigrad's primitives under the signatures and conventions of other libraries.

Import the one that is needed, say ``import lumigrad.compat.nvdiffrast as dr``. They are independent
implementations of the other libraries' documented behaviour, on lumigrad's own kernels.
"""

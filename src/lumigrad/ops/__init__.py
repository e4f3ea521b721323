"""The primitives, one package per family. ``import lumigrad as lg`` re-exports them all."""

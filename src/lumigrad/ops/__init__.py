"""The primitives, one package a family. ``import lumigrad as lg`` re-exports them all."""

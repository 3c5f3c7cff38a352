"""Turbopuffer's filter grammar: parsed once into a typed tree, and evaluated over documents."""

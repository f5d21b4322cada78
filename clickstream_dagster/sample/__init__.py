"""Realistic traffic in the shapes that the real SDKs send."""

"""Bytes that one service writes and another reads: bodies, lines and the keys they stand under."""

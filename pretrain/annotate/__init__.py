"""Annotators: decoded video in, depth, hands, objects, tracks and captions out."""

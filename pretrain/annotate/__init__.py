"""Annotators: what turns decoded video into clips with depth, hands, objects, tracks and captions."""

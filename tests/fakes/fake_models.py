"""Models of video and text that need no weights."""

import torch
from torch.nn.functional import normalize


class Lettering:
    """Embeds a clip as its mean colors, and a text by the words of colors in it."""

    name, fingerprint, frames, resolution = "lettering", "lettering-1", None, 32

    def encode_video(self, frames: torch.Tensor) -> torch.Tensor:
        """Means of the channels, of length 1."""
        return normalize(frames.float().mean(dim=(1, 2, 3)), dim=-1)

    def encode_text(self, texts) -> torch.Tensor:
        """Which colors are named, of length 1."""
        words = ("red", "green", "blue")
        counts = [[float(text.count(word)) for word in words] for text in texts]
        return normalize(torch.tensor(counts) + 0.01 * torch.arange(1, 4), dim=-1)

    def to(self, device):
        """Nothing to move."""
        return self

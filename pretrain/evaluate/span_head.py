"""A small head that finds the answer to a question in a sequence of frozen features.

It follows VSLNet (Zhang et al., ACL 2020, arXiv 2004.13931) in what it predicts: where the answer
starts, where it ends, and which steps belong to it. Questions are one frozen embedding each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from pretrain.evaluate.spans import VideoSteps, best_spans

_WIDTH = 64
_KERNEL = 5
_EPOCHS = 40
_UPDATES = 4000
"""At most, however many questions there are; at least one pass is made."""

_BATCH = 16
_RATE = 2e-3
_SEED = 0


@dataclass(frozen=True)
class Question:
    """A question about a video.

    Attributes:
        video: its steps.
        text: float32 (J,), embedding of the question.
        answer: float64 (2,), start and end in seconds.
    """

    video: VideoSteps
    text: np.ndarray
    answer: np.ndarray


class SpanHead(nn.Module):
    """Start, end and inside of the answer, a logit each for every step.

    Args:
        width: J of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.video = nn.Linear(width, _WIDTH)
        self.text = nn.Linear(width, _WIDTH)
        self.joined = nn.Conv1d(2 * _WIDTH + 1, _WIDTH, 1)
        self.blocks = nn.ModuleList(
            nn.Conv1d(_WIDTH, _WIDTH, _KERNEL, padding=_KERNEL // 2) for _ in range(3)
        )
        self.output = nn.Conv1d(_WIDTH, 3, _KERNEL, padding=_KERNEL // 2)

    def forward(self, steps: torch.Tensor, text: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Steps (B, L, J), text (B, J) and which steps are there (B, L) -> logits (B, 3, L)."""
        likeness = (functional.normalize(steps, dim=-1) * text[:, None]).sum(-1, keepdim=True)
        seen, asked = self.video(steps), self.text(text)[:, None]
        x = torch.cat([seen, seen * asked, 10 * likeness], dim=-1).transpose(1, 2)
        x = self.joined(x)
        for block in self.blocks:
            # Steps behind the end of a shorter video must not be seen through the convolutions.
            x = x + functional.relu(block(x * there[:, None]))
        logits: torch.Tensor = self.output(x * there[:, None])
        return logits.masked_fill(~there[:, None], -1e4)


def fit_span_head(
    questions: Sequence[Question], validation: Sequence[Question], epochs: int | None = None
) -> SpanHead:
    """Train a head; the epoch with the least loss on the validation questions is kept.

    The same questions give the same head.

    Args:
        questions: to train on.
        validation: to choose the epoch on.
        epochs: passes over the questions; None for 40, or fewer of many questions.
    """
    if epochs is None:
        epochs = max(1, min(_EPOCHS, _UPDATES * _BATCH // len(questions)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        head = SpanHead(len(questions[0].text))
    optimizer = torch.optim.AdamW(head.parameters(), lr=_RATE, weight_decay=1e-2)
    generator = np.random.default_rng(_SEED)
    least, best = np.inf, {name: t.clone() for name, t in head.state_dict().items()}
    for _ in range(epochs):
        order = generator.permutation(len(questions))
        for start in range(0, len(order), _BATCH):
            loss = _loss(head, [questions[row] for row in order[start : start + _BATCH]])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            losses = [
                _loss(head, validation[start : start + _BATCH]).item() * len(part)
                for start in range(0, len(validation), _BATCH)
                if (part := validation[start : start + _BATCH])
            ]
        if sum(losses) < least:
            least = sum(losses)
            best = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    head.load_state_dict(best)
    return head


@torch.no_grad()
def answer(head: SpanHead, question: Question) -> np.ndarray:
    """Up to five spans (k, 2) in seconds, the likeliest first; see :func:`best_spans`.

    Args:
        head: that was fitted.
        question: whose answer is not looked at.
    """
    steps = torch.from_numpy(question.video.features)[None]
    there = torch.ones(1, steps.shape[1], dtype=torch.bool)
    logits = head(steps, torch.from_numpy(question.text)[None], there)[0].double()
    scores = logits[0].log_softmax(-1)[:, None] + logits[1].log_softmax(-1)[None]
    first, last = np.triu_indices(steps.shape[1])
    bounds = question.video.bounds
    spans = np.stack([bounds[first], bounds[last + 1]], axis=1)
    return best_spans(spans, scores.numpy()[first, last])


def _loss(head: SpanHead, questions: Sequence[Question]) -> torch.Tensor:
    lengths = [len(question.video) for question in questions]
    width = len(questions[0].text)
    steps = torch.zeros(len(questions), max(lengths), width)
    there = torch.zeros(len(questions), max(lengths), dtype=torch.bool)
    inside = torch.zeros(len(questions), max(lengths))
    ends = torch.zeros(len(questions), 2, dtype=torch.int64)
    for row, (question, length) in enumerate(zip(questions, lengths, strict=True)):
        steps[row, :length] = torch.from_numpy(question.video.features)
        there[row, :length] = True
        first, last = question.video.steps_of(question.answer)
        ends[row] = torch.tensor([first, last])
        inside[row, first : last + 1] = 1
    text = torch.from_numpy(np.stack([question.text for question in questions]))
    logits = head(steps, text, there)
    within = functional.binary_cross_entropy_with_logits(logits[:, 2][there], inside[there])
    return (
        functional.cross_entropy(logits[:, 0], ends[:, 0])
        + functional.cross_entropy(logits[:, 1], ends[:, 1])
        + within
    )

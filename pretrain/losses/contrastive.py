"""Symmetric InfoNCE between videos and texts over the global batch.

Clips of a batch that have the same text are no negatives of one another: for a clip, the texts (and
for a text, the videos) of other clips with its text are left out of the sum that it is compared
with. Counting them as negatives would push apart what belongs together; counting them as further
positives would make a frequent text weigh more.

EgoNCE (Lin et al., arXiv 2206.01670) does count positives: all clips that share a verb and a noun
with a clip, whose summed probability is the one that the loss is of. Its sum of two directions is a
mean here, as for the plain loss. Its other half, a neighboring clip of the same video for every
clip as a further negative, is not here: drawn clips have no neighbors. A clip's own false captions
(``negatives``) are the hard negatives that this loss has.
"""

import torch
from torch.utils.checkpoint import checkpoint

from egodtm_robot.core.errors import ModelInputError
from pretrain.losses.distributed import gather, world

_ELEMENTS = 2**22
"""Similarities that are held at once, 16 MiB of float32."""


def contrastive_loss(
    video: torch.Tensor,
    text: torch.Tensor,
    logit_scale: torch.Tensor,
    groups: torch.Tensor | None = None,
    negatives: torch.Tensor | None = None,
    elements: int = _ELEMENTS,
    actions: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over the batch of the cross-entropies of finding a clip's text and a text's clip.

    The similarities of a batch grow with its square, so they are computed a few rows at a time, and
    again in the backward pass; memory stays flat.

    Args:
        video: float (n, J), of length 1, this process's clips; all processes have n of them.
        text: float (n, J), of length 1, their texts.
        logit_scale: factor of the similarities, 1 / temperature.
        groups: int64 (n,), the same number for the same text, see :func:`text_groups`; None takes
            all texts as different.
        negatives: float (n, k, J), of length 1, texts that are false of each clip, zero where there
            are fewer than k. Each clip is compared with its own beside the texts of all clips; from
            text to video there is nothing to add (EgoNCE++, arXiv 2405.17719).
        elements: similarities that are held at once.
        actions: int64 (n, 1 + M), see :func:`pretrain.clips.actions.action_numbers`: clips that
            share their verb and a noun are positives of one another, as in EgoNCE, and ``groups``
            counts for nothing; None for plain InfoNCE.

    Returns:
        A scalar, see :mod:`pretrain.losses`.

    Raises:
        ModelInputError: the shapes do not fit each other.
    """
    if video.shape != text.shape or video.ndim != 2 or len(video) == 0:
        raise ModelInputError(
            f"Expected embeddings of as many videos as texts, (n, J), got {tuple(video.shape)} and "
            f"{tuple(text.shape)}."
        )
    if negatives is not None and (
        negatives.ndim != 3 or negatives.shape[::2] != (len(video), video.shape[1])
    ):
        raise ModelInputError(
            f"Expected negatives ({len(video)}, k, {video.shape[1]}), got {tuple(negatives.shape)}."
        )
    rank, _ = world()
    every_video, every_text = gather(video), gather(text)
    count = len(every_video)
    own = torch.arange(len(video), device=video.device) + rank * len(video)
    if groups is None:
        groups = every_group = torch.arange(count, device=video.device)
        groups = groups[own]
    else:
        every_group = gather(groups)
    every_action = None if actions is None else gather(actions)
    rows = max(1, elements // count)
    total = video.new_zeros(())
    for queries, keys, false in ((video, every_text, negatives), (text, every_video, None)):
        for start in range(0, len(video), rows):
            part = slice(start, start + rows)
            total = total + checkpoint(
                _summed_cross_entropy,
                queries[part] * logit_scale,
                keys,
                own[part],
                groups[part],
                every_group,
                None if false is None else false[part],
                None if actions is None else actions[part],
                every_action,
                use_reentrant=False,
                preserve_rng_state=False,
            )
    return total / (2 * len(video))


def text_groups(tokens: torch.Tensor) -> torch.Tensor:
    """A number for each text (n,), the same in every process for the same ids (n, context)."""
    weights = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
    # A polynomial that wraps around in 64 bits; its factors are large odd numbers.
    mixed = (tokens + 1) * (weights * 0x9E3779B97F4A7C1 | 1)
    mixed = (mixed ^ (mixed >> 29)) * 0x3F58476D1CE4E5B
    return mixed.sum(dim=1)


def _summed_cross_entropy(
    queries: torch.Tensor,
    keys: torch.Tensor,
    own: torch.Tensor,
    groups: torch.Tensor,
    every_group: torch.Tensor,
    false: torch.Tensor | None,
    actions: torch.Tensor | None,
    every_action: torch.Tensor | None,
) -> torch.Tensor:
    """Sum over queries (m, J) of the cross-entropy of finding key ``own`` among keys (N, J).

    Each query is also compared with keys of its own, ``false`` (m, k, J). With ``actions`` a query
    has to find any of the keys of its action.
    """
    with torch.autocast(queries.device.type, enabled=False):
        logits = queries @ keys.T
    queried = torch.arange(len(own), device=own.device)
    positives = None
    if actions is not None:
        assert every_action is not None
        positives = same_action(actions, every_action)
        positives[queried, own] = True
        found = logits.masked_fill(~positives, float("-inf")).logsumexp(dim=1)
    else:
        repeated = groups[:, None] == every_group
        repeated[queried, own] = False
        logits = logits.masked_fill(repeated, float("-inf"))
    if false is not None:
        with torch.autocast(queries.device.type, enabled=False):
            rivals = (false @ queries[:, :, None]).squeeze(-1)
        absent = (false == 0).all(dim=-1)
        logits = torch.cat([logits, rivals.masked_fill(absent, float("-inf"))], dim=1)
    if positives is not None:
        return (logits.logsumexp(dim=1) - found).sum()
    return torch.nn.functional.cross_entropy(logits, own, reduction="sum")


def same_action(actions: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Whether clips share their verb and at least one noun: (m, 1 + M), (N, 1 + M) -> (m, N)."""
    verbs = (actions[:, None, 0] == others[:, 0]) & (others[:, 0] != 0)
    nouns = (actions[:, None, 1:, None] == others[:, None, 1:]) & (others[:, None, 1:] != 0)
    return verbs & nouns.flatten(2).any(dim=2)
